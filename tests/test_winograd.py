import pytest
import torch
import torch.nn.functional as F

from fastvid.perceptual import winograd
from fastvid.perceptual.vgg import VGGFeatures, VGGWeights, layer_index


@pytest.mark.parametrize("size", [(8, 12), (7, 13), (1, 2), (26, 5)])
def test_it_is_the_padded_convolution_and_its_gradient(size):
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, 3), torch.randn(6)
    x, wanted_of = torch.randn(2, 5, *size, requires_grad=True), torch.randn(2, 6, *size)
    wanted = F.conv2d(x, weight, bias, padding=1)
    (wanted_grad,) = torch.autograd.grad((wanted * wanted_of).sum(), x)
    result = winograd.conv3x3(x, bias, *winograd.filters(weight))
    (grad,) = torch.autograd.grad((result * wanted_of).sum(), x)
    torch.testing.assert_close(result, wanted, rtol=0, atol=2e-4)
    torch.testing.assert_close(grad, wanted_grad, rtol=0, atol=2e-4)


def test_memory_layout_does_not_matter():
    torch.manual_seed(0)
    filters = winograd.filters(torch.randn(4, 3, 3, 3))
    x = torch.randn(2, 3, 9, 10)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        winograd.conv3x3(x, torch.zeros(4), *filters),
        winograd.conv3x3(channels_last, torch.zeros(4), *filters),
    )


def test_only_wide_layers_are_taken():
    assert winograd.pays(torch.empty(128, 256, 3, 3))
    assert not winograd.pays(torch.empty(128, 64, 3, 3))
    assert not winograd.pays(torch.empty(64, 128, 3, 3))


@pytest.mark.parametrize("is_faster", [True, False])
def test_quick_features_are_the_features(monkeypatch, is_faster):
    monkeypatch.setattr(winograd, "is_faster_here", lambda: is_faster)
    torch.manual_seed(0)
    tensors, channels = {}, 3
    for name, index in layer_index("vgg19").items():
        wide = 64 * 2 ** (int(name[4]) - 1)
        if wide > 256:
            break
        scale = (2 / 9 / channels) ** 0.5
        tensors[f"features.{index}.weight"] = scale * torch.randn(wide, channels, 3, 3)
        tensors[f"features.{index}.bias"] = torch.randn(wide)
        channels = wide
    weights = VGGWeights("vgg19", "torchvision", tensors)
    plain = VGGFeatures(["relu1_1", "relu3_1"], weights)
    quick = VGGFeatures(["relu1_1", "relu3_1"], weights, quick=True)
    assert hasattr(quick, "relu2_2_forward") == is_faster
    assert not quick.state_dict()
    image = torch.rand(1, 3, 20, 28)
    for name, wanted in plain(image).items():
        result = quick(image)[name]
        assert (result - wanted).abs().max() < 1e-4 * wanted.abs().max(), name
