"""Frames out of files: upright, in order, with their own time stamps, whatever is damaged."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.video.frame import VideoFrame

from fastvid.video import color, stills
from fastvid.video.source import Frame, MediaError, VideoInfo, open_input, probe, reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What was read, against what the container had promised.

    Attributes:
        num_frames: frames handed out.
        num_damaged: packets or images that could not be decoded, or were decoded with errors.
        missing_frames: frames promised and not decoded (an estimate where no count is kept).
        missing_s: seconds promised and not decoded.
        names: images of a folder that could not be read.
    """

    num_frames: int
    num_damaged: int
    missing_frames: int
    missing_s: float
    names: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was promised was read without an error."""
        return not (self.num_damaged or self.missing_frames or self.names)

    def __str__(self) -> str:
        parts = []
        if self.num_damaged:
            parts.append(f"{self.num_damaged} damaged packets")
        if self.missing_frames:
            parts.append(f"{self.missing_frames} frames ({self.missing_s:.2f} s) missing")
        if self.names:
            parts.append("unreadable: " + ", ".join(self.names))
        return "; ".join(parts) or "complete"


class VideoReader:
    """Frames of a film, an image, a folder of images, a printf or a glob pattern of images.

    Iterating yields `Frame`s (once; make a new reader for a second pass) and holds one frame in
    memory at a time beside the decoder's own. Decoding errors are counted and the reader goes on;
    `report()` says afterwards what is missing. The container is opened, read and closed by the
    thread that iterates; `close()` may come from any thread and ends the iteration early.

    Attributes:
        info: the source, as `probe` sees it.
        size: (H, W) of the frames handed out.
        num_damaged: packets or images that could not be decoded so far.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        start_s: float | None = None,
        end_s: float | None = None,
        height_px: int | None = None,
        frame_rate: Fraction | int = 24,
    ) -> None:
        """Probe the source; nothing is decoded yet beyond its first frame.

        Args:
            source: file, image, folder, `x_%04d.png` or `x_*.png`.
            start_s: first instant wanted, seconds from the beginning; frames before are skipped.
            end_s: frames at or after this instant are left out.
            height_px: rows of the frames handed out; the width follows, rounded to even.
            frame_rate: frames per second of an image sequence, which has no clock of its own.

        Raises:
            MediaError: see `probe`.
        """
        if start_s is not None and end_s is not None and end_s <= start_s:
            raise MediaError(f"end {end_s} s is not after start {start_s} s")
        self.source = Path(source)
        self.info: VideoInfo = probe(self.source)
        self.size = self.info.size
        if height_px is not None:
            width = self.info.width * height_px / self.info.height
            self.size = height_px, max(2, round(width / 2) * 2)
        self.num_damaged = 0
        self.num_frames = 0
        self._start_s, self._end_s = start_s, end_s
        self._closed = False
        self._frames = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        """End the reading, now or at the next frame when another thread is inside."""
        self._closed = True
        try:
            self._frames.close()  # type: ignore[attr-defined]
        except ValueError:  # another thread is in there; it sees _closed and stops
            pass

    def report(self) -> ReadReport:
        """What was read against what was promised; final once the iteration has ended."""
        return ReadReport(self.num_frames, self.num_damaged, 0, 0.0)

    def _read(self) -> Iterator[Frame]:
        size = self.size if self.size != self.info.size else None
        zero = self.info.start_s
        tick = self.info.time_base
        begin = None if self._start_s is None else zero + Fraction(self._start_s)
        end = None if self._end_s is None else zero + Fraction(self._end_s)
        for frame in self._decode(begin):
            if self._closed:
                return
            pts = frame.pts
            if pts is None or (begin is not None and pts * tick < begin):
                continue
            if end is not None and pts * tick >= end:
                return
            self.num_frames += 1
            yield Frame(color.to_rgb(frame, size), pts, tick, frame.duration or 0)

    def _decode(self, begin: Fraction | None) -> Iterator[VideoFrame]:
        if self.info.is_still or stills.is_sequence(self.source):
            for index, path in enumerate(stills.list_images(self.source)):
                frame = stills.decode_image(path)
                frame.pts, frame.time_base = index, self.info.time_base
                yield frame
            return
        with open_input(self.source) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if begin:
                container.seek(int(begin / self.info.time_base), stream=stream)
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except av.error.FFmpegError as error:
                    self.num_damaged += 1
                    log.debug("%s: %s", self.source, reason(error))
