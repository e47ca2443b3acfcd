"""Cheaper graphs that paint the same: what the exporter writes plainly, written for speed.

Every rewriting looks for one shape of graph and leaves alone what it does not know; where it
applies, the result is equal but for the order in which floats are summed.
"""

import logging
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.statistics import has_constant_weights, replace_weights, weights

log = logging.getLogger(__name__)

_WHITE = 255.0


def rewrite(model: bytes, size: tuple[int, int]) -> bytes:
    """The same network, faster, for frames of one size.

    Args:
        model: bytes of an ONNX file of the contract, its norms folded or not.
        size: (H, W) of the frames.
    """
    network = Network(model)
    network.fix_size(size)
    pad_once(network, size)
    merge_input(network)
    split_upsampling(network)
    merge_output(network)
    return network.to_bytes()


def pad_once(network: Network, size: tuple[int, int]) -> bool:
    """Repeat the border of the bytes by one `Pad` instead of fetching every row and column.

    Args:
        network: changed.
        size: (H, W) that it is fixed to.

    Returns:
        Whether the graph had the shape that this needs.
    """
    rows = next((n for n in network.consumers("frames") if n.op_type == "Gather"), None)
    columns = None if rows is None else network.only_consumer(rows.output[0], "Gather")
    if (
        rows is None
        or columns is None
        or [attributes(n)["axis"] for n in (rows, columns)] != [1, 2]
    ):
        return False
    above_below = _repeats(network, rows.input[1], size, size[0])
    left_right = _repeats(network, columns.input[1], size, size[1])
    if above_below is None or left_right is None:
        return False
    (above, below), (left, right) = above_below, left_right
    pads = [0, above, left, 0, 0, below, right, 0]
    network.remove(columns)
    network.add("Pad", ["frames", network.constant(np.array(pads))], columns.output[0], mode="edge")
    return True


def merge_input(network: Network) -> bool:
    """Let the first convolution read the bytes' own values: scaling and space-to-depth inside it.

    A convolution of a picture rearranged into blocks of b x b is one of the picture itself, with a
    kernel, a stride and pads b times as large. A constant factor goes into the kernel, a constant
    summand into the bias; where the convolution pads it stays, as one addition, because the zeros
    around the picture mean mid-grey and not black.

    Returns:
        Whether the graph had the shape that this needs.
    """
    cast = next((n for n in network.nodes if _is_cast(n, onnx.TensorProto.FLOAT)), None)
    conv = next((n for n in network.nodes if n.op_type == "Conv"), None)
    if cast is None or conv is None or not has_constant_weights(network, conv):
        return False
    found = attributes(conv)
    if found["group"] != 1 or found["dilations"] != [1, 1]:
        return False
    source = cast.output[0]
    while (transpose := network.only_consumer(source, "Transpose")) is not None:
        source = transpose.output[0]
    scaled, factor, summand = _follow_scaling(network, source)
    block = _block_size(network, scaled, conv.input[0])
    if block is None:
        return False
    kernel, bias = weights(network, conv)
    o, i, kh, kw = kernel.shape
    kernel = kernel.reshape(o, i // block**2, block, block, kh, kw)
    kernel = kernel.transpose(0, 1, 4, 2, 5, 3).reshape(o, -1, kh * block, kw * block)
    if any(found["pads"]):
        source = network.add("Add", [source, network.constant(np.float32(summand / factor))])
    else:
        bias = bias + summand * kernel.sum((1, 2, 3))
    network.remove(conv)
    network.add(
        "Conv",
        [source, *(network.constant(v.astype(np.float32)) for v in (kernel * factor, bias))],
        conv.output[0],
        kernel_shape=[kh * block, kw * block],
        strides=[stride * block for stride in found["strides"]],
        pads=[pad * block for pad in found["pads"]],
    )
    return True


def split_upsampling(network: Network) -> int:
    """Run a 3x3 convolution of a doubled picture as four 2x2 convolutions of the small one.

    On a picture whose 2x2 cells are constant, a 3x3 kernel meets only 2x2 different cells, one
    arrangement for each of the four positions inside a cell: 16 multiplications where there were
    36. The four results are interleaved with the channels last, so that whole pixels move.

    Returns:
        How many convolutions were split.
    """
    found = 0
    for conv in network.nodes:
        resize = network.producer(conv.input[0]) if has_constant_weights(network, conv) else None
        if resize is None or not _doubles(network, resize) or not _is_plain_3x3(network, conv):
            continue
        found += 1
        network.remove(conv)
        output = conv.output[0]
        # Before the interleaving a Relu costs nothing: runtimes merge it into the convolution.
        relu = network.only_consumer(output, "Relu")
        if relu is not None:
            network.remove(relu)
            output = relu.output[0]
        kernel, bias = weights(network, conv)
        bias_name = network.constant(bias.astype(np.float32))
        lines = []
        for y in range(2):
            phases = []
            for x in range(2):
                name = network.constant(_phase_kernel(kernel, y, x).astype(np.float32))
                inputs = [resize.input[0], name, bias_name]
                pads = [1 - y, 1 - x, y, x]
                phase = network.add("Conv", inputs, kernel_shape=[2, 2], pads=pads)
                phase = phase if relu is None else network.add("Relu", [phase])
                phases.append(network.add("Transpose", [phase], perm=[0, 2, 3, 1]))
            lines.append(network.add("Concat", phases, axis=3))  # (N, h, w, 2C)
        picture = _interleave(network, lines, len(kernel))
        network.add("Transpose", [picture], output, perm=[0, 3, 1, 2])
    return found


def merge_output(network: Network) -> bool:
    """From floats to bytes in one step, and depth-to-space on the bytes.

    `QuantizeLinear` scales, rounds, clips and casts at once. A constant summand goes into the last
    convolution's bias; its outputs are put in an order in which whole pixels move.

    Returns:
        Whether the graph had the shape that this needs.
    """
    cast = next((n for n in network.nodes if _is_cast(n, onnx.TensorProto.UINT8)), None)
    chain = [] if cast is None else [cast]
    for op in ("Round", "Mul", "Clip"):
        before = network.producer(chain[-1].input[0]) if chain else None
        if before is None or before.op_type != op:
            return False
        chain.append(before)
    cast, _, scale, clip = chain
    transpose = network.only_consumer(cast.output[0], "Transpose")
    if (
        _WHITE not in [network.scalar(name) for name in scale.input]
        or [network.scalar(name) for name in clip.input[1:]] != [0, 1]
        or transpose is None
        or attributes(transpose)["perm"] != [0, 2, 3, 1]
    ):
        return False
    network.remove(transpose)
    target = transpose.output[0]
    source, block = _merge_tail(network, clip.input[0])
    parameters = [network.constant(v) for v in (np.float32(1 / _WHITE), np.uint8(0))]
    picture = network.add("QuantizeLinear", [source, *parameters])
    parts = [picture] if block == 1 else network.split(picture, block, axis=1)
    lines = [network.add("Transpose", [part], perm=[0, 2, 3, 1]) for part in parts]
    _interleave(network, lines, 3, target)
    return True


def _merge_tail(network: Network, picture: str) -> tuple[str, int]:
    """Take an addition and a depth-to-space off the end where a convolution can take them in.

    Args:
        network: changed.
        picture: RGB floats (N, 3, H, W), what is clipped and rounded next.

    Returns:
        The value to go on from, and the size b of its cells: channels (b, b, 3), the colours last.
    """
    summand, before, block = 0.0, picture, 1
    made_by = network.producer(picture)
    if made_by is not None and made_by.op_type == "Add":
        summand, before = network.scalar(made_by.input[1]) or 0.0, made_by.input[0]
        if not summand:
            return picture, 1
        made_by = network.producer(before)
    order = np.arange(3)
    if made_by is not None and made_by.op_type == "DepthToSpace":
        found = attributes(made_by)
        block = found["blocksize"]
        order = np.arange(3 * block**2)
        if found.get("mode", b"DCR") == b"CRD":
            order = order.reshape(3, -1).T.ravel()
        before = made_by.input[0]
        made_by = network.producer(before)
    if made_by is None or not has_constant_weights(network, made_by):
        return picture, 1
    kernel, bias = weights(network, made_by)
    if len(kernel) != len(order) or network.only_consumer(before) is None:
        return picture, 1
    replace_weights(network, made_by, kernel[order], bias[order] + summand)
    return before, block


def _interleave(
    network: Network, lines: list[str], channels: int, output: str | None = None
) -> str:
    """One picture out of b pictures that hold every b-th row each, whole rows at a time.

    Args:
        network: changed.
        lines: b values (N, h, w, b * channels), the pixels of b columns beside each other.
        channels: of a pixel.
        output: name to give to the picture, (N, b * h, b * w, channels).
    """
    block = len(lines)
    flat = network.constant(np.array([0, 0, -1]))
    rows = [network.add("Reshape", [line, flat]) for line in lines]
    sides = network.add("Shape", [lines[0]], end=3)
    larger = network.add("Mul", [sides, network.constant(np.array([1, block, block]))])
    size = network.add("Concat", [larger, network.constant(np.array([channels]))], axis=0)
    return network.add("Reshape", [network.add("Concat", rows, axis=2), size], output)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes, those of a two-dimensional convolution with their defaults."""
    defaults = {"group": 1, "dilations": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    return defaults | {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _is_cast(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and attributes(node)["to"] == to


def _follow_scaling(network: Network, source: str) -> tuple[str, float, float]:
    """How far a value is only multiplied by and added to numbers.

    Returns:
        The name at the end, and a and b with end = a * source + b.
    """
    factor, summand = 1.0, 0.0
    while (node := network.only_consumer(source)) is not None:
        numbers = [network.scalar(name) for name in node.input]
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or node.input[0] != source:
            break
        number = numbers[1]
        if number is None:
            break
        if node.op_type in ("Add", "Sub"):
            summand += number if node.op_type == "Add" else -number
        else:
            scale = number if node.op_type == "Mul" else 1 / number
            factor, summand = factor * scale, summand * scale
        source = node.output[0]
    return source, factor, summand


def _repeats(
    network: Network, index: str, size: tuple[int, int], side: int
) -> tuple[int, int] | None:
    """How often an index list repeats the first and the last line; None if it does anything else.

    Found by running what makes the list: exporters write it as shape arithmetic.
    """
    made = _session(network, index, kind=onnx.TensorProto.INT64)
    if made is None:
        return None
    lines = made.run(None, {"frames": np.zeros((1, *size, 3), np.uint8)})[0]
    before = int(np.count_nonzero(lines == 0)) - 1
    after = len(lines) - side - before
    expected = np.arange(-before, side + after).clip(0, side - 1)
    return (before, after) if np.array_equal(lines, expected) else None


def _session(network: Network, target: str, **limits: Any) -> ort.InferenceSession | None:
    """What makes one value, ready to be tried out; None where it needs more than that."""
    try:
        return ort.InferenceSession(
            network.part(target, **limits), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        log.debug("left as it is: %s", error)
        return None


def _block_size(network: Network, source: str, target: str) -> int | None:
    """Side b of the blocks that make `target` of `source`, 1 where it is the same; else None.

    Found by trying: exporters write space-to-depth as a long row of shape arithmetic.
    """
    if source == target:
        return 1
    part = _session(network, target, source=source)
    if part is None:
        return None
    blocks = {2, 4}
    for h, w in ((8, 16), (12, 8)):
        probe = np.arange(3 * h * w, dtype=np.float32).reshape(1, 3, h, w)
        found = part.run(None, {source: probe})[0]
        blocks = {b for b in blocks if np.array_equal(found, _in_blocks(probe, b))}
    return min(blocks, default=None)


def _in_blocks(picture: np.ndarray, block: int) -> np.ndarray:
    """Space-to-depth in torch's order: (1, C, H, W) -> (1, C * b * b, H / b, W / b)."""
    _, c, h, w = picture.shape
    cells = picture.reshape(c, h // block, block, w // block, block)
    return cells.transpose(0, 2, 4, 1, 3).reshape(1, -1, h // block, w // block)


def _doubles(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node repeats every row and column once."""
    if node.op_type != "Resize" or len(node.input) != 3:
        return False
    found = attributes(node)
    scales = network.constants.get(node.input[2])
    return (
        found.get("mode", b"nearest") == b"nearest"
        and found.get("coordinate_transformation_mode") == b"asymmetric"
        and found.get("nearest_mode") == b"floor"
        and scales is not None
        and scales.tolist() == [1, 1, 2, 2]
    )


def _is_plain_3x3(network: Network, conv: onnx.NodeProto) -> bool:
    found = attributes(conv)
    return (
        network.constants[conv.input[1]].shape[2:] == (3, 3)
        and found["group"] == 1
        and found["dilations"] == found["strides"] == [1, 1]
        and found["pads"] == [1, 1, 1, 1]
    )


def _phase_kernel(kernel: np.ndarray, y: int, x: int) -> np.ndarray:
    """The 2x2 kernel that position (y, x) of every doubled pixel sees, from (O, I, 3, 3)."""
    # spread[p, k, t]: tap t of the high-resolution kernel lands on tap k of phase p.
    spread = np.zeros((2, 2, 3))
    for phase in range(2):
        for tap in range(3):
            spread[phase, (phase + tap - 1) // 2 + 1 - phase, tap] = 1
    return np.einsum("oiyx,ky,lx->oikl", kernel, spread[y], spread[x])
