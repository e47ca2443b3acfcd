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


def upsampling_net(margin: tuple[int, int] = (4, 4), mode: str = "CRD", phases: int = 2) -> bytes:
    """A quarter of the size by a strided convolution, and back as the fast networks do it.

    Nearest neighbours and 3x3 convolutions, then 3x3 with twelve outputs and depth-to-space.

    Args:
        margin: rows and columns that are added on each side, and cut off the painting.
        mode: of the depth-to-space.
        phases: side of the square of taps that each of the four phases has; the exporter makes 2.
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    last = np.zeros((4, 3, 8, 3, 3), np.float32)  # phase, colour, input, taps
    for phase in range(4):
        y, x = divmod(phase, 2)
        taps = (slice(y, y + 2), slice(x, x + 2)) if phases == 2 else (slice(3), slice(3))
        last[phase, :, :, *taps] = normal(3, 8, phases, phases)
    if mode == "CRD":
        last = last.swapaxes(0, 1)
    rows, columns = margin
    values = {
        "pads": np.array([0, 0, rows, columns] * 2, np.int64),
        "doubled": np.array([1, 1, 2, 2], np.float32),
        "w0": normal(8, 3, 4, 4),
        "w1": normal(8, 8, 3, 3),
        "w2": normal(8, 8, 3, 3),
        "w3": last.reshape(12, 8, 3, 3),
        **{f"b{i}": normal(outputs, 4)[:, 0] for i, outputs in enumerate((8, 8, 8, 12))},
        "half": np.array(0.5, np.float32),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], mode="edge"),
        helper.make_node("Conv", ["p", "w0", "b0"], ["c0"], strides=[4, 4]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Resize", ["r0", "", "doubled"], ["u"], mode="nearest", **nearest),
        helper.make_node("Conv", ["u", "w1", "b1"], ["c1"], **same),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], **same),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], **same),
        helper.make_node("DepthToSpace", ["c3"], ["d"], blocksize=2, mode=mode),
        helper.make_node("Add", ["d", "half"], ["y"]),
    ]
    return _contract(nodes, values, {}, margin)


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
    nodes: list[onnx.NodeProto],
    values: dict[str, np.ndarray],
    metadata: dict[str, str],
    margin: tuple[int, int] = (0, 0),
) -> bytes:
    """uint8 NHWC in and out around nodes that make float NCHW `y` of `x`, both in [0, 1].

    So many rows and columns are cut off on each side of `y`.
    """
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
        helper.make_node("Transpose", ["bytes"], ["picture0"], perm=[0, 2, 3, 1]),
    ]
    for axis, cut in enumerate(margin, 1):
        if cut:
            numbers = {f"from{axis}": cut, f"to{axis}": -cut, f"axis{axis}": axis, f"by{axis}": 1}
            values |= {name: np.array([number]) for name, number in numbers.items()}
            inputs = [around[-1].output[0], *numbers]
            around.append(helper.make_node("Slice", inputs, [f"picture{axis}"]))
    around[-1].output[0] = "stylized"
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
