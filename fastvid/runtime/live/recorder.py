"""A film written while its frames are still being made."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from fastvid.runtime.stages import Timing
from fastvid.video import Frame, Writer

_ROOM = 2  # frames that wait for the encoder; when it is slower than the network, frames drop
_POLL_S = 0.1


class Recorder:
    """Writes frames in a thread of its own; each one is shown until the next.

    Leaving the `with` block without `close` leaves no file.

    Args:
        open_target: makes the writer, in that thread.

    Attributes:
        timing: how long the encoder works on a frame.
        encoder: FFmpeg's name of it, empty until it is opened.
    """

    def __init__(self, open_target: Callable[[], Writer]) -> None:
        self.timing = Timing()
        self.encoder = ""
        self._open_target = open_target
        self._queue: queue.Queue[Frame] = queue.Queue(_ROOM)
        self._ended, self._abandoned = threading.Event(), threading.Event()
        self._partial = False
        self._kept: Path | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fastvid-recorder", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._abandoned.set()  # of no effect once closed
        self._wait()

    def write(self, frame: Frame) -> None:
        """Take a frame; waits while the encoder has `_ROOM` frames to do.

        Raises:
            Exception: what went wrong in the writer, with this or an earlier frame.
        """
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                return self._queue.put(frame, timeout=_POLL_S)
        self._check()

    def close(self, partial: bool = False) -> Path | None:
        """Finish the film; its path, None where there was no frame.

        Args:
            partial: the film is not complete, see `Writer.close`.

        Raises:
            Exception: what went wrong in the writer.
        """
        self._partial = partial
        self._ended.set()
        self._wait()
        self._check()
        return self._kept

    def _wait(self) -> None:
        while self._thread.is_alive():
            self._thread.join(_POLL_S)  # in short waits, so that Ctrl-C comes through everywhere

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._open_target() as writer:  # an exception leaves no file
                self.encoder = writer.codec
                last: Frame | None = None
                while (frame := self._next()) is not None:
                    begin = time.perf_counter()
                    if last is not None:
                        writer.write(replace(last, duration=frame.pts - last.pts))
                    last = frame
                    self.timing.add(time.perf_counter() - begin)
                if last is not None:
                    writer.write(last)
                self._kept = writer.close(self._partial)
        except _Abandoned:
            pass
        except BaseException as error:  # carried to the thread that writes
            self._error = error

    def _next(self) -> Frame | None:
        """The next frame, None after the last one."""
        while not self._abandoned.is_set():
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_POLL_S)
            if self._ended.is_set() and self._queue.empty():
                return None
        raise _Abandoned


class _Abandoned(Exception):
    """Ends the thread of a recorder that is left without `close`."""
