"""The network between several: a mixture of styles.

Styles trained from one base network differ little enough that a network halfway between their
weights paints in a style halfway between theirs (as interpolated rows of conditional instance norm
do, Dumoulin et al. 2017): one picture, not two on top of each other.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper


def mix_networks(models: Sequence[bytes], shares: Sequence[float]) -> bytes:
    """The network whose every weight is the weighted mean of theirs.

    Args:
        models: bytes of ONNX files with one graph and different weights.
        shares: one for each, summing to 1.

    Raises:
        ValueError: if the graphs differ.
    """
    protos = [onnx.load_from_string(model) for model in models]
    plans = [[(node.op_type, *node.input, *node.output) for node in p.graph.node] for p in protos]
    weights = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        for proto in protos
    ]
    shapes = [{name: value.shape for name, value in values.items()} for values in weights]
    if any(plan != plans[0] for plan in plans) or any(s != shapes[0] for s in shapes):
        raise ValueError(
            "these styles are networks of different shape and cannot be mixed; "
            "choose styles of one net, trained from one base (init=base)"
        )
    for tensor in protos[0].graph.initializer:
        value = weights[0][tensor.name]
        if np.issubdtype(value.dtype, np.floating):
            mixed = sum(
                share * values[tensor.name].astype(np.float64)
                for share, values in zip(shares, weights, strict=True)
            )
            tensor.CopyFrom(
                numpy_helper.from_array(np.asarray(mixed, dtype=value.dtype), tensor.name)
            )
    return protos[0].SerializeToString()
