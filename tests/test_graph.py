"""The rewritten graph against the exporter's own, through ONNX Runtime; no training."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.runtime.graph.borders import crop_once, pad_once
from fastvid.runtime.graph.corners import upsample_at_corners
from fastvid.runtime.graph.ends import merge_input, merge_output
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.reach import reach_px
from fastvid.runtime.graph.rewriting import rewrite
from fastvid.runtime.graph.statistics import add_statistics, fold_statistics
from fastvid.runtime.stylizer import OnnxStylizer

SIZES = [(37, 53), (48, 64), (16, 16)]
# Exporting takes seconds each; `base` has every shape of graph but the depthwise convolutions.
NAMES = ["base", pytest.param("nano", marks=pytest.mark.slow)]


def run(model, **inputs):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def noise(size=(37, 53), n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def folded(model, frames):
    measuring = add_statistics(model)
    return fold_statistics(model, [run(measuring, frames=frame[None]) for frame in frames])


def largest_difference(first, second, frames):
    a, b = (run(model, frames=frames)["stylized"].astype(int) for model in (first, second))
    assert a.shape == b.shape
    assert a.std() > 10  # a picture, not one grey
    return abs(a - b).max()


def ops(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_a_rewritten_network_paints_the_same(exported, name, size):
    frames = noise(size)
    plain, held = exported(name), folded(exported(name), frames)
    assert largest_difference(plain, rewrite(plain, size), frames) <= 1
    assert largest_difference(held, rewrite(held, size), frames) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_every_rewriting_finds_its_place_in_the_fast_networks(exported, name):
    network = Network(folded(exported(name), noise()))
    network.fix_size((37, 53))
    assert pad_once(network, (37, 53))
    assert merge_input(network)
    assert crop_once(network, (37, 53))
    assert upsample_at_corners(network) == 2
    assert merge_output(network)
    found = ops(network.to_bytes())
    gone = {"Gather", "Clip", "Round", "Resize", "DepthToSpace", "InstanceNormalization", "Div"}
    gone |= {"Shape"}
    assert not gone & set(found)
    assert found.count("Slice") == 1


@pytest.mark.parametrize("model", [invert_net(), norm_net(), norm_net(shared=True)], ids=len)
def test_networks_of_another_make_stay_equal(model):
    size = (37, 53)
    assert largest_difference(model, rewrite(model, size), noise(size)) <= 1


def test_a_grey_border_stays_grey_when_the_scaling_is_merged(exported):
    # Zero padding after (x / 255 - 0.5) * 4 means mid-grey; on the bytes themselves, black.
    frames = np.full((1, 32, 32, 3), 255, np.uint8)
    frames[:, 8:24, 8:24] = noise((16, 16), 1)
    model = folded(exported("base"), frames)
    assert largest_difference(model, rewrite(model, (32, 32)), frames) <= 1


def test_statistics_come_before_the_last_layers_run(exported):
    found = ops(add_statistics(exported("base")))
    assert "Resize" not in found
    assert "Cast" in found


def test_pooled_statistics_are_those_of_one_large_picture(exported):
    frames = noise((32, 32), 2)
    measuring = add_statistics(norm_net())
    measured = [run(measuring, frames=frame[None]) for frame in frames]
    one, other = measured[0], measured[1]
    mean = (one["fastvid_mean_0"] + other["fastvid_mean_0"]) / 2
    variance = (
        one["fastvid_variance_0"]
        + other["fastvid_variance_0"]
        + (one["fastvid_mean_0"] - mean) ** 2
        + (other["fastvid_mean_0"] - mean) ** 2
    ) / 2
    pooled = [{**one, "fastvid_mean_0": mean, "fastvid_variance_0": variance}]
    second = ("fastvid_mean_1", "fastvid_variance_1")
    same = [{**m, **{k: one[k] for k in second}} for m in measured]
    assert (
        largest_difference(
            fold_statistics(norm_net(), pooled), fold_statistics(norm_net(), same), frames
        )
        <= 0
    )


def test_a_value_that_nothing_makes_is_named():
    network = Network(invert_net())
    network.set_outputs(["nowhere"])
    with pytest.raises(ValueError, match="nothing makes the value 'nowhere'"):
        network.to_bytes()


def test_a_norm_with_a_computed_scale_is_refused():
    network = Network(norm_net())
    norm = next(n for n in network.nodes if n.op_type == "InstanceNormalization")
    norm.input[1] = network.add("Relu", [norm.input[1]])
    with pytest.raises(ValueError, match="computes its scale while running"):
        add_statistics(network.to_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_sees_no_further_than_its_reach(exported, name):
    frames = noise((160, 200), 2)
    frames[1, :, 100:] = frames[0, :, 100:]
    model = folded(exported(name), frames)
    reach, cell = reach_px(model)
    assert cell == 4
    assert reach < 100
    painted = run(model, frames=frames)["stylized"].astype(int)
    changed = np.flatnonzero((painted[0] != painted[1]).any((0, 2)))
    assert changed.min() < 10
    assert 100 <= changed.max() < 100 + reach


@pytest.mark.parametrize("size", [(97, 150), (160, 64)])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_are_equal_to_the_whole_picture(exported, name, size):
    frame = noise(size, 1)
    whole = OnnxStylizer(exported(name), name, "cpu", "onnxruntime")
    tiled = OnnxStylizer(exported(name), name, "cpu", "onnxruntime", tile_px=30)
    for stylizer in (whole, tiled):
        stylizer.adapt(frame)
    np.testing.assert_array_equal(tiled(frame), whole(frame))


def test_tiles_share_the_statistics_of_their_frame():
    tiled = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime", tile_px=16)
    whole = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")
    frames = noise((40, 50))
    assert abs(tiled(frames).astype(int) - whole(frames)).max() <= 1


def test_tiles_of_a_network_without_norms_need_no_statistics():
    tiled = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime", tile_px=16)
    np.testing.assert_array_equal(tiled(noise((40, 50))), 255 - noise((40, 50)))


def test_a_tile_smaller_than_the_networks_take_is_refused():
    with pytest.raises(ValueError, match="tile is 8 pixels, expected at least 16"):
        OnnxStylizer(invert_net(), "net", "cpu", tile_px=8)
