"""A network in the form that an NVIDIA card runs from the first node to the last.

CUDA graphs can be recorded of nothing else, and each node on the processor costs two copies.
"""

import onnx

from fastvid.runtime.graph.network import Network, attributes


def fit_cuda(model: bytes, batch: int | None = None) -> bytes:
    """The same network without what ONNX Runtime's CUDA provider leaves to the processor.

    Args:
        model: bytes of an ONNX file of the contract, from `rewrite`.
        batch: promise that always so many frames come at once, so that no arithmetic on shapes is
            left; None keeps their number free.
    """
    network = Network(model)
    if batch is not None:
        network.fix_batch(batch)
    _pad_floats(network)
    return network.to_bytes()


def _pad_floats(network: Network) -> None:
    """Make floats of the bytes first and repeat their border then: there is no kernel for bytes."""
    pad = next((n for n in network.consumers("frames") if n.op_type == "Pad"), None)
    if pad is None or len(pad.input) != 2:
        return
    last = pad
    while (moved := network.only_consumer(last.output[0], "Transpose")) is not None:
        last = moved
    cast = network.only_consumer(last.output[0], "Cast")
    if cast is None or attributes(cast)["to"] != onnx.TensorProto.FLOAT:
        return
    network.remove(cast)
    last.output[0] = cast.output[0]
    pad.input[0] = network.add("Cast", ["frames"], to=onnx.TensorProto.FLOAT)
