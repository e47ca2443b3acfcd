"""3x3 convolutions with two thirds of the multiplications, by Winograd's minimal filtering.

F(2, 3) along the rows (Lavin and Gray 2016, "Fast algorithms for convolutional neural networks",
section 4.1): of the four columns d0 to d3 that two neighbouring outputs see,

    m1 = (d1 + d2) (g0 + g1 + g2) / 2        y0 = (d0 - d2) g0 + m1 + m2
    m2 = (d2 - d1) (g0 - g1 + g2) / 2        y1 = (d3 - d1) g2 + m1 - m2

take four products with 3x1 kernels where there were six. From where such convolutions begin to
where they end, values are held as two: their even columns and their odd ones. So each d is a whole
tensor or its neighbour, every step is an operation that runtimes have in their fast layout, and
convolutions with an even dilation run on each half by itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fastvid.runtime.graph.network import Network, Shapes, attributes
from fastvid.runtime.graph.statistics import has_constant_weights, weights

# The differences are passes over memory: they cost what is saved at some 40 channels.
_LEAST_CHANNELS = 48
_LEAST_CONVOLUTIONS = 3  # that halving the columns and joining them again is worth


@dataclass(frozen=True)
class _Halves:
    """A value (N, C, H, W) as its columns 0, 2, 4, ... and 1, 3, 5, ..."""

    even: str
    odd: str
    channels: int
    size: tuple[int, int]

    @property
    def more_even(self) -> bool:
        """Whether there is one even column more."""
        return self.size[1] % 2 == 1


def save_products(model: bytes) -> bytes:
    """The same network with fewer multiplications; as it is, where it has no row of convolutions.

    Args:
        model: bytes of an ONNX file from `rewrite`.
    """
    network = Network(model)
    shapes = network.shapes()
    fast = [node for node in network.nodes if _is_wide_3x3(network, node, dilation=1)]
    if len(fast) < _LEAST_CONVOLUTIONS:
        return model
    begin = fast[0].input[0]
    start = _halve(network, begin, shapes)
    if start is None:
        return model
    halves, joined = {begin: start}, set[str]()
    for node in network.nodes:
        inputs = [name for name in node.input if name in halves]
        if not inputs or node.output[0] in halves:
            continue
        of = [halves[name] for name in inputs]
        if _is_wide_3x3(network, node, dilation=1):
            halves[node.output[0]] = _convolve(network, node, of[0])
        elif _is_wide_3x3(network, node):
            halves[node.output[0]] = _convolve_apart(network, node, of[0])
        elif node.op_type == "Relu" or (node.op_type == "Add" and len(inputs) == 2):
            even, odd = (network.add(node.op_type, names) for names in _columns(of))
            halves[node.output[0]] = _Halves(even, odd, of[0].channels, of[0].size)
        else:
            for name in dict.fromkeys(inputs):
                if name not in joined:
                    _join(network, name, halves[name])
            joined |= {*inputs}
    return network.to_bytes()


def _columns(of: list[_Halves]) -> list[list[str]]:
    return [[each.even for each in of], [each.odd for each in of]]


def _is_wide_3x3(network: Network, node: onnx.NodeProto, dilation: int | None = None) -> bool:
    """Whether a convolution keeps the size and can go by halves, with this dilation if given."""
    if not has_constant_weights(network, node):
        return False
    found, kernel = attributes(node), network.constants[node.input[1]]
    d = found["dilations"][0]
    return (
        kernel.shape[2:] == (3, 3)
        and min(kernel.shape[:2]) >= _LEAST_CHANNELS
        and found["group"] == 1
        and found["strides"] == [1, 1]
        and found["dilations"] == [d, d]
        and found["pads"] == [d] * 4
        and (d == 1 or d % 2 == 0 if dilation is None else d == dilation)
    )


def _halve(network: Network, name: str, shapes: Shapes) -> _Halves | None:
    """The halves of what a convolution with stride gives, straight from its input; else None.

    The odd columns are those of a kernel that begins later, by taps of 0.
    """
    relu = network.producer(name)
    conv = network.producer(relu.input[0]) if relu is not None and relu.op_type == "Relu" else None
    if conv is None or not has_constant_weights(network, conv):
        return None
    found = attributes(conv)
    (stride_y, stride), (top, left, bottom, _) = found["strides"], found["pads"]
    before, after = shapes.get(conv.input[0], ()), shapes.get(name, ())
    if (
        found["group"] != 1
        or found["dilations"] != [1, 1]
        or stride < left
        or len(before) != 4
        or len(after) != 4
        or None in (before[3], *after[1:])
    ):
        return None
    kernel, bias = weights(network, conv)
    later = np.pad(kernel, [(0, 0), (0, 0), (0, 0), (stride - left, 0)])
    halves = []
    for taps, pad, count in (
        (kernel, left, -(-(after[3] or 0) // 2)),
        (later, 0, (after[3] or 0) // 2),
    ):
        end = (count - 1) * 2 * stride + taps.shape[3] - pad
        pads = [top, pad, bottom, max(0, end - (before[3] or 0))]
        half = _conv(network, conv.input[0], taps, bias, strides=[stride_y, 2 * stride], pads=pads)
        halves.append(network.add("Relu", [half]))
    return _Halves(halves[0], halves[1], len(kernel), (after[2] or 0, after[3] or 0))


def _convolve(network: Network, conv: onnx.NodeProto, x: _Halves) -> _Halves:
    """A 3x3 convolution by the formulas above.

    An output's column 2j and its neighbour 2j + 1 see d0 to d3 = odd[j-1], even[j], odd[j],
    even[j+1], columns outside being 0.
    """
    kernel, bias = weights(network, conv)
    g0, g1, g2 = (kernel[..., i : i + 1] for i in range(3))
    last = int(x.more_even)  # with one more even column, its neighbour lies outside
    odd = _taps(network, x.odd, x.channels, [1], (0, last)) if last else x.odd
    products = [
        _conv(network, value, taps, offset, pads=[1, 0, 1, 0])
        for value, taps, offset in (
            (_taps(network, x.odd, x.channels, [1, -1], (1, last)), g0, None),
            (network.add("Add", [x.even, odd]), (g0 + g1 + g2) / 2, bias),
            (_taps(network, x.even, x.channels, [-1], plus=odd), (g0 - g1 + g2) / 2, None),
            (_taps(network, x.even, x.channels, [-1, 1], (0, 1 - last)), g2, None),
        )
    ]
    m0, m1, m2, m3 = products
    c = len(kernel)
    even = network.add("Add", [m0, network.add("Add", [m1, m2])])
    # Taps of 0 behind leave the last column out.
    m1 = _taps(network, m1, c, [1, 0]) if last else m1
    difference = _taps(network, m2, c, [-1, 0][: 1 + last], plus=m1)
    return _Halves(even, network.add("Add", [m3, difference]), c, x.size)


def _convolve_apart(network: Network, conv: onnx.NodeProto, x: _Halves) -> _Halves:
    """A convolution with an even dilation, by which even columns only see even ones."""
    kernel, bias = weights(network, conv)
    d = attributes(conv)["dilations"][0]
    shape = {"dilations": [d, d // 2], "pads": [d, d // 2, d, d // 2]}
    even, odd = (_conv(network, half, kernel, bias, **shape) for half in (x.even, x.odd))
    return _Halves(even, odd, len(kernel), x.size)


def _join(network: Network, name: str, x: _Halves) -> None:
    """Make the value itself of its halves; whole pixels move, the channels last."""
    made_by = network.producer(name)
    if made_by is not None:
        network.remove(made_by)
    (h, w), c = x.size, x.channels
    odd = _taps(network, x.odd, c, [1], (0, 1)) if x.more_even else x.odd
    shape = network.constant(np.array([0, h, -(-w // 2), 1, c]))
    columns = [
        network.add("Reshape", [network.add("Transpose", [half], perm=[0, 2, 3, 1]), shape])
        for half in (x.even, odd)
    ]
    beside = network.add("Concat", columns, axis=3)
    whole = network.add("Reshape", [beside, network.constant(np.array([0, h, -1, c]))])
    if x.more_even:
        bounds = (network.constant(np.array([number])) for number in (0, w, 2))
        whole = network.add("Slice", [whole, *bounds])
    network.add("Transpose", [whole], name, perm=[0, 3, 1, 2])


def _taps(
    network: Network,
    value: str,
    channels: int,
    taps: list[int],
    pads: tuple[int, int] = (0, 0),
    plus: str | None = None,
) -> str:
    """Sums of neighbouring columns, each channel by itself; zeros where `pads` go beyond."""
    kernel = np.tile(np.array(taps, np.float32), (channels, 1, 1, 1))
    around = [0, pads[0], 0, pads[1]]
    found = _conv(network, value, kernel, None, group=channels, pads=around)
    return found if plus is None else network.add("Add", [found, plus])


def _conv(
    network: Network, value: str, kernel: np.ndarray, bias: np.ndarray | None, **shape: Any
) -> str:
    parts = [kernel] if bias is None else [kernel, bias]
    constants = [network.constant(part.astype(np.float32)) for part in parts]
    return network.add("Conv", [value, *constants], kernel_shape=list(kernel.shape[2:]), **shape)
