"""Hold a network's instance norms at the statistics of a shot, folded into its convolutions.

An instance norm takes the mean and the variance of each channel from the very picture it paints.
Held constant over a shot they make the network one fixed function of a pixel's neighbourhood, and
a norm with constant statistics is only a scale and a shift, which the convolution before it takes
in for nothing. Works on any ONNX graph; no training, no torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

_MEAN, _VARIANCE = "fastvid_mean_", "fastvid_variance_"


def add_statistics(model: bytes) -> bytes | None:
    """The network with the statistics of its instance norms as outputs, in place of the picture.

    For the i-th norm (in graph order) there are `fastvid_mean_i` and `fastvid_variance_i`, both
    float32 (N, C, 1, 1), the biased moments over H and W of what goes into that norm. None for a
    network without an instance norm.

    Args:
        model: bytes of an ONNX file.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    norms = _norms(graph)
    if not norms:
        return None
    del graph.output[:]
    for i, norm in enumerate(norms):
        mean, variance, centered, squared = (
            f"{_MEAN}{i}",
            f"{_VARIANCE}{i}",
            f"fastvid_centered_{i}",
            f"fastvid_squared_{i}",
        )
        graph.node.extend(
            [
                helper.make_node("GlobalAveragePool", [norm.input[0]], [mean]),
                # E[(x - m)^2], not E[x^2] - m^2: the latter cancels in float32
                helper.make_node("Sub", [norm.input[0], mean], [centered]),
                helper.make_node("Mul", [centered, centered], [squared]),
                helper.make_node("GlobalAveragePool", [squared], [variance]),
            ]
        )
        for name in (mean, variance):
            graph.output.append(
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", None, 1, 1])
            )
    return proto.SerializeToString()


def fold_statistics(model: bytes, measured: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    """The network with every instance norm held at measured statistics.

    The moments of several frames are pooled as if the frames were one large picture. A norm that
    alone follows a convolution disappears into its weights; any other becomes one multiplication
    and one addition per channel.

    Args:
        model: bytes of an ONNX file.
        measured: the outputs of `add_statistics`'s network, one mapping a frame.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    constants = _constants(graph)
    producers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    for i, norm in enumerate(_norms(graph)):
        mean, variance = _pool(
            [frame[f"{_MEAN}{i}"] for frame in measured],
            [frame[f"{_VARIANCE}{i}"] for frame in measured],
        )
        scale, bias = constants[norm.input[1]], constants[norm.input[2]]
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
        before = producers.get(norm.input[0])
        if before is not None and _can_fold(before, constants, uses[norm.input[0]]):
            _scale_conv(graph, before, constants, factor, shift, i)
            before.output[0] = norm.output[0]
            graph.node.remove(norm)
        else:
            _replace_norm(graph, norm, factor, shift, i)
    _drop_unused(graph)
    return proto.SerializeToString()


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Values known before the network runs, by name."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return values


def _norms(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The instance norms in graph order; ValueError if one has no constant scale and bias."""
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    constants = _constants(graph) if norms else {}
    for norm in norms:
        if not all(name in constants for name in norm.input[1:3]):
            raise ValueError(
                f"instance norm {norm.name!r} computes its scale while running, expected "
                "constants; export the network again"
            )
    return norms


def _pool(
    means: Sequence[np.ndarray], variances: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Moments (C,) of the union of equally large pictures from the moments (1, C, 1, 1) of each."""
    mean = np.stack(means).astype(np.float64).reshape(len(means), -1)
    variance = np.stack(variances).astype(np.float64).reshape(len(means), -1)
    return mean.mean(0), variance.mean(0) + mean.var(0)


def _can_fold(
    node: onnx.NodeProto, constants: Mapping[str, np.ndarray], uses_of_output: int
) -> bool:
    return (
        node.op_type == "Conv"
        and uses_of_output == 1
        and all(name in constants for name in node.input[1:] if name)
    )


def _scale_conv(
    graph: onnx.GraphProto,
    conv: onnx.NodeProto,
    constants: Mapping[str, np.ndarray],
    factor: np.ndarray,
    shift: np.ndarray,
    index: int,
) -> None:
    """Give the convolution its own weights W * factor and bias b * factor + shift."""
    weight = constants[conv.input[1]]
    has_bias = len(conv.input) > 2 and conv.input[2]
    bias = constants[conv.input[2]] if has_bias else np.zeros(len(weight))
    # New names, because two convolutions may share one tensor.
    weight_name, bias_name = f"fastvid_weight_{index}", f"fastvid_bias_{index}"
    folded = (weight * factor[:, None, None, None]).astype(weight.dtype)
    shifted = (bias * factor + shift).astype(weight.dtype)
    graph.initializer.append(numpy_helper.from_array(folded, weight_name))
    graph.initializer.append(numpy_helper.from_array(shifted, bias_name))
    del conv.input[1:]
    conv.input.extend([weight_name, bias_name])


def _replace_norm(
    graph: onnx.GraphProto,
    norm: onnx.NodeProto,
    factor: np.ndarray,
    shift: np.ndarray,
    index: int,
) -> None:
    factor_name, shift_name = f"fastvid_factor_{index}", f"fastvid_shift_{index}"
    for name, value in ((factor_name, factor), (shift_name, shift)):
        column = value.astype(np.float32)[:, None, None]  # (C, 1, 1) against (N, C, H, W)
        graph.initializer.append(numpy_helper.from_array(column, name))
    scaled = f"fastvid_scaled_{index}"
    position = next(i for i, node in enumerate(graph.node) if node == norm)
    graph.node.insert(position, helper.make_node("Add", [scaled, shift_name], list(norm.output)))
    graph.node.insert(position, helper.make_node("Mul", [norm.input[0], factor_name], [scaled]))
    graph.node.remove(norm)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
