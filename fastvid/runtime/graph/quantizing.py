"""A held network in whole numbers of 8 bits: more of them in each instruction, less to move.

Activations are coded as uint8 with one scale a tensor, weights as int8 with one a channel (Jacob et
al. 2018), written as QuantizeLinear and DequantizeLinear around each convolution: the engines fuse
those into convolutions of whole numbers, and what they do not fuse still calculates the same. Two
things stay out of it: what the residual blocks add up is kept in float32 and only coded for each
convolution that reads it, and what merely moves values moves their codes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from fastvid.runtime.graph.network import Network, attributes
from fastvid.runtime.graph.statistics import has_constant_weights, replace_weights, weights

# Without VNNI a processor adds two products of a uint8 and an int8 in 16 bits, and larger weights
# than this would saturate there.
SAFE_WEIGHT = 63
FULL_WEIGHT = 127
_LARGEST_CODE = 255
# Part of a range that is coded, the rest is clipped: the ends are rarely reached, and the steps
# between are finer. Of 0.7 to 1 the best on the_scream and starry_night, by 0.5 to 1 dB.
_KEPT = 0.9
# Engines multiply by this many output channels at a time; 12 of them take longer than 16.
_LANES = 16

_MOVING = frozenset({"Transpose", "Concat", "Reshape", "Split", "Slice"})

Code = tuple[np.float32, np.uint8]  # scale, and the code of 0


def activations(model: bytes) -> list[str]:
    """Names of the values that `quantize` codes: what convolutions and sums give and take.

    Empty where there is no convolution between a first and a last one.
    """
    network = Network(model)
    inner = _inner_layers(network)
    if not inner:
        return []
    found = [_result(network, node) for node in inner]
    found += [name for node in inner for name in _origins(network, node.input[0])]
    last = _last_layer(network)
    if last is not None:
        found += _origins(network, last.input[0])
    return list(dict.fromkeys(found))


def ranges_of(model: bytes, names: Sequence[str]) -> bytes:
    """The network that gives its painting first and then the ends of each value's range in turn.

    What comes out of a Relu begins at 0, which no pass over it has to find out.

    Args:
        model: ONNX file of the contract, fixed to a size and held at statistics.
        names: the values. An engine keeps them all until their ends are found.
    """
    network = Network(model)
    zero = network.constant(np.float32(0))
    ends = []
    for name in names:
        made_by = network.producer(name)
        if made_by is not None and made_by.op_type == "Relu":
            ends.append(network.add("Identity", [zero]))
        else:
            ends.append(network.add("ReduceMin", [name], keepdims=0))
        ends.append(network.add("ReduceMax", [name], keepdims=0))
    network.add_outputs(ends)
    return network.to_bytes()


def quantize(
    model: bytes, ranges: Mapping[str, tuple[float, float]], largest_weight: int = SAFE_WEIGHT
) -> bytes:
    """The network with its convolutions in 8 bits.

    Args:
        model: ONNX file of the contract, fixed to a size and held at statistics.
        ranges: least and largest number of each of the network's `activations` in what will be
            painted; what exceeds them by far is clipped.
        largest_weight: of int8's codes, `SAFE_WEIGHT` or, where sums of products do not saturate,
            `FULL_WEIGHT`, whose steps are half as large.
    """
    network = Network(model)
    codes = _codes(network, ranges)
    layers, last = _inner_layers(network), _last_layer(network)
    if last is not None:
        _widen(network, last)
        layers.append(last)
    for node in layers:
        _quantize_weights(network, node, codes[_origins(network, node.input[0])[0]], largest_weight)
    _quantize_first(network, largest_weight)
    sums = {node.output[0] for node in _sums(network)}
    carried = {name: _carried(network, name, codes) for name in codes}
    decoded: set[str] = set()  # values that codes were moved to
    for name, code in codes.items():
        users = network.consumers(name)
        parts = [network.constant(part) for part in code]
        coded = network.add("QuantizeLinear", [name, *parts])
        moving = [user for user in users if carried[name] and user.op_type in _MOVING]
        reading = [
            user
            for user in users
            if user not in moving and not (name in sums and user.op_type == "Add")
        ]
        _redirect(moving, name, coded)
        if reading:
            _redirect(reading, name, network.add("DequantizeLinear", [coded, *parts]))
        for value in carried[name]:
            readers = [user for user in network.consumers(value) if user.op_type not in _MOVING]
            if readers and value not in decoded:
                decoded.add(value)
                _redirect(readers, value, network.add("DequantizeLinear", [value, *parts]))
    return network.to_bytes()


def _inner_layers(network: Network) -> list[onnx.NodeProto]:
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


def _last_layer(network: Network) -> onnx.NodeProto | None:
    """The convolution whose result becomes the picture's bytes, if they follow it directly."""
    for node in network.nodes:
        if node.op_type == "QuantizeLinear":
            made_by = network.producer(node.input[0])
            if made_by is not None and has_constant_weights(network, made_by):
                return made_by if network.only_consumer(node.input[0]) is not None else None
    return None


def _sums(network: Network) -> list[onnx.NodeProto]:
    """Additions of two activations."""
    known = network.constants
    return [n for n in network.nodes if n.op_type == "Add" and not any(i in known for i in n.input)]


def _result(network: Network, node: onnx.NodeProto) -> str:
    """What a node makes, behind the Relu that fuses with it."""
    relu = network.only_consumer(node.output[0], "Relu")
    return str((relu or node).output[0])


def _origins(network: Network, name: str) -> list[str]:
    """The values that a value was put together from by moving alone; itself if by none."""
    made_by = network.producer(name)
    if made_by is None or made_by.op_type not in _MOVING:
        return [name]
    moved = made_by.input if made_by.op_type == "Concat" else made_by.input[:1]
    return list(dict.fromkeys(n for each in moved for n in _origins(network, each)))


def _carried(network: Network, name: str, codes: Mapping[str, Code]) -> list[str]:
    """The values that a value's codes are moved to; none if they meet others on the way."""
    found, pending = [], [name]
    while pending:
        for user in network.consumers(pending.pop()):
            if user.op_type in _MOVING:
                found += user.output
                pending += user.output
    mixed = any(
        codes.get(origin) != codes[name] for value in found for origin in _origins(network, value)
    )
    return [] if mixed or set(found) & set(network.outputs) else list(dict.fromkeys(found))


def _codes(network: Network, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Code]:
    """The code of each value; those that are moved into one another share theirs."""
    together = {name: {name} for name in ranges}
    for node in network.nodes:
        for value in node.input:
            group = set().union(*(together.get(n, set()) for n in _origins(network, value)))
            together |= dict.fromkeys(group, group)
    return {name: _code(ranges[other] for other in together[name]) for name in ranges}


def _code(ranges: Iterable[tuple[float, float]]) -> Code:
    """Scale and zero of what all ranges cover, which 0 belongs to in any case."""
    lows, highs = zip(*ranges, strict=True)
    least, largest = _KEPT * min(*lows, 0.0), _KEPT * max(*highs, 0.0)
    scale = (largest - least) / _LARGEST_CODE or 1.0
    return np.float32(scale), np.uint8(round(-least / scale))


def _redirect(users: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    for user in users:
        user.input[:] = [new if each == old else each for each in user.input]


def _quantize_first(network: Network, largest_weight: int) -> None:
    """Let the first convolution take the frames' bytes for the codes that they are.

    They stand for x - zero, as the padding does for 0. Where it steps over whole blocks of pixels
    these become channels, because rows of few bytes are slow to gather.
    """
    conv = next(node for node in network.nodes if node.op_type == "Conv")
    shift = network.producer(conv.input[0])
    source, summand = conv.input[0], 0.0
    if shift is not None and shift.op_type == "Add":
        number = network.scalar(shift.input[1])
        if number is None:  # one for each channel: no single byte stands for 0
            return
        source, summand = shift.input[0], number
    zero = np.uint8(np.clip(np.rint(-summand), 0, _LARGEST_CODE))
    picture = _bytes_behind(network, source)
    found = attributes(conv)
    if (
        picture is None
        or abs(zero + summand) > 1  # no byte stands for what the border is padded with
        or not has_constant_weights(network, conv)
        or found["group"] != 1
        or found["dilations"] != [1, 1]
    ):
        return
    kernel, bias = weights(network, conv)
    bias = bias + (float(zero) + summand) * kernel.sum((1, 2, 3))
    block = _block(network, picture, kernel.shape, found)
    if block > 1:
        picture, kernel = _in_blocks(network, picture, block), _kernel_in_blocks(kernel, block)
    code = np.float32(1), zero
    planes = network.add("Transpose", [picture], perm=[0, 3, 1, 2])
    conv.input[0] = network.add("DequantizeLinear", [planes, *(network.constant(c) for c in code)])
    replace_weights(network, conv, kernel, bias)
    shape = {
        "kernel_shape": kernel.shape[2:],
        "strides": [stride // block for stride in found["strides"]],
        "pads": [pad // block for pad in found["pads"]],
    }
    del conv.attribute[:]
    conv.attribute.extend(helper.make_attribute(name, value) for name, value in shape.items())
    _quantize_weights(network, conv, code, largest_weight)


def _bytes_behind(network: Network, source: str) -> str | None:
    """The bytes (N, H, W, 3) that become the floats (N, 3, H, W); None if it is another way."""
    steps = {"Cast", "Transpose"}
    while (node := network.producer(source)) is not None and node.op_type in steps:
        if node.op_type == "Transpose" and attributes(node)["perm"] != [0, 3, 1, 2]:
            return None
        steps.remove(node.op_type)
        source = node.input[0]
    return source if not steps else None


def _block(network: Network, picture: str, shape: Sequence[int], found: Mapping[str, Any]) -> int:
    """Side of the blocks of pixels that a convolution steps over, 1 where they do not come out."""
    size = list(network.frame_size)
    pad = network.producer(picture)
    if pad is not None and pad.op_type == "Pad":
        pads = network.constants[pad.input[1]]
        size = [side + int(pads[i] + pads[i + 4]) for i, side in enumerate(size, 1)]
    elif picture != "frames":
        return 1
    block = int(found["strides"][0])
    sides = [*size, *shape[2:], *found["pads"], *found["strides"]]
    return block if not any(side % block for side in sides) else 1


def _in_blocks(network: Network, picture: str, block: int) -> str:
    """Space-to-depth of bytes (N, H, W, 3): channels in the order row, column, colour."""
    shape = network.constant(np.array([0, 0, -1, 3 * block]))
    lines = []
    for y in range(block):
        bounds = [[y], [np.iinfo(np.int64).max], [1], [block]]  # every block-th row from y on
        rows = network.add("Slice", [picture, *(network.constant(np.array(b)) for b in bounds)])
        lines.append(network.add("Reshape", [rows, shape]))
    return network.add("Concat", lines, axis=3)


def _kernel_in_blocks(kernel: np.ndarray, block: int) -> np.ndarray:
    """The kernel (O, 3, kh, kw) for `_in_blocks` of its input."""
    o, c, kh, kw = kernel.shape
    cells = kernel.reshape(o, c, kh // block, block, kw // block, block)
    return cells.transpose(0, 3, 5, 1, 2, 4).reshape(o, -1, kh // block, kw // block)


def _widen(network: Network, conv: onnx.NodeProto) -> None:
    """Give the last convolution channels that are cut off again, as many as are calculated."""
    kernel, bias = weights(network, conv)
    extra = -len(kernel) % _LANES
    quantizer = network.only_consumer(conv.output[0], "QuantizeLinear")
    if not extra or quantizer is None or attributes(conv)["group"] != 1:
        return
    rows = [(0, extra), (0, 0), (0, 0), (0, 0)]
    replace_weights(network, conv, np.pad(kernel, rows), np.pad(bias, rows[0]))
    network.remove(quantizer)
    wide = network.add("QuantizeLinear", quantizer.input)
    bounds = [network.constant(np.array([number])) for number in (0, len(kernel), 1)]
    network.add("Slice", [wide, *bounds], quantizer.output[0])


def _quantize_weights(
    network: Network, node: onnx.NodeProto, code: Code, largest_weight: int
) -> None:
    """Weights as int8, and the bias as int32 in units of what the products are in."""
    kernel = network.constants[node.input[1]]
    largest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1)
    scale = np.where(largest > 0, largest / largest_weight, 1).astype(np.float32)
    coded = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.int8)
    node.input[1] = _decoded(network, coded, scale)
    if len(node.input) > 2:
        unit = scale * code[0]
        bias = np.clip(np.rint(network.constants[node.input[2]] / unit), -(2**31), 2**31 - 1)
        node.input[2] = _decoded(network, bias.astype(np.int32), unit)


def _decoded(network: Network, coded: np.ndarray, scale: np.ndarray) -> str:
    parts = (coded, scale, np.zeros(len(scale), coded.dtype))
    return network.add("DequantizeLinear", [network.constant(p) for p in parts], axis=0)
