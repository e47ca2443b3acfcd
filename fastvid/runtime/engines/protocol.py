"""What an engine is, what it is made of, and the one error that says why there is none."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

# From uint8 RGB frames (N, H, W, 3) to their paintings.
Paint = Callable[[np.ndarray], np.ndarray]
# From a size (H, W) to a network for frames of it: the bytes of an ONNX file.
Graph = Callable[[tuple[int, int]], bytes]


class Engine(Protocol):
    """A network ready to paint frames of one size.

    Attributes:
        name: for people, with the version: `ONNX Runtime 1.31.1 CPU`.
        device: `cpu` or `cuda`.
    """

    name: str
    device: str

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint uint8 RGB frames (N, H, W, 3); same shape and type out.

        May be called in as many threads at once as the engine was made for.

        Raises:
            RuntimeError: the engine fails, out of memory for example.
        """


class Unavailable(RuntimeError):
    """An engine cannot run here; the text says why in half a line."""


def first_line(error: BaseException) -> str:
    """A library's error in one line."""
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line.removeprefix("[ONNXRuntimeError] : ").strip()[:200]
