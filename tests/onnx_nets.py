"""Tiny networks of the ONNX contract for the tests of the runtime: no training, no torch."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
FREE = ["n", "h", "w", 3]


def invert_net(**metadata: str) -> bytes:
    """Colours inverted by a 1x1 convolution: y = 255 - x, exactly."""
    weight = -np.eye(3, dtype=np.float32)[:, :, None, None]
    nodes = [helper.make_node("Conv", ["x", "weight", "bias"], ["y"])]
    return _contract(nodes, {"weight": weight, "bias": np.ones(3, np.float32)}, metadata)


def norm_net(seed: int = 0, shared: bool = False, **metadata: str) -> bytes:
    """Two convolutions with instance norms, one of them behind a Relu, and a third to RGB.

    The first norm follows its convolution directly, the second does not, so that both ways of
    holding the statistics are used. `shared` gives both convolutions the same weight tensor.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    values = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "w1": normal(3, 3, 3, 3),
        "b1": normal(3),
        "w2": normal(3, 3, 3, 3),
        "w3": normal(3, 3, 1, 1),
        "b3": np.full(3, 0.5, np.float32),
        **{f"scale{i}": 1 + normal(3) for i in (1, 2)},
        **{f"shift{i}": normal(3) for i in (1, 2)},
    }
    second = "w1" if shared else "w2"
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p1"], mode="edge"),
        helper.make_node("Conv", ["p1", "w1", "b1"], ["c1"]),
        helper.make_node("InstanceNormalization", ["c1", "scale1", "shift1"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Pad", ["r1", "pads"], ["p2"], mode="edge"),
        helper.make_node("Conv", ["p2", second], ["c2"]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("InstanceNormalization", ["r2", "scale2", "shift2"], ["n2"]),
        helper.make_node("Conv", ["n2", "w3", "b3"], ["y"]),
    ]
    if shared:
        del values["w2"]
    return _contract(nodes, values, metadata)


def foreign_net(input_name: str = "input", dtype: int = TensorProto.FLOAT) -> bytes:
    """A valid ONNX file that is no network of the contract."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [input_name], ["output"])],
        "foreign",
        [helper.make_tensor_value_info(input_name, dtype, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("output", dtype, [1, 3, 224, 224])],
    )
    return _model(graph).SerializeToString()


def write(path: Path, model: bytes) -> Path:
    """Write the bytes and give the path back."""
    path.write_bytes(model)
    return path


def _contract(
    nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], metadata: dict[str, str]
) -> bytes:
    """uint8 NHWC in and out around nodes that make float NCHW `y` of `x`, both in [0, 1]."""
    values |= {
        "white": np.array(255, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
    }
    around = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["nchw", "white"], ["x"]),
        *nodes,
        helper.make_node("Clip", ["y", "zero", "one"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "white"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["bytes"], ["stylized"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        around,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, FREE)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, FREE)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = _model(graph)
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model
