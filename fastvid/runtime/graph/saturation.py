"""Whether a processor adds up products of 8 bits exactly."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_CHANNELS = 64
_OPSET = 18


def extreme_sum(weight: int) -> tuple[bytes, np.ndarray]:
    """A coded convolution of the largest values there are.

    Without VNNI, x86 adds two products of a uint8 and an int8 in 16 bits, and large ones saturate
    (Intel's `vpmaddubsw`).

    Args:
        weight: all weights, of int8.

    Returns:
        An ONNX file from `frames` to one output, and the frames for it: uint8 that become 255
        everywhere, or less where sums saturate.
    """
    shape = (1, _CHANNELS, 4, 4)
    codes = np.full((16, _CHANNELS, 1, 1), weight, np.int8)
    values: dict[str, np.ndarray | np.generic] = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "codes": codes,
        "ones": np.ones(len(codes), np.float32),
        "zeros": np.zeros(len(codes), np.int8),
        "unit": np.float32(_CHANNELS * weight),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["frames", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["codes", "ones", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "unit", "zero"], ["sums"]),
    ]
    graph = helper.make_graph(
        nodes,
        "extreme_sum",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("sums", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 10
    return model.SerializeToString(), np.full(shape, 255, np.uint8)
