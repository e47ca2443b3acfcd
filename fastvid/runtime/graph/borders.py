"""What a network adds around the frames and cuts off again, and what nobody will see of it."""

import numpy as np
import onnx

from fastvid.runtime.graph.network import Network, Shapes, attributes
from fastvid.runtime.graph.trial import session_of

_SIDES = (1, 2)  # axes of a picture (N, H, W, C)
# They make each number of the one at its place.
_POINTWISE = frozenset({"Relu", "Clip", "Round", "Cast", "QuantizeLinear"})
_WITH_NUMBER = frozenset({"Add", "Sub", "Mul", "Div"})  # pointwise where one side is a number


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


def crop_once(network: Network, size: tuple[int, int]) -> bool:
    """Cut the picture out by one `Slice` at numbers that are known, instead of one for each axis.

    Args:
        network: changed.
        size: (H, W) that it is fixed to.

    Returns:
        Whether the graph had the shape that this needs.
    """
    picture, slices = network.outputs[0], list[onnx.NodeProto]()
    source = picture
    while (node := network.producer(source)) is not None and node.op_type == "Slice":
        if slices and network.only_consumer(source) is None:
            return False
        slices.append(node)
        source = node.input[0]
    starts: dict[int, int] = {}
    for node in slices:
        if len(node.input) != 5:  # axes and steps may be left out
            return False
        start, axis, step = (network.scalar(node.input[i]) for i in (1, 3, 4))
        if start is None or start < 0 or axis not in (1, 2) or axis in starts or step != 1:
            return False
        starts[int(axis)] = int(start)
    if not starts:
        return False
    for node in slices:
        network.remove(node)
    # The ends are arithmetic on shapes, but a painting is as large as its frame.
    corner = np.array([starts.get(axis, 0) for axis in _SIDES])
    numbers = (network.constant(v) for v in (corner, corner + size, np.array(_SIDES)))
    network.add("Slice", [source, *numbers], picture)
    return True


def way_out(network: Network, name: str) -> list[onnx.NodeProto]:
    """The nodes between a value and the picture, each the only one that uses what comes before.

    Empty where the value is used in several ways, or becomes nothing.
    """
    nodes: list[onnx.NodeProto] = []
    while name not in network.outputs:
        node = network.only_consumer(name)
        if node is None:
            return []
        nodes.append(node)
        name = node.output[0]
    return nodes


def is_pointwise(network: Network, node: onnx.NodeProto) -> bool:
    """Whether every number that comes out depends on the one at the same place alone."""
    return node.op_type in _POINTWISE or (
        node.op_type in _WITH_NUMBER
        and any(network.scalar(name) is not None for name in node.input)
    )


def hidden_px(network: Network, name: str, shapes: Shapes) -> tuple[int, int]:
    """How wide a border of a value (N, C, H, W) has no influence on the picture, at least.

    Args:
        network: its crop as `crop_once` leaves it.
        name: the value.
        shapes: of the network's values.

    Returns:
        Rows at top and bottom, columns left and right; of both sides the smaller number.
    """
    rows, columns = 0, 0
    for node in reversed(way_out(network, name)):
        found = attributes(node)
        if node.op_type == "Slice":
            rows, columns = (
                hidden + cut
                for hidden, cut in zip((rows, columns), _cut(network, node, shapes), strict=True)
            )
        elif node.op_type == "DepthToSpace":
            rows, columns = (hidden // found["blocksize"] for hidden in (rows, columns))
        elif node.op_type == "Conv" and found["strides"] == [1, 1]:
            # The last number that is seen needs all that its kernel covers.
            top, left, bottom, right = found["pads"]
            rows, columns = max(0, rows - max(top, bottom)), max(0, columns - max(left, right))
        elif not (
            is_pointwise(network, node)
            or (node.op_type == "Transpose" and found["perm"] == [0, 2, 3, 1])
        ):
            rows, columns = 0, 0
    return rows, columns


def move_crop(network: Network, crop: onnx.NodeProto, by: int) -> None:
    """Cut out so many rows and columns further down and right."""
    for i in (1, 2):
        crop.input[i] = network.constant(network.constants[crop.input[i]] + by)


def is_crop(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node cuts rows and columns off, as `crop_once` writes it."""
    return (
        node.op_type == "Slice"
        and node.output[0] in network.outputs
        and len(node.input) == 4
        and all(name in network.constants for name in node.input[1:])
        and tuple(network.constants[node.input[3]]) == _SIDES
    )


def _cut(network: Network, node: onnx.NodeProto, shapes: Shapes) -> tuple[int, int]:
    """Rows and columns that a crop takes off, of both sides the smaller number."""
    if not is_crop(network, node):
        return 0, 0
    height, width = shapes.get(node.input[0], (None,) * 4)[1:3]
    if height is None or width is None:
        return 0, 0
    (top, left), (bottom, right) = (network.constants[name].tolist() for name in node.input[1:3])
    return max(0, min(top, height - bottom)), max(0, min(left, width - right))


def _known(network: Network, name: str, size: tuple[int, int]) -> np.ndarray | None:
    """Whole numbers that only depend on the frames' size (H, W); None if there is more to them.

    Found by running what makes them: exporters write them as arithmetic on shapes.
    """
    if name in network.constants:
        return network.constants[name]
    made = session_of(network, name, kind=onnx.TensorProto.INT64)
    if made is None:
        return None
    found: np.ndarray = made.run(None, {"frames": np.zeros((1, *size, 3), np.uint8)})[0]
    return found


def _repeats(
    network: Network, index: str, size: tuple[int, int], side: int
) -> tuple[int, int] | None:
    """How often a list of lines repeats the first and the last one; None if it is no such list."""
    lines = _known(network, index, size)
    if lines is None:
        return None
    before = int(np.count_nonzero(lines == 0)) - 1
    after = len(lines) - side - before
    expected = np.arange(-before, side + after).clip(0, side - 1)
    return (before, after) if np.array_equal(lines, expected) else None
