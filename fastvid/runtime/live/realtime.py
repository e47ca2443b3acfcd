"""A film played at its own pace, as a camera would give it."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from fastvid.video import Frame, ReadReport, VideoReader


class RealtimeFile:
    """The frames of a film, each at its time, with the interface of a reader.

    Time stamps are the film's own. A film that cannot be decoded that fast is given as fast as it
    goes.

    Args:
        path: a film.
        start_s: first instant, seconds from the beginning.
        end_s: where to stop.
        height_px: rows of the frames handed out.
        hardware: see `VideoReader`.

    Raises:
        MediaError: see `VideoReader`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        start_s: float | None = None,
        end_s: float | None = None,
        height_px: int | None = None,
        hardware: bool = False,
    ) -> None:
        self._reader = VideoReader(path, start_s, end_s, height_px, hardware=hardware)
        self.source, self.info = self._reader.source, self._reader.info
        self.size = self._reader.size
        self._closed = threading.Event()
        self._played_out = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        yield from pace(self._reader, time.monotonic, self._closed.wait)
        self._played_out = not self._closed.is_set()

    def close(self) -> None:
        """End the iteration; may come from any thread."""
        self._closed.set()
        self._reader.close()

    @property
    def decoder(self) -> str:
        """See `VideoReader`."""
        return self._reader.decoder

    def report(self) -> ReadReport:
        """What was read against what was promised; nothing is missing of a film ended early."""
        if self._played_out:
            return self._reader.report()
        return ReadReport(self._reader.num_frames, self._reader.num_damaged, 0, 0.0)


def pace(
    frames: Iterable[Frame], clock: Callable[[], float], wait: Callable[[float], bool]
) -> Iterator[Frame]:
    """The frames, none before its time; the first one at once.

    Args:
        frames: with rising times.
        clock: seconds that only rise.
        wait: waits that many seconds; True ends the frames early.
    """
    zero_s: float | None = None  # the clock's reading at the film's time 0
    for frame in frames:
        if zero_s is None:
            zero_s = clock() - frame.time_s
        early_s = zero_s + frame.time_s - clock()
        if early_s > 0 and wait(early_s):
            return
        yield frame
