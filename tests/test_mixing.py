import numpy as np
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.runtime.gallery import find_models, name_of
from fastvid.runtime.graph.mixing import mix_networks
from fastvid.runtime.loading import load


@pytest.fixture
def folder(tmp_path):
    for k, name in enumerate("abc"):
        (tmp_path / f"{name}.onnx").write_bytes(norm_net(k))
    return tmp_path


def shares(text, folder):
    (models,) = find_models(text, folder).values()
    return {path.stem: share for path, share in models.items()}


def test_one_name_is_one_style(folder):
    assert shares("a", folder) == {"a": 1.0}
    assert name_of(find_models("a", folder)) == "a"


def test_shares_are_scaled_to_one(folder):
    assert shares("a:3, b:1", folder) == {"a": 0.75, "b": 0.25}
    assert shares("a:1,b:0", folder) == {"a": 1.0}
    assert shares("a:0.5,a:0.5", folder) == {"a": 1.0}
    assert name_of(find_models("a:3,b:1", folder)) == "a75+b25"


def test_paths_with_a_colon_are_no_mixtures(folder):
    odd = folder / "10:30"
    odd.mkdir()
    path = odd / "x.onnx"
    path.write_bytes(norm_net())
    assert find_models(str(path), folder) == {0.0: {path: 1.0}}


def test_a_transition_is_styles_at_moments(folder):
    found = find_models("a@0, b@2.5,a@4", folder)
    assert [(s, [p.stem for p in models]) for s, models in found.items()] == [
        (0.0, ["a"]),
        (2.5, ["b"]),
        (4.0, ["a"]),
    ]
    assert name_of(found) == "a-b-a"
    odd = folder / "x@3.onnx"
    odd.write_bytes(norm_net())
    assert find_models(str(odd), folder) == {0.0: {odd: 1.0}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:x,b:1", "a:x"),
        ("a:1,b", "'b'"),
        ("a:0,b:0", "above 0"),
        ("a:-1,b:2", "a:-1"),
        ("a:nan,b:2", "a:nan"),
        (":1", ":1"),
        ("a:1,z:1", "unknown style 'z'"),
        ("a@0,b", "NAME@SECONDS, found 'b'"),
        ("a@x,b@1", "found 'a@x'"),
        ("a@2,b@1", "must rise"),
        ("a@1,b@1", "must rise"),
        ("a@0,z@1", "unknown style 'z'"),
    ],
)
def test_anything_else_is_refused_and_named(folder, text, says):
    with pytest.raises(ValueError, match=says):
        find_models(text, folder)


def run(model: bytes, frames: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["stylized"], {"frames": frames})[0]


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), dtype=np.uint8)


def test_mixture_is_the_network_of_the_mean_weights(frames):
    first, second = norm_net(0), norm_net(1)
    assert np.array_equal(run(mix_networks([first, second], [1, 0]), frames), run(first, frames))
    assert np.array_equal(run(mix_networks([first, second], [0, 1]), frames), run(second, frames))
    halfway = run(mix_networks([first, second], [0.5, 0.5]), frames)
    assert not np.array_equal(halfway, run(first, frames))
    # the norms make it another function than the mean of the two pictures
    faded = (run(first, frames).astype(float) + run(second, frames)) / 2
    assert np.abs(halfway - faded).max() > 2


def test_networks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix_networks([norm_net(0), invert_net()], [0.5, 0.5])


def test_loaded_mixture_paints_as_the_mixed_network(folder, frames):
    stylizer = load(f"{folder / 'a.onnx'}:1,{folder / 'b.onnx'}:3", "cpu", "onnxruntime")
    assert stylizer.name == "a25+b75"
    expected = run(mix_networks([norm_net(0), norm_net(1)], [0.25, 0.75]), frames)
    assert np.abs(stylizer(frames).astype(int) - expected).max() <= 1
