"""Upsampling at the corners of the small picture, against the plain graph; no training."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, upsampling_net

from fastvid.runtime.graph.borders import crop_once, hidden_px
from fastvid.runtime.graph.corners import upsample_at_corners
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.rewriting import rewrite

SIZE = (24, 36)
FRAMES = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)


def paint(model):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": FRAMES})[0].astype(int)


def at_corners(model):
    network = Network(model)
    network.fix_size(SIZE)
    crop_once(network, SIZE)
    count = upsample_at_corners(network)
    return network.to_bytes(), count


def ops(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
@pytest.mark.parametrize("margin", [(0, 0), (2, 2), (4, 4), (8, 4), (4, 0), (0, 8)])
def test_every_pixel_is_painted_the_same(margin, mode):
    model = upsampling_net(margin, mode)
    painted = paint(model)
    assert painted.std() > 10
    for other in (at_corners(model)[0], rewrite(model, SIZE)):
        assert paint(other).shape == (2, *SIZE, 3)
        assert abs(paint(other) - painted).max() <= 1
        assert (paint(other) != painted).mean() < 0.001


# The crop is one `Slice`; the ring that does not disappear in it is cut off by another one.
@pytest.mark.parametrize(
    ("margin", "count", "slices"),
    [((4, 4), 2, 1), ((8, 4), 2, 1), ((2, 2), 2, 2), ((4, 0), 2, 2), ((0, 0), 1, 1)],
)
def test_the_ring_disappears_in_a_margin_that_is_wide_enough(margin, count, slices):
    model, found = at_corners(upsampling_net(margin))
    assert found == count
    assert ops(model).count("Slice") == slices
    assert "Resize" not in ops(model)


def test_a_phase_that_sees_3x3_cells_keeps_its_kernel():
    model = upsampling_net(phases=3)
    rewritten, found = at_corners(model)
    assert found == 1
    assert abs(paint(rewritten) - paint(model)).max() <= 1


def test_what_is_hidden_of_a_value_has_no_influence_on_the_picture():
    network = Network(upsampling_net((8, 4)))
    network.fix_size(SIZE)
    crop_once(network, SIZE)
    rows, columns = hidden_px(network, "c2", network.shapes())
    assert (rows, columns) == (3, 1)  # of 8 and 4 pixels the half, less what the last kernel sees
    height, width = network.shapes()["c2"][2:]
    for cut_rows, cut_columns, is_seen in [(rows, columns, False), (rows + 1, columns + 1, True)]:
        changed = Network(network.to_bytes())
        bias = np.zeros((1, 1, height, width), np.float32)
        bias[..., :cut_rows, :] = bias[..., :cut_columns] = 9
        bias[..., height - cut_rows :, :] = bias[..., width - cut_columns :] = 9
        relu = changed.only_consumer("c2", "Relu")
        relu.input[0] = changed.add("Add", ["c2", changed.constant(bias)])
        assert (paint(changed.to_bytes()) != paint(network.to_bytes())).any() == is_seen


def test_a_network_without_upsampling_is_left_alone():
    model, found = at_corners(invert_net())
    assert found == 0
    assert ops(model) == ops(invert_net())


@pytest.mark.parametrize("given", [3, 4])
def test_a_crop_without_axes_or_steps_is_left_as_it_is(given):
    network = Network(upsampling_net((4, 0)))
    crop = network.producer("stylized")
    if given == 3:  # then the first axes are meant
        for i, numbers in ((1, [0, 4]), (2, [2, -4])):
            crop.input[i] = network.constant(np.array(numbers))
    del crop.input[given:]
    model = network.to_bytes()
    assert abs(paint(rewrite(model, SIZE)) - paint(model)).max() <= 1
