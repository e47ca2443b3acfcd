import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny import vgg_tensors, vgg_weights

from fastvid.perceptual import vgg
from fastvid.perceptual.vgg import VGGFeatures, layer_index, load_vgg

ASSETS = Path(os.environ.get("FASTVID_DATA", Path(__file__).parents[2] / "shared" / "assets"))


def test_layers_have_torchvisions_numbers():
    # torchvision.models.vgg19().features, counted by hand
    index = layer_index("vgg19")
    assert [index[f"relu{k}_1"] for k in range(1, 6)] == [0, 5, 10, 19, 28]
    assert layer_index("vgg16")["relu3_3"] == 14


def test_features_come_in_network_order_with_their_sizes():
    net = VGGFeatures(["relu3_1", "relu1_2"], vgg_weights())
    features = net(torch.rand(2, 3, 33, 47))
    assert list(features) == ["relu1_2", "relu3_1"]
    assert features["relu1_2"].shape == (2, 4, 33, 47)
    assert features["relu3_1"].shape == (2, 4, 8, 11)


def test_ceil_mode_rounds_sizes_up():
    net = VGGFeatures(["relu2_1"], vgg_weights(), ceil_mode=True)
    assert net(torch.rand(1, 3, 35, 47))["relu2_1"].shape[-2:] == (18, 24)


def test_average_pooling_is_an_option():
    image = torch.rand(1, 3, 16, 16)
    features = VGGFeatures(["relu1_2", "relu2_1"], vgg_weights(), pooling="avg")(image)
    tensors = vgg_tensors()
    pooled = F.avg_pool2d(features["relu1_2"], 2)
    expected = F.conv2d(pooled, tensors["features.5.weight"], tensors["features.5.bias"], padding=1)
    torch.testing.assert_close(features["relu2_1"], expected.relu())


def test_torchvision_convention_normalises_rgb():
    image = torch.rand(1, 3, 8, 8)
    mean, std = torch.tensor(vgg.IMAGENET_MEAN), torch.tensor(vgg.IMAGENET_STD)
    x = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    tensors = vgg_tensors()
    expected = F.conv2d(x, tensors["features.0.weight"], tensors["features.0.bias"], padding=1)
    found = VGGFeatures(["relu1_1"], vgg_weights("torchvision"))(image)["relu1_1"]
    torch.testing.assert_close(found, expected.relu(), rtol=1e-5, atol=1e-5)


def test_caffe_convention_wants_bgr_levels_minus_means():
    image = torch.rand(1, 3, 8, 8)
    x = image.flip(1) * 255 - torch.tensor(vgg.CAFFE_MEAN_BGR).view(1, 3, 1, 1)
    tensors = vgg_tensors()
    expected = F.conv2d(x, tensors["features.0.weight"], tensors["features.0.bias"], padding=1)
    found = VGGFeatures(["relu1_1"], vgg_weights("caffe"))(image)["relu1_1"]
    torch.testing.assert_close(found, expected.relu(), rtol=1e-4, atol=1e-3)


def test_weights_move_but_stay_out_of_state_and_gradients():
    net = VGGFeatures(["relu1_1"], vgg_weights())
    assert not net.state_dict()
    assert not list(net.parameters())
    assert net.double()(torch.rand(1, 3, 8, 8).double())["relu1_1"].dtype == torch.float64


def test_input_keeps_its_values():
    image = torch.rand(1, 3, 16, 16)
    before = image.clone()
    VGGFeatures(["relu2_1"], vgg_weights("caffe"))(image)
    assert torch.equal(image, before)


def test_layer_beyond_the_weights_is_refused_with_what_they_reach():
    with pytest.raises(ValueError, match="end at relu4_1"):
        VGGFeatures(["relu5_1"], vgg_weights())


def test_tiny_image_names_both_sizes():
    with pytest.raises(ValueError, match=r"4x9.*at least 8"):
        VGGFeatures(["relu4_1"], vgg_weights())(torch.rand(1, 3, 4, 9))


def test_unknown_layer_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="relu1_1"):
        load_vgg(["conv_7"], data_root=tmp_path)


def test_data_root_comes_first_and_metadata_tell_the_convention(tmp_path):
    (tmp_path / "weights").mkdir()
    save_file(
        vgg_tensors(),
        str(tmp_path / "weights" / "vgg19_caffe_conv1_1_to_conv4_1.safetensors"),
        metadata={"input_convention": "caffe-BGR-mean: 0..255"},
    )
    image = torch.rand(1, 3, 16, 16)
    found = load_vgg(["relu2_1"], data_root=tmp_path)(image)["relu2_1"]
    expected = VGGFeatures(["relu2_1"], vgg_weights("caffe"))(image)["relu2_1"]
    torch.testing.assert_close(found, expected)


def test_missing_weights_offline_name_three_remedies(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(FileNotFoundError, match=r"go online.*weights.*FASTVID_DATA"):
        load_vgg(["relu4_1"], data_root=tmp_path)


@pytest.mark.weights
@pytest.mark.skipif(not (ASSETS / "weights").is_dir(), reason="needs the assets (FASTVID_DATA)")
def test_real_vgg19_has_the_published_activations():
    # PROVENANCE.md: means of relu1_1 to relu4_1 over photos; grey noise stays within a factor 3
    net = load_vgg(["relu1_1", "relu4_1"], data_root=ASSETS)
    features = net(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 7 < features["relu1_1"].mean() < 60
    assert 140 < features["relu4_1"].mean() < 1300
    bias = net.get_buffer("relu1_1_bias")[:3]
    torch.testing.assert_close(bias, torch.tensor([0.7302, 0.0649, 0.0343]), atol=1e-3, rtol=0)
