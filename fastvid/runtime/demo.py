"""The clip of `infer.py --demo`: made by the package, so that a first painting needs no file."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

from fastvid.motion.scenes import demo_frames
from fastvid.video import Frame, ReadReport, VideoInfo

FRAME_RATE = 24
LENGTH_S = 4.0
HEIGHT_PX = 360


class DemoClip:
    """A procedural clip with the interface of a `VideoReader`; 16 to 9, 24 frames a second.

    Args:
        start_s: first instant; None is 0.
        end_s: where it stops, any length; None is 4 seconds after the start.
        height_px: rows of a frame; None is 360.
    """

    def __init__(
        self,
        start_s: float | None = None,
        end_s: float | None = None,
        height_px: int | None = None,
    ) -> None:
        start_s = start_s or 0.0
        self._first = math.ceil(start_s * FRAME_RATE)
        self._last = math.ceil((start_s + LENGTH_S if end_s is None else end_s) * FRAME_RATE)
        height = height_px or HEIGHT_PX
        self.size = height, round(height * 8 / 9) * 2
        self.source = Path("demo")
        self.decoder = ""
        self.info = VideoInfo(
            path=self.source,
            width=self.size[1],
            height=height,
            frame_rate=Fraction(FRAME_RATE),
            time_base=Fraction(1, FRAME_RATE),
            duration_s=self._last / FRAME_RATE,
            num_frames=self._last,
        )
        self._num_made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames, from the first one each time."""
        self._num_made = 0
        frames = demo_frames(self._last, self.size)
        for pts, image in enumerate(itertools.islice(frames, self._first, None)):
            self._num_made += 1
            yield Frame(image, pts, self.info.time_base, 1)

    def report(self) -> ReadReport:
        """What was handed out."""
        return ReadReport(self._num_made, 0, 0, 0.0)
