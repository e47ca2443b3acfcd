"""A network in float16: half of the bytes, and the units that cards have for it."""

import warnings

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

# Its float16 form is newer than the opset of our files; a frame's last step costs nothing.
_EXACT = [*DEFAULT_OP_BLOCK_LIST, "QuantizeLinear"]


def halve(model: bytes) -> bytes:
    """The ONNX network with its weights and values in float16; frames stay bytes.

    Numbers beyond float16's range are clipped to it: compare the paintings before using it.
    """
    with warnings.catch_warnings():  # one for every tensor with a number next to zero
        warnings.simplefilter("ignore")
        halved = convert_float_to_float16(onnx.load_model_from_string(model), op_block_list=_EXACT)
    return bytes(halved.SerializeToString())
