"""Cheaper graphs that paint the same: what the exporter writes plainly, written for speed.

Every rewriting looks for one shape of graph and leaves alone what it does not know; where it
applies, the result is equal but for the order in which floats are summed.
"""

from fastvid.runtime.graph.borders import crop_once, pad_once
from fastvid.runtime.graph.corners import upsample_at_corners
from fastvid.runtime.graph.ends import merge_input, merge_output
from fastvid.runtime.graph.network import Network


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
    crop_once(network, size)  # shapes are known now that no blocks are made of the frames
    upsample_at_corners(network)
    merge_output(network)
    return network.to_bytes()
