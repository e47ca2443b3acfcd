"""A camera as the source: the newest frame wins, a window shows the painting, a file keeps it."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fastvid.image import load_cv2
from fastvid.runtime.film import Film, Painter, Progress
from fastvid.runtime.finish import Finish
from fastvid.runtime.pipeline import Encoding, open_target
from fastvid.runtime.report import Report
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import Frame, MediaError, ReadReport, VideoInfo, Writer

log = logging.getLogger(__name__)

TITLE = "fastvid (q closes)"
_TICK = Fraction(1, 1000)
_KEYS_THAT_CLOSE = (ord("q"), 27)  # 27 is Escape


def has_display() -> bool:
    """Whether a window can be opened; OpenCV ends the process when it tries without a display.

    False on macOS as well: windows there belong to the main thread, which runs the network.
    """
    if sys.platform == "darwin":
        return False
    if sys.platform == "win32":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Camera:
    """The newest frame of a camera whenever one is asked for, with the interface of a reader.

    Frames that come while the network is busy are dropped, so the picture is never old. Times are
    those of the capture, in milliseconds from the first frame.

    Args:
        number: OpenCV's number of the camera; a path is taken too, for a recorded stand-in.
        height_px: rows of the frames handed out; None is the camera's own.
        length_s: how long to record; None is until `close`.

    Raises:
        MediaError: if there is no such camera or it gives no picture.
        RuntimeError: if OpenCV cannot be loaded.
    """

    def __init__(
        self, number: int | str, height_px: int | None = None, length_s: float | None = None
    ) -> None:
        self._cv2 = load_cv2()
        messages = self._cv2.utils.logging
        messages.setLogLevel(messages.LOG_LEVEL_SILENT)  # our own message says it in one line
        self.source = Path(f"camera:{number}")
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
        self.num_captured = 0
        self._num_given = 0
        self._newest: tuple[np.ndarray, float] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._grab, name="fastvid-camera", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._thread.join()

    def __iter__(self) -> Iterator[Frame]:
        began: float | None = None
        pts = -1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closed)
                newest, self._newest = self._newest, None
            if newest is None:
                return
            image, now = newest
            began = now if began is None else began
            if self.info.duration_s is not None and now - began >= self.info.duration_s:
                return
            pts = max(pts + 1, round((now - began) / _TICK))
            self._num_given += 1
            yield Frame(self._upright(image), pts, _TICK)

    def close(self) -> None:
        """End the iteration; may come from any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def report(self) -> ReadReport:
        """Frames handed out; those dropped on purpose are no damage."""
        log.info("%s: %d of %d frames used", self.source, self._num_given, self.num_captured)
        return ReadReport(self._num_given, 0, 0, 0.0)

    def _grab(self) -> None:
        while not self._closed:
            works, image = self._capture.read()
            if not works:
                break
            self.num_captured += 1
            with self._changed:
                self._newest = image, time.monotonic()
                self._changed.notify_all()
        self._capture.release()
        self.close()

    def _upright(self, image: np.ndarray) -> np.ndarray:
        """RGB of the wanted size; OpenCV's frames are BGR."""
        if image.shape[:2] != self.size:
            h, w = self.size
            image = self._cv2.resize(image, (w, h), interpolation=self._cv2.INTER_AREA)
        return np.ascontiguousarray(image[..., ::-1])


class LiveWriter:
    """A window, a file, or both. A recording is whole whenever it stops, so it is never partial.

    Args:
        writer: the file, if there is one.
        window: whether to show the frames.
        camera: closed when the user closes the window.
    """

    def __init__(self, writer: Writer | None, window: bool, camera: Camera) -> None:
        self.num_frames = 0
        self._writer = writer
        self._window = window
        self._camera = camera
        if window:
            self._cv2 = load_cv2()
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: Frame) -> None:
        """Show and record one frame."""
        if self._writer is not None:
            self._writer.write(frame)
        self.num_frames += 1
        if not self._window:
            return
        self._cv2.imshow(TITLE, frame.image[..., ::-1])
        key = self._cv2.waitKey(1) & 0xFF
        visible = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) >= 1
        if key in _KEYS_THAT_CLOSE or not visible:
            self._camera.close()

    def close(self, partial: bool = False) -> Path | None:
        """The file, if there is one."""
        self._close_window()
        return None if self._writer is None else self._writer.close()

    def abort(self) -> None:
        """Drop the file."""
        self._close_window()
        if self._writer is not None:
            self._writer.abort()

    def _close_window(self) -> None:
        if self._window:
            self._cv2.destroyAllWindows()


def paint_live(
    camera: Camera,
    target: Path | None,
    stylizer: Stylizer,
    finish: Finish,
    encoding: Encoding,
    on_progress: Progress | None = None,
) -> Report:
    """Paint a camera until its length is over, its window is closed, or Ctrl-C.

    A window opens when there is a display and no target; without a display a target is needed.

    Raises:
        MediaError: neither a display nor a target, or the target cannot be written.
        Interrupted: Ctrl-C; the recording is complete under its own name.
    """
    window = target is None
    if window and not has_display():
        raise MediaError(f"{camera.source}: no display for a window; -o FILE records without one")

    def open_both() -> Writer:
        file = None if target is None else open_target(camera, target, finish, encoding)
        return LiveWriter(file, window, camera)

    film = Film(camera, open_both, Painter(stylizer), finish, on_progress=on_progress, length=1)
    return film.run()
