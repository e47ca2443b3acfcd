"""A generated clip in which an object passes behind another, with exact motion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvid.motion import scenes

BACKGROUND, DISC, COLUMN = 0, 1, 2


class PassingScene:
    """A disc goes from left to right behind a column, over a still background.

    It moves by whole pixels, so that flow and visibility are exact.

    Attributes:
        size: (H, W).
        speed_px: pixels that the disc moves per frame.
    """

    def __init__(self, size: tuple[int, int], num_frames: int) -> None:
        """Draw the three layers.

        Args:
            size: (H, W) of the frames.
            num_frames: over which the disc crosses the picture.
        """
        height, width = size
        self.size = size
        self._radius = round(0.2 * height)
        self.speed_px = max(1, (width - 2 * self._radius - 4) // max(num_frames - 1, 1))
        self._layers = [
            scenes.make(name, size).frame(at).astype(np.uint8)
            for name, at in (("static", 0), ("occluder", 0), ("rotation", 30))
        ]

    def owner(self, t: int) -> NDArray[np.int8]:
        """Which layer each pixel of frame t shows, (H, W)."""
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        owner = np.zeros(self.size, np.int8)
        centre = self._radius + 2 + self.speed_px * t
        owner[np.hypot(x - centre, y - height // 2) <= self._radius] = DISC
        owner[abs(x - width // 2) <= round(0.12 * width)] = COLUMN
        return owner

    def frame(self, t: int) -> NDArray[np.uint8]:
        """Frame t, (H, W, 3)."""
        owner = self.owner(t)[..., None]
        disc = np.roll(self._layers[DISC], self.speed_px * t, axis=1)
        return np.where(
            owner == COLUMN,
            self._layers[COLUMN],
            np.where(owner == DISC, disc, self._layers[BACKGROUND]),
        )

    def flow(self, current: int, other: int) -> NDArray[np.float32]:
        """Motion from frame `current` to frame `other` on the grid of the former, (H, W, 2) px."""
        flow = np.zeros((*self.size, 2), np.float32)
        flow[self.owner(current) == DISC, 0] = self.speed_px * (other - current)
        return flow

    def visible(self, current: int, other: int) -> NDArray[np.bool_]:
        """True where frame `other` shows what frame `current` shows there, (H, W)."""
        height, width = self.size
        here, there = self.owner(current), self.owner(other)
        y, x = np.mgrid[:height, :width]
        x = x + self.flow(current, other)[..., 0].astype(int)
        inside = (x >= 0) & (x < width)
        seen: NDArray[np.bool_] = inside & (there[y, x.clip(0, width - 1)] == here)
        return seen
