"""How far a network sees, from its graph: what a tile needs around it."""

import numpy as np

from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.graph.network import Network, attributes

_PROBE_PX = 256


def reach_px(model: bytes) -> tuple[int, int]:
    """Pixels that a network with folded statistics sees beyond a pixel, and its cell.

    The reaches of all convolutions are added up as if each followed the other, which is never too
    little.

    Args:
        model: bytes of an ONNX file of the contract, its norms folded.

    Returns:
        The reach, a multiple of the cell; and the cell: what starts at its multiples is cut into
        the same blocks as the whole picture.
    """
    network = Network(model)
    convolutions = [node for node in network.nodes if node.op_type == "Conv"]
    inputs = list(dict.fromkeys(conv.input[0] for conv in convolutions))
    network.set_outputs(inputs)
    probe = np.zeros((1, _PROBE_PX, _PROBE_PX, 3), np.uint8)
    found = open_session(network.to_bytes()).run(inputs, {"frames": probe})
    # Margins make values larger than picture / stride, so the quotient is rounded.
    strides = {
        name: max(1, round(_PROBE_PX / value.shape[2]))
        for name, value in zip(inputs, found, strict=True)
    }
    reach = 0
    for conv in convolutions:
        sides = network.constants[conv.input[1]].shape[2:]
        spans = [(k - 1) * d for k, d in zip(sides, attributes(conv)["dilations"], strict=True)]
        reach += -(-max(spans) // 2) * strides[conv.input[0]]
    cell = max(strides.values(), default=1)
    # One cell more: within its own cell a pixel may lie at either end.
    return (-(-reach // cell) + 1) * cell, cell
