"""Upsampling and the convolution behind it, at the price of the small picture.

On a picture whose 2x2 cells are constant, as nearest-neighbour upsampling makes it, a 3x3 kernel
meets only 2x2 different cells. The four pixels around a corner at which four cells meet all see
just those: one 2x2 convolution of the small picture gives them as channels, 16 multiplications
where there were 36. The corners on the picture's edge give a ring of pixels around it, which is cut
off, or left where it only reaches what the network's own crop takes away.
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper

from fastvid.runtime.graph.borders import hidden_px, is_crop, is_pointwise, move_crop, way_out
from fastvid.runtime.graph.network import Network, Shapes, attributes
from fastvid.runtime.graph.statistics import has_constant_weights, weights

# Of a convolution at all corners, those on the edge too.
_AT_CORNERS: dict[str, Any] = {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}


def upsample_at_corners(network: Network) -> int:
    """Run what follows a doubled picture at its corners.

    Args:
        network: changed; its crop as `crop_once` leaves it, its size fixed.

    Returns:
        How many convolutions run at corners now.
    """
    shapes = network.shapes()
    found = 0
    for conv in network.nodes:
        if not has_constant_weights(network, conv) or not _is_plain_3x3(network, conv):
            continue
        resize = network.producer(conv.input[0])
        if resize is not None and _doubles(network, resize):
            found += _merge_resize(network, resize, conv, shapes)
        else:
            found += _merge_depth_to_space(network, conv)
    return found


def _merge_resize(
    network: Network,
    resize: onnx.NodeProto,
    conv: onnx.NodeProto,
    shapes: Shapes,
) -> bool:
    """Put the doubling and the convolution into one; whether the size of the picture is known."""
    h, w = shapes.get(resize.input[0], (None, None))[-2:]
    if h is None or w is None:
        return False
    network.remove(conv)
    output = conv.output[0]
    # Before the interleaving a Relu costs nothing: runtimes merge it into the convolution.
    relu = network.only_consumer(output, "Relu")
    if relu is not None:
        network.remove(relu)
        output = relu.output[0]
    kernel, bias = weights(network, conv)
    parts = [_corner_kernel(kernel), np.tile(bias, 4)]
    constants = [network.constant(part.astype(np.float32)) for part in parts]
    corners = network.add("Conv", [resize.input[0], *constants], **_AT_CORNERS)
    corners = corners if relu is None else network.add("Relu", [corners])
    last = network.add("Transpose", [corners], perm=[0, 2, 3, 1])
    picture = _interleave(network, last, (h + 1, w + 1))
    reader = network.only_consumer(output, "Conv")
    if reader is None or not _take_ring(network, reader, shapes):
        bounds = ([1, 1], [2 * h + 1, 2 * w + 1], [1, 2])
        picture = network.add("Slice", [picture, *(network.constant(np.array(b)) for b in bounds)])
    network.add("Transpose", [picture], output, perm=[0, 3, 1, 2])
    return True


def _interleave(network: Network, cells: str, size: tuple[int, int]) -> str:
    """Pixels of 2x2 cells, from the channels into rows and columns; whole pixels move.

    Args:
        network: changed.
        cells: (N, h, w, 4 * C), channels in the order row, column, C.
        size: (h, w).

    Returns:
        The picture (N, 2 * h, 2 * w, C).
    """
    h, w = size
    apart = network.add("Reshape", [cells, network.constant(np.array([0, h, w, 2, -1]))])
    rows = network.add("Transpose", [apart], perm=[0, 1, 3, 2, 4])
    whole = network.constant(np.array([0, 2 * h, 2 * w, -1]))
    return network.add("Reshape", [rows, whole])


def _take_ring(network: Network, conv: onnx.NodeProto, shapes: Shapes) -> bool:
    """Let a convolution read one pixel more around its input where it has padded with zeros.

    Its numbers differ only where they would have met the padding. Whether nobody sees those.
    """
    found = attributes(conv)
    top, left, bottom, right = found["pads"]
    rows, columns = hidden_px(network, conv.output[0], shapes)
    if (
        found["strides"] != [1, 1]
        or min(found["pads"]) < 1
        or max(top, bottom) > rows
        or max(left, right) > columns
    ):
        return False
    pads = next(attribute for attribute in conv.attribute if attribute.name == "pads")
    pads.CopyFrom(helper.make_attribute("pads", [pad - 1 for pad in found["pads"]]))
    return True


def _merge_depth_to_space(network: Network, conv: onnx.NodeProto) -> bool:
    """Give a convolution whose four phases see 2x2 cells of 3x3 a kernel of 2x2.

    That is what the exporter makes of `fastvid.nets.blocks.UpsampleConv`. Only in front of the
    crop, which then begins one row and one column later.
    """
    shuffle = network.only_consumer(conv.output[0], "DepthToSpace")
    if shuffle is None or attributes(shuffle)["blocksize"] != 2:
        return False
    *between, crop = way_out(network, shuffle.output[0]) or [shuffle]
    if not is_crop(network, crop) or not all(
        is_pointwise(network, n) or n.op_type == "Transpose" for n in between
    ):
        return False
    kernel, bias = weights(network, conv)
    # order[i] are the channels of phase i, which lies at row i // 2 and column i % 2 of its cell
    order = np.arange(len(kernel)).reshape(4, -1)
    if attributes(shuffle).get("mode", b"DCR") == b"CRD":
        order = np.arange(len(kernel)).reshape(-1, 4).T
    merged, moved = np.zeros_like(kernel[..., :2, :2]), np.zeros_like(bias)
    for phase, channels in enumerate(order):
        y, x = divmod(phase, 2)
        # Around a corner lie the last pixel of one cell, then the first one of the next.
        merged[order[3 - phase]] = kernel[channels, :, y : y + 2, x : x + 2]
        moved[order[3 - phase]] = bias[channels]
    if np.count_nonzero(merged) != np.count_nonzero(kernel):
        return False
    constants = [network.constant(part.astype(np.float32)) for part in (merged, moved)]
    network.remove(conv)
    network.add("Conv", [conv.input[0], *constants], conv.output[0], **_AT_CORNERS)
    move_crop(network, crop, 1)
    return True


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


def _corner_kernel(kernel: np.ndarray) -> np.ndarray:
    """From (O, I, 3, 3) on the doubled picture to (4 * O, I, 2, 2) on the small one's corners."""
    # spread[p, k, t]: tap t of the pixel before (p = 0) or behind a corner lands on the cell before
    # (k = 0) or behind it. The pixels lie at p - 1, their taps at p - 1 + t - 1.
    spread = np.zeros((2, 2, 3))
    for pixel in range(2):
        for tap in range(3):
            spread[pixel, (pixel + tap - 2) // 2 + 1, tap] = 1
    corners = np.einsum("oiyx,pky,qlx->pqoikl", kernel, spread, spread)
    return corners.reshape(4 * len(kernel), *corners.shape[3:])
