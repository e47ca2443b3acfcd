"""Networks for cards, judged on the processor: they paint the same, and nothing is left to it."""

import media
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.graph.cuda import fit_cuda
from fastvid.runtime.graph.halving import halve
from fastvid.runtime.graph.rewriting import rewrite
from fastvid.runtime.stylizer import OnnxStylizer

SIZE = (37, 53)
FRAMES = np.stack([media.texture(SIZE, seed) for seed in range(2)])
# What is on CUDA's list of kernels in ONNX Runtime 1.31 for floats; its `Pad` takes no bytes.
KERNELS = {"Add", "Cast", "Concat", "Conv", "Pad", "QuantizeLinear", "Relu", "Reshape", "Slice"}
KERNELS |= {"Split", "Transpose"}
KERNELS |= {"Max"}  # of a Relu in float16, for which the processor has no kernel of its own


def paint(model, frames):
    return open_session(model).run(None, {"frames": frames})[0]


def folded(model, path):
    """The graph as any provider gets it: what is constant has become so."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path).graph


@pytest.fixture
def held(exported):
    stylizer = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime")
    stylizer.adapt(FRAMES)
    return stylizer.graph(SIZE)


def test_a_network_for_a_card_paints_the_same(held):
    assert np.array_equal(paint(fit_cuda(held), FRAMES), paint(held, FRAMES))
    for frame in FRAMES[:, None]:
        assert np.array_equal(paint(fit_cuda(held, batch=1), frame), paint(held, frame))


def test_with_its_batch_fixed_nothing_is_left_to_the_processor(held, tmp_path):
    for model in (fit_cuda(held, batch=1), fit_cuda(halve(fit_cuda(held)), batch=1)):
        graph = folded(model, tmp_path / "after.onnx")
        assert {node.op_type for node in graph.node} <= KERNELS
        floats = {name for node in graph.node if node.op_type == "Cast" for name in node.output}
        pads = [node for node in graph.node if node.op_type == "Pad"]
        assert pads
        assert all(pad.input[0] in floats for pad in pads)
        sides = graph.output[0].type.tensor_type.shape.dim
        assert [side.dim_value for side in sides] == [1, *SIZE, 3]


@pytest.mark.parametrize("net", [invert_net, norm_net])
def test_networks_that_pad_no_bytes_are_left_alone(net):
    model = rewrite(net(), SIZE)
    assert np.array_equal(paint(fit_cuda(model), FRAMES), paint(model, FRAMES))
    with pytest.raises(Exception, match="Got: 2 Expected: 1"):
        paint(fit_cuda(model, batch=1), FRAMES)
