"""A camera as a source of frames."""

import logging
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from fastvid.image import load_cv2
from fastvid.video import Frame, MediaError, ReadReport, VideoInfo

log = logging.getLogger(__name__)

_TICK = Fraction(1, 1000)


class Camera:
    """The frames of a camera as they come, with the interface of a reader.

    Times are those of the capture, in milliseconds from the first frame.

    Args:
        number: OpenCV's number of the camera; a path is taken too, for a recorded stand-in.
        height_px: rows of the frames handed out; None is the camera's own.
        length_s: how long to record; None is until the iteration is left.
        clock: seconds that only rise.

    Raises:
        MediaError: if there is no such camera or it gives no picture.
        RuntimeError: if OpenCV cannot be loaded.
    """

    def __init__(
        self,
        number: int | str,
        height_px: int | None = None,
        length_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cv2 = load_cv2()
        messages = self._cv2.utils.logging
        messages.setLogLevel(messages.LOG_LEVEL_SILENT)  # our own message says it in one line
        self.source = Path(f"camera:{number}")
        self.decoder = ""  # OpenCV's affair
        self._capture = self._cv2.VideoCapture(number)
        works, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not works or first is None:
            self._capture.release()
            raise MediaError(f"{self.source}: no such camera, or it gives no picture")
        h, w = first.shape[:2]
        self.size = (h, w) if height_px is None else (height_px, 2 * round(w * height_px / h / 2))
        rate = self._capture.get(self._cv2.CAP_PROP_FPS)
        self.info = VideoInfo(
            path=self.source,
            width=w,
            height=h,
            frame_rate=Fraction(rate if 1 <= rate <= 1000 else 30).limit_denominator(1001),
            time_base=_TICK,
            duration_s=length_s,
        )
        self.num_frames = 0
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        began: float | None = None
        pts = -1
        while True:
            works, image = self._capture.read()
            if not works:
                return
            now = self._clock()
            began = now if began is None else began
            if self.info.duration_s is not None and now - began >= self.info.duration_s:
                return
            pts = max(pts + 1, round((now - began) / _TICK))
            self.num_frames += 1
            yield Frame(self._upright(image), pts, _TICK)

    def report(self) -> ReadReport:
        """Frames handed out; a camera promises none."""
        return ReadReport(self.num_frames, 0, 0, 0.0)

    def _upright(self, image: np.ndarray) -> np.ndarray:
        """RGB of the wanted size; OpenCV's frames are BGR."""
        if image.shape[:2] != self.size:
            h, w = self.size
            image = self._cv2.resize(image, (w, h), interpolation=self._cv2.INTER_AREA)
        return np.ascontiguousarray(image[..., ::-1])
