import pytest
import torch
import torch.nn.functional as F

from fastvid.nets import NAMES, build_net
from fastvid.nets.blocks import PlainUpsampleConv, UpsampleConv, pad_to_multiple
from fastvid.nets.fast import FastNetConfig


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(16, 16), (37, 53)])
def test_output_has_the_size_of_the_input(name, size):
    net = build_net(name).eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_parameters_as_documented():
    count = {n: sum(p.numel() for p in build_net(n).parameters()) for n in NAMES}
    assert count["johnson"] == 1_679_235  # as published ports count it
    assert count["base"] < count["johnson"] / 4
    assert count["small"] < count["base"] / 6
    assert count["nano"] < count["base"] / 6


def test_upsample_conv_equals_nearest_upsampling_then_convolution():
    layer, x = UpsampleConv(5, 3), torch.randn(2, 5, 7, 9)
    padded = F.pad(F.interpolate(x, scale_factor=2), (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(layer(x), F.conv2d(padded, layer.weight, layer.bias))


def test_upsample_conv_paints_flat_what_is_flat():
    flat = torch.rand(1, 5, 1, 1).expand(1, 5, 6, 6)
    assert UpsampleConv(5, 3)(flat).std(dim=(2, 3)).max() < 1e-6  # no two-pixel grid


def test_merged_network_is_the_same_function():
    net, x = build_net("base").eval(), torch.rand(1, 3, 24, 20)
    with torch.inference_mode():
        before = net(x)
        torch.testing.assert_close(net.merged()(x), before)
    assert isinstance(net.tail[-1], PlainUpsampleConv)


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_of_the_input_counts(name):
    net = build_net(name)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    net(x).square().sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_padding_repeats_the_last_row_and_column():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    expected = F.pad(x, (0, 1, 0, 2), mode="replicate")
    assert torch.equal(pad_to_multiple(x, 4), expected)
    assert pad_to_multiple(torch.rand(1, 3, 8, 4), 4).shape == (1, 3, 8, 4)


def test_settings_rebuild_the_network():
    net = build_net("small", {"channels": 16})
    again = build_net("small", net.settings())
    again.load_state_dict(net.state_dict())


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ValueError, match="base, small, nano, johnson"):
        build_net("huge")
    with pytest.raises(ValueError, match="chanels"):
        build_net("base", {"chanels": 3})
    with pytest.raises(ValueError, match="2 or 4"):
        FastNetConfig(unshuffle=3)
