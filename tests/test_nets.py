import pytest
import torch
import torch.nn.functional as F

from fastvid.nets import NAMES, build_net
from fastvid.nets.blocks import (
    InstanceNorm,
    PlainUpsampleConv,
    UpsampleConv,
    extend,
    normalizing,
)
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
    doubled = F.interpolate(x, scale_factor=2)
    torch.testing.assert_close(layer(x), F.conv2d(doubled, layer.weight, layer.bias, padding=1))


def test_upsample_conv_paints_flat_what_is_flat():
    flat = torch.rand(1, 5, 1, 1).expand(1, 5, 6, 6)
    inside = UpsampleConv(5, 3)(flat)[..., 1:-1, 1:-1]  # the outermost row meets the zero padding
    assert inside.std(dim=(2, 3)).max() < 1e-6  # no two-pixel grid


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


def test_extending_repeats_the_border():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert torch.equal(extend(x, 4), F.pad(x, (0, 1, 0, 2), mode="replicate"))
    assert torch.equal(extend(x, 4, 5), F.pad(x, (5, 6, 5, 7), mode="replicate"))
    assert torch.equal(extend(x.mT, 4, 5, dims=(-1, -2)), extend(x, 4, 5).mT)
    assert extend(torch.rand(1, 3, 8, 4), 4).shape == (1, 3, 8, 4)


@pytest.mark.parametrize("name", ["base", "small", "nano"])
def test_the_margin_is_painted_and_cropped(name):
    net, x = build_net(name).eval(), torch.rand(1, 3, 24, 20)
    m = net.margin_px
    with torch.inference_mode():
        whole = net.paint(F.pad(x, (m, m, m, m), mode="replicate"))
        torch.testing.assert_close(net(x), whole[..., m:-m, m:-m])
    assert build_net(name, net.settings()).margin_px == m


def test_a_margin_is_whole_cells():
    with pytest.raises(ValueError, match="margin_px is a multiple of 4, not 6"):
        build_net("base", {"margin_px": 6})


def test_instance_norm_equals_torchs():
    torch.manual_seed(0)
    norm, x = InstanceNorm(5, num_styles=2), torch.randn(4, 5, 6, 7)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    reference = torch.nn.InstanceNorm2d(5, eps=1e-3, affine=True)
    for style in range(2):
        reference.weight.data, reference.bias.data = norm.weight[style], norm.bias[style]
        with normalizing(norm, style):
            torch.testing.assert_close(norm(x), reference(x))
    assert (norm.style, norm.frames_per_shot) == (0, 1)


def test_frames_of_a_shot_share_their_statistics():
    torch.manual_seed(0)
    norm = InstanceNorm(3)
    first, second = torch.randn(1, 3, 8, 8), 5 * torch.randn(1, 3, 8, 8) + 2
    with normalizing(norm, frames_per_shot=2):
        painted = norm(torch.cat([first, second, second, first]))
    torch.testing.assert_close(painted[0], painted[3])
    torch.testing.assert_close(painted[1], painted[2])
    both = painted[:2].transpose(0, 1).flatten(1)
    torch.testing.assert_close(both.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(both.var(1, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_styles_are_rows_of_the_norms():
    torch.manual_seed(0)
    net, x = build_net("small", {"num_styles": 3, "channels": 16}).eval(), torch.rand(1, 3, 24, 20)
    for module in net.modules():
        if isinstance(module, InstanceNorm):
            module.weight.data.normal_()
    with torch.inference_mode():
        with normalizing(net, 2):
            expected = net(x)
        assert not torch.allclose(net(x), expected)
        torch.testing.assert_close(net.styles([2])(x), expected)
        with normalizing(many := net.styles([2, 2, 0]), 1):
            torch.testing.assert_close(many(x), expected)


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
