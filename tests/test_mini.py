import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import data_root, texture, vgg_weights

from fastvid.image import to_tensor, write_image
from fastvid.perceptual import mini, paintings
from fastvid.perceptual.extractor import choose, load_extractor
from fastvid.perceptual.losses import gram_matrix
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.training import distill


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "mini.safetensors"
    save_file({k: v.half() for k, v in mini.MiniVGG().state_dict().items()}, str(path))
    return path


def test_layers_have_the_sizes_of_vggs(weights):
    found = mini.MiniFeatures(["relu4_1", "relu2_1"], weights)(torch.rand(2, 3, 24, 40))
    assert {k: tuple(v.shape) for k, v in found.items()} == {
        "relu2_1": (2, 64, 12, 20),
        "relu4_1": (2, 128, 3, 5),
    }


def test_it_is_frozen_and_stays_out_of_checkpoints(weights):
    features = mini.MiniFeatures(["relu3_1"], weights)
    assert not list(features.parameters())
    assert not features.state_dict()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    features(image)["relu3_1"].sum().backward()
    assert image.grad.abs().sum() > 0


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"relu3_3.*perceptual=vgg19"):
        mini.MiniFeatures(["relu3_3"])
    with pytest.raises(FileNotFoundError, match="distill"):
        mini.MiniFeatures(["relu3_1"], tmp_path / "gone.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.safetensors is no small"):
        mini.MiniFeatures(["relu3_1"], broken)


def test_auto_takes_vgg_only_where_it_reaches(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert choose("auto", ["relu4_1"], tmp_path) == "mini"
    root = data_root(tmp_path / "data")
    assert choose("auto", ["relu4_1"], root) == "vgg19"
    assert choose("auto", ["relu5_1"], root) == "mini"
    assert choose("mini", ["relu4_1"], root) == "mini"
    assert isinstance(load_extractor("vgg19", ["relu1_1"], root), VGGFeatures)
    with pytest.raises(ValueError, match="'vgg'"):
        choose("vgg", ["relu1_1"], root)


def test_stored_statistics_come_back(tmp_path, weights):
    features = mini.MiniFeatures(mini.LAYERS, weights)
    painting = to_tensor(texture(48, 64, seed=3))
    measured = paintings.measure(features, painting)
    torch.testing.assert_close(
        measured.grams["relu2_1"], gram_matrix(features(painting)["relu2_1"])
    )
    other = paintings.measure(features, painting.flip(1))
    path = tmp_path / "paintings.safetensors"
    paintings.write_statistics(path, {"one": measured, "one_more": other})
    found = paintings.read_statistics("one", path)
    assert list(found.grams) == list(mini.LAYERS)
    for name, gram in measured.grams.items():
        torch.testing.assert_close(found.grams[name], gram, rtol=1e-3, atol=1e-6)
    assert torch.equal(found.palette_covariance, measured.palette_covariance)
    assert paintings.read_statistics("two", path) is None
    assert paintings.read_statistics("one", tmp_path / "gone") is None


@pytest.fixture
def pictures(tmp_path):
    for k in range(3):
        write_image(tmp_path / f"{k}.png", texture(70, 90, seed=k))
    files = sorted(tmp_path.glob("*.png"))
    return distill.Pictures(files[:2], files[2:], 48)


def test_batches_are_functions_of_their_number(pictures):
    first = pictures.batch(5, 3)
    assert torch.equal(first, pictures.batch(5, 3))
    assert not torch.equal(first, pictures.batch(6, 3))
    assert first.shape == (3, 3, 48, 48)
    assert 0 <= first.min() < first.max() <= 1


def test_bases_keep_what_is_strongest(pictures, monkeypatch):
    monkeypatch.setattr(distill, "COORDINATES", dict.fromkeys(mini.LAYERS, 2))
    vgg = VGGFeatures(mini.LAYERS, vgg_weights(width=4))
    basis = distill.bases(vgg, pictures)
    for name in mini.LAYERS:
        gram = basis[name] @ basis[name].T
        torch.testing.assert_close(gram, gram[0, 0] * torch.eye(2), atol=1e-5 * gram[0, 0], rtol=0)
    images = torch.cat([pictures.batch(number, 4) for number in range(8)])
    found = distill.project(vgg(images), basis)
    for value in found.values():
        assert value.square().mean() == pytest.approx(1, rel=0.01)


def test_distances_vanish_for_vgg_itself(pictures):
    vgg = VGGFeatures(mini.LAYERS, vgg_weights(width=4))
    identity = dict.fromkeys(mini.LAYERS, torch.eye(4))
    features, gradients = distill.distances(vgg, vgg, identity, pictures.batch(0, 3))
    assert features.item() == pytest.approx(0, abs=1e-9)
    assert gradients.item() == pytest.approx(0, abs=1e-9)


def test_distilling_brings_the_small_network_nearer(pictures, monkeypatch):
    monkeypatch.setattr(distill, "COORDINATES", dict.fromkeys(mini.LAYERS, 4))
    monkeypatch.setattr(mini, "COORDINATES", dict.fromkeys(mini.LAYERS, 4))
    monkeypatch.setattr(mini, "STAGES", ((8, 8), (8, 8), (8, 8), (8,)))
    vgg = VGGFeatures(mini.LAYERS, vgg_weights(width=4))
    basis, batch = distill.bases(vgg, pictures), pictures.batch(0, 4)
    errors = [
        distill.distances(student, vgg, basis, batch)[0].item()
        for student in (distill.distill(vgg, pictures, 1), distill.distill(vgg, pictures, 60))
    ]
    assert errors[1] < 0.6 * errors[0]


def test_command_writes_network_and_paintings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    root = data_root(tmp_path / "data")
    (root / "photos").mkdir()
    for k in range(2):
        write_image(root / "photos" / f"{k}.png", np.roll(texture(70, 90, seed=k), 9, 0))
    monkeypatch.setattr(distill, "COORDINATES", dict.fromkeys(mini.LAYERS, 4))
    monkeypatch.setattr(mini, "COORDINATES", dict.fromkeys(mini.LAYERS, 4))
    options = ["--data", str(root), "--steps", "2", "--crop", "48", "--batch", "2"]
    assert distill.main(["-o", str(tmp_path / "out"), *options]) == 0
    path = tmp_path / "out" / "mini.safetensors"
    assert capsys.readouterr().out == f"{path}\n"
    mini.MiniFeatures(mini.LAYERS, path)
    stored = paintings.read_statistics("tiny", tmp_path / "out" / "paintings.safetensors")
    assert stored.grams["relu1_1"].shape == (1, 4, 4)
    with pytest.raises(RuntimeError, match="overwrite"):
        distill.main(["-o", str(tmp_path / "out"), *options])
