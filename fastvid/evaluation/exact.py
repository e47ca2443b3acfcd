"""Clips in memory and exact motion, in the form that the reference takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from fastvid.reference.flows import Motion
from fastvid.reference.footage import Clip, Stamp
from fastvid.video import VideoInfo


class Frames:
    """Frames in memory.

    Attributes:
        clip: what they are.
    """

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self._images = images
        size = images[0].shape[0], images[0].shape[1]
        tick = Fraction(1, 24)
        info = VideoInfo(Path("generated"), size[1], size[0], Fraction(24), tick)
        stamps = tuple(Stamp(k, tick, 1) for k in range(len(images)))
        self.clip = Clip(tuple(range(1, len(images) + 1)), stamps, size, info)

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of one frame."""
        return self._images[index]


class ExactFlow:
    """Motion from functions of (current, other): flow (H, W, 2) and visibility (H, W)."""

    def __init__(
        self, flow: Callable[[int, int], np.ndarray], visible: Callable[[int, int], np.ndarray]
    ) -> None:
        self._flow, self._visible = flow, visible

    def motion(self, current: int, other: int) -> Motion:
        """Frame `other` as seen from frame `current`."""
        flow = torch.from_numpy(self._flow(current, other)).permute(2, 0, 1)[None]
        seen = torch.from_numpy(self._visible(current, other))[None, None]
        return Motion(flow.contiguous(), seen.float())

    def check(self, pairs: object) -> None:
        """Nothing can be missing."""
