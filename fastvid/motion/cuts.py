"""Where one shot ends and the next begins. numpy only."""

from __future__ import annotations

import numpy as np

CUT_THRESHOLD = 0.5
_BINS = 8  # per channel


def color_histogram(frame: np.ndarray) -> np.ndarray:
    """Joint RGB histogram on every fourth pixel: uint8 (H, W, 3) -> (512,), sums to 1."""
    sparse = (frame[::4, ::4] // (256 // _BINS)).reshape(-1, 3).astype(np.int64)
    index = (sparse[:, 0] * _BINS + sparse[:, 1]) * _BINS + sparse[:, 2]
    counts = np.bincount(index, minlength=_BINS**3)
    return counts / counts.sum()


def histogram_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Half the L1 distance of two histograms: 0 for equal, 1 for disjoint ones."""
    return float(np.abs(first - second).sum() / 2)


class CutFinder:
    """Says for each frame of a film, shown in order, whether it opens a new shot.

    A hard cut changes most of the colour histogram at once. So does a flash or a whip pan; calling
    those a cut costs a few training pairs, missing a cut costs wrong ones.
    """

    def __init__(self, threshold: float = CUT_THRESHOLD) -> None:
        self.threshold = threshold
        self._previous: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """Whether a cut lies between the frame before and this one, uint8 (H, W, 3) RGB."""
        current = color_histogram(frame)
        before, self._previous = self._previous, current
        return before is not None and histogram_distance(before, current) > self.threshold
