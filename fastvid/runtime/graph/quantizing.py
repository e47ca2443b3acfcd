"""A held network in whole numbers of 8 bits: more of them in each instruction, less to move.

Activations are coded as uint8 with one scale a tensor, weights as int8 with one a channel (Jacob et
al. 2018), written as QuantizeLinear and DequantizeLinear around each convolution: the engines fuse
those into convolutions of whole numbers, and what they do not fuse still calculates the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from fastvid.runtime.graph.network import Network

# Of int8's 127. Without VNNI a processor adds two products of a uint8 and an int8 in 16 bits, and
# larger weights would saturate there. It costs one bit, and no processor paints another picture.
_LARGEST_WEIGHT = 63
_LARGEST_CODE = 255

Code = tuple[np.float32, np.uint8]  # scale, and the code of 0


def activations(model: bytes) -> list[str]:
    """Names of the values that `quantize` codes: what goes into convolutions and sums, and out.

    Empty where there is no convolution to code.
    """
    network = Network(model)
    layers, sums = _layers(network), _sums(network)
    if not layers:
        return []
    wanted = [_result(network, node) for node in (*layers, *sums)]
    wanted += [name for node in layers for name in node.input[:1]]
    wanted += [name for node in sums for name in node.input]
    return list(dict.fromkeys(wanted))


def ranges_of(model: bytes, names: Sequence[str]) -> bytes:
    """The network that also gives, after its painting, the ends of each value's range in turn."""
    network = Network(model)
    network.add_outputs(
        [network.add(op, [n], keepdims=0) for n in names for op in ("ReduceMin", "ReduceMax")]
    )
    return network.to_bytes()


def quantize(model: bytes, ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """The network with its convolutions in 8 bits, all but the first and the last.

    Those see few channels: whole numbers are no faster there, and their rounding would be seen.

    Args:
        model: ONNX file of the contract, fixed to a size and held at statistics.
        ranges: least and largest number of each of the network's `activations` in what will be
            painted; what exceeds them is clipped.
    """
    network = Network(model)
    codes = {name: _code(*ends) for name, ends in ranges.items()}
    for node in _layers(network):
        _quantize_weights(network, node, codes[node.input[0]])
    for name, code in codes.items():
        users = network.consumers(name)
        parts = [network.constant(part) for part in code]
        coded = network.add("QuantizeLinear", [name, *parts])
        decoded = network.add("DequantizeLinear", [coded, *parts])
        for user in users:
            user.input[:] = [decoded if each == name else each for each in user.input]
    return network.to_bytes()


def _layers(network: Network) -> list[onnx.NodeProto]:
    """Convolutions between the first and the last ones, with weights and bias that are known."""
    behind: dict[str, frozenset[str]] = {}  # convolutions that a value has come through
    for node in network.nodes:
        seen = frozenset().union(*(behind.get(name, frozenset()) for name in node.input))
        own = node.output[:1] if node.op_type == "Conv" else ()
        behind |= dict.fromkeys(node.output, seen.union(own))
    layers = [node for node in network.nodes if node.op_type == "Conv"]
    followed = frozenset().union(*(behind[node.output[0]] - {node.output[0]} for node in layers))
    return [
        node
        for node in layers
        if node.output[0] in followed
        and len(behind[node.output[0]]) > 1
        and all(name in network.constants for name in node.input[1:])
    ]


def _sums(network: Network) -> list[onnx.NodeProto]:
    """Additions of two activations."""
    known = network.constants
    return [n for n in network.nodes if n.op_type == "Add" and not any(i in known for i in n.input)]


def _result(network: Network, node: onnx.NodeProto) -> str:
    """What a node makes, behind the Relu that fuses with it."""
    relu = network.only_consumer(node.output[0], "Relu")
    return str((relu or node).output[0])


def _code(least: float, largest: float) -> Code:
    """Scale and zero of a range, which 0 belongs to in any case."""
    least, largest = min(least, 0.0), max(largest, 0.0)
    scale = (largest - least) / _LARGEST_CODE or 1.0
    return np.float32(scale), np.uint8(round(-least / scale))


def _quantize_weights(network: Network, node: onnx.NodeProto, code: Code) -> None:
    """Weights as int8, and the bias as int32 in units of what the products are in."""
    weights = network.constants[node.input[1]]
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    scale = np.where(largest > 0, largest / _LARGEST_WEIGHT, 1).astype(np.float32)
    coded = np.rint(weights / scale.reshape(-1, *[1] * (weights.ndim - 1))).astype(np.int8)
    node.input[1] = _decoded(network, coded, scale)
    if len(node.input) > 2:
        unit = scale * code[0]
        bias = np.clip(np.rint(network.constants[node.input[2]] / unit), -(2**31), 2**31 - 1)
        node.input[2] = _decoded(network, bias.astype(np.int32), unit)


def _decoded(network: Network, coded: np.ndarray, scale: np.ndarray) -> str:
    parts = (coded, scale, np.zeros(len(scale), coded.dtype))
    return network.add("DequantizeLinear", [network.constant(p) for p in parts], axis=0)
