"""Parts of a network tried out, where what they do is easier to see than to read."""

import logging
from typing import Any

import onnxruntime as ort

from fastvid.runtime.graph.network import Network

log = logging.getLogger(__name__)


def session_of(network: Network, target: str, **limits: Any) -> ort.InferenceSession | None:
    """What makes one value, ready to run; None where that needs more than it is given.

    Args:
        network: stays as it is.
        target: the value.
        limits: as in `Network.part`.
    """
    try:
        return ort.InferenceSession(
            network.part(target, **limits), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        log.debug("left as it is: %s", error)
        return None
