"""The two ends of a network: where bytes become floats, and where floats become bytes."""

import numpy as np
import onnx

from fastvid.runtime.graph.network import Network, attributes
from fastvid.runtime.graph.statistics import has_constant_weights, replace_weights, weights
from fastvid.runtime.graph.trial import session_of

_WHITE = 255.0


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
    height = network.shapes().get(clip.input[0], (None,) * 4)[2]
    network.remove(transpose)
    source, block = _merge_tail(network, clip.input[0]) if height else (clip.input[0], 1)
    parameters = [network.constant(v) for v in (np.float32(1 / _WHITE), np.uint8(0))]
    picture = network.add("QuantizeLinear", [source, *parameters])
    output = transpose.output[0]
    if block == 1:
        network.add("Transpose", [picture], output, perm=[0, 2, 3, 1])
        return True
    # One part for each row of the cells: runtimes take long for six axes of bytes at once.
    rows = []
    flat = network.constant(np.array([0, 0, -1]))
    for part in network.split(picture, block, axis=1):
        pixels = network.add("Transpose", [part], perm=[0, 2, 3, 1])  # (N, h, w, b * 3)
        rows.append(network.add("Reshape", [pixels, flat]))
    whole = network.constant(np.array([0, height, -1, 3]))
    network.add("Reshape", [network.add("Concat", rows, axis=2), whole], output)
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


def _block_size(network: Network, source: str, target: str) -> int | None:
    """Side b of the blocks that make `target` of `source`, 1 where it is the same; else None.

    Found by trying: exporters write space-to-depth as a long row of shape arithmetic.
    """
    if source == target:
        return 1
    part = session_of(network, target, source=source)
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
