from itertools import pairwise

import numpy as np
import pytest
from onnx_nets import invert_net, norm_net, write

from fastvid.runtime.graph.mixing import mix_networks
from fastvid.runtime.loading import load, load_for_film
from fastvid.runtime.stylizer import OnnxStylizer


def stylizer(model: bytes) -> OnnxStylizer:
    return OnnxStylizer(model, "one", "cpu", "onnxruntime")


@pytest.fixture
def text(tmp_path):
    paths = [write(tmp_path / f"{name}.onnx", norm_net(k)) for k, name in enumerate("abc")]
    return ",".join(f"{path}@{2 * k}" for k, path in enumerate(paths))


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize(("seconds", "style"), [(-1, 0), (0, 0), (2, 1), (4, 2), (99, 2)])
def test_at_its_moment_a_style_is_itself(text, frames, seconds, style, adapted):
    changing, constant = load_for_film(text, "cpu", "onnxruntime"), stylizer(norm_net(style))
    if adapted:
        changing.adapt(frames)
        constant.adapt(frames)
    changing.at(seconds)
    assert np.array_equal(changing(frames[:1]), constant(frames[:1]))
    changing.at(1.0)
    changing.at(seconds)
    assert np.array_equal(changing(frames[:1]), constant(frames[:1]))


def test_halfway_it_is_the_network_halfway(text, frames):
    changing = load_for_film(text, "cpu", "onnxruntime")
    halfway = stylizer(mix_networks([norm_net(1), norm_net(2)], [0.5, 0.5]))
    changing.at(3)
    assert np.array_equal(changing(frames), halfway(frames))
    changing.adapt(frames)  # half a way is a knot, so the statistics are exact
    halfway.adapt(frames)
    assert np.array_equal(changing(frames), halfway(frames))
    changing.adapt(None)
    halfway.adapt(None)
    assert np.array_equal(changing(frames), halfway(frames))


def test_it_moves_in_small_steps_and_nears_the_exact_statistics(text, frames):
    changing = load_for_film(text, "cpu", "onnxruntime")
    changing.adapt(frames)
    pictures = []
    for seconds in np.linspace(0, 2, 33):
        changing.at(seconds)
        pictures.append(changing(frames[:1]).astype(float))
    steps = [np.sqrt(np.mean((a - b) ** 2)) for a, b in pairwise(pictures)]
    whole = np.sqrt(np.mean((pictures[0] - pictures[-1]) ** 2))
    assert max(steps) < whole / 6
    exact = stylizer(mix_networks([norm_net(0), norm_net(1)], [1 - 11 / 32, 11 / 32]))
    exact.adapt(frames)
    assert np.abs(pictures[11] - exact(frames[:1])).mean() < 3


def test_a_new_shot_is_measured_anew(text, frames):
    changing = load_for_film(text, "cpu", "onnxruntime")
    changing.at(1)
    changing.adapt(frames[:1])
    changing.adapt(frames[1:])
    fresh = load_for_film(text, "cpu", "onnxruntime")
    fresh.adapt(frames[1:])
    fresh.at(1)
    assert np.array_equal(changing(frames), fresh(frames))


def test_styles_of_another_shape_are_refused_at_once(tmp_path):
    one, other = write(tmp_path / "a.onnx", norm_net()), write(tmp_path / "b.onnx", invert_net())
    with pytest.raises(ValueError, match="cannot be mixed"):
        load_for_film(f"{one}@0,{other}@1", "cpu", "onnxruntime")


def test_single_frames_have_no_moment(text):
    with pytest.raises(ValueError, match="changes over time"):
        load(text)
