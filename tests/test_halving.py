"""Float16, judged on the processor: ONNX Runtime calculates there what a card would be given."""

import media
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fastvid.runtime.engines import onnx_gpu
from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.graph.halving import halve
from fastvid.runtime.stylizer import OnnxStylizer

SIZE = (48, 64)
FRAMES = np.stack([media.texture(SIZE, seed) for seed in range(2)])


@pytest.fixture
def held(exported):
    stylizer = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime")
    stylizer.adapt(FRAMES)
    return stylizer.graph(SIZE)


def large_values(factor):
    """A network that paints what it is shown, by way of numbers `factor` times as large."""
    shape = ["n", "h", "w", 3]
    nodes = [
        helper.make_node("Cast", ["frames"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "up"], ["large"]),
        helper.make_node("Mul", ["large", "down"], ["y"]),
        helper.make_node("Cast", ["y"], ["stylized"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, shape)],
        [
            helper.make_tensor("up", TensorProto.FLOAT, [], [factor]),
            helper.make_tensor("down", TensorProto.FLOAT, [], [1.001 / factor]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def test_weights_are_halved_and_the_picture_stays(held):
    coded = halve(held)
    model = onnx.load_model_from_string(coded)
    kernels = [
        next(t for t in model.graph.initializer if t.name == node.input[1])
        for node in model.graph.node
        if node.op_type == "Conv"
    ]
    assert len(kernels) == 9
    assert {kernel.data_type for kernel in kernels} == {TensorProto.FLOAT16}
    assert len(coded) < 0.65 * len(held)
    exact, painted = (
        open_session(graph).run(None, {"frames": FRAMES})[0] for graph in (held, coded)
    )
    assert MIN_PSNR_DB < psnr(exact, painted) < float("inf")


@pytest.mark.usefixtures("_cpu_as_card")
def test_a_card_paints_in_float16_where_the_painting_stays_the_same(held):
    assert onnx_gpu.OnnxGpu(held, FRAMES).name.endswith(" CUDA fp16")
    assert onnx_gpu.OnnxGpu(held, FRAMES, tensorrt=True).name.endswith(" TensorRT fp16")


@pytest.mark.usefixtures("_cpu_as_card")
@pytest.mark.parametrize("tensorrt", [False, True])
def test_numbers_too_large_for_float16_are_found_out(tensorrt):
    assert onnx_gpu.OnnxGpu(large_values(8.0), FRAMES, tensorrt).name.endswith(" fp16")
    engine = onnx_gpu.OnnxGpu(large_values(1e6), FRAMES, tensorrt)
    assert engine.name.endswith(" fp32")
    assert np.array_equal(engine(FRAMES), FRAMES)


@pytest.mark.usefixtures("_cpu_as_card")
def test_a_network_that_cannot_be_halved_runs_in_float32(held, monkeypatch):
    def broken(model):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(onnx_gpu, "halve", broken)
    assert onnx_gpu.OnnxGpu(held, FRAMES).name.endswith(" fp32")
