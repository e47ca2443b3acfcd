"""Frames out of files: upright, in order, with their own time stamps, whatever is damaged."""

import gc
import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fastvid.video import color, stills
from fastvid.video.hardware import SOFTWARE, decode_on_hardware
from fastvid.video.source import (
    Frame,
    MediaError,
    VideoInfo,
    describe,
    open_container,
    reason,
    video_stream,
)

log = logging.getLogger(__name__)

_MAX_READ_ERRORS = 1000  # in a row; then the rest of a damaged file is given up
_SEEK_MARGIN_S = 1  # key frames are indexed by decoding time, which precedes the shown time


def probe(source: str | os.PathLike[str]) -> VideoInfo:
    """What a film, image, folder or pattern holds; decodes one frame, for its rotation tag.

    Raises:
        MediaError: the source is missing, is no picture or film, or exceeds the size limits.
    """
    path = Path(source)
    if stills.is_sequence(path):
        return stills.probe_sequence(path)
    if stills.is_image(path):
        return stills.probe_image(path)
    with open_container(path) as container:
        return describe(container, path)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What was read, against what the container had promised.

    Attributes:
        num_frames: frames handed out.
        num_damaged: frames that could not be decoded, or only with errors.
        missing_frames: frames promised and not decoded; an estimate where no count is kept.
        missing_s: the same in seconds.
        names: images of a sequence that could not be read.
    """

    num_frames: int
    num_damaged: int
    missing_frames: int
    missing_s: float
    names: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was promised was read without an error."""
        return not (self.num_damaged or self.missing_frames)

    def __str__(self) -> str:
        parts = []
        if self.missing_frames:
            parts.append(
                f"the source is damaged or cut off: {self.missing_frames} frames "
                f"({self.missing_s:.2f} s) of what it promises are missing"
            )
        if self.names:
            parts.append("could not be read: " + ", ".join(self.names))
        elif self.num_damaged:
            parts.append(f"{self.num_damaged} frames were decoded with errors or not at all")
        return "; ".join(parts) or "complete"


class VideoReader:
    """Frames of a film, an image, a folder of images, a printf or a glob pattern of images.

    Iterating yields `Frame`s, once; make a new reader for a second pass. One picture is in memory
    at a time beside the decoder's own. Time stamps rise strictly. Decoding errors are counted and
    the reading goes on; `report()` says afterwards what is missing. The container is opened, read
    and closed by the thread that iterates; `close()` may come from any thread.

    The images of a sequence keep their own sizes; `size` is that of the first.

    Attributes:
        source: the path or pattern.
        info: the source as `probe` sees it.
        size: (H, W) of the frames handed out.
        num_frames: frames handed out so far.
        num_damaged: frames that could not be decoded, or only with errors, so far.
        decoder: `software`, or the kind of device that decodes (`cuda`); the first frame settles
            it, and a device that fails on the way shows as `cuda, then software`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        start_s: float | Fraction | None = None,
        end_s: float | None = None,
        height_px: int | None = None,
        frame_rate: Fraction | int = stills.DEFAULT_RATE,
        seek: bool = True,
        hardware: bool = False,
    ) -> None:
        """Probe the source; beyond its first frame nothing is decoded yet.

        Args:
            source: file, image, folder, `x_%04d.png` or `x_*.png`.
            start_s: frames before this are left out; seconds from the beginning of the film,
                exact as a Fraction.
            end_s: frames at or after this are left out.
            height_px: rows of the frames handed out; the width follows and is even.
            frame_rate: frames per second of an image sequence, which has no clock of its own.
            seek: False decodes a film from its beginning for an excerpt too, whose frames are then
                those of the whole film, whatever its index says.
            hardware: decode a film on the machine's video hardware where that works.

        Raises:
            MediaError: see `probe`; or the excerpt or height is empty.
        """
        if height_px is not None and height_px < 2:
            raise MediaError(f"height must be at least 2 pixels, not {height_px}")
        if min(start_s or 0, end_s or 0) < 0 or (end_s is not None and end_s <= (start_s or 0)):
            raise MediaError(f"excerpt from {start_s or 0} s to {end_s} s is empty")
        self.source = Path(source)
        self._is_images = stills.is_sequence(self.source) or stills.is_image(self.source)
        self.info: VideoInfo = probe(self.source)
        if self._is_images and not self.info.is_still:
            self.info = stills.probe_sequence(self.source, Fraction(frame_rate))
        duration_s = self.info.duration_s
        if seek and start_s and duration_s is not None and start_s >= duration_s:
            raise MediaError(f"{source}: starts at {start_s} s, but lasts only {duration_s:.2f} s")
        self.size = _working_size(self.info.size, height_px)
        self.num_damaged = 0
        self.num_frames = 0
        self.decoder = SOFTWARE
        self._on_hardware = hardware
        self._height_px = height_px
        self._may_seek = seek
        zero = self.info.start_s
        self._begin = zero + Fraction(str(start_s)) if start_s else None
        self._end = None if end_s is None else zero + Fraction(str(end_s))
        self._steps: Counter[int] = Counter()
        self._shown_until: int | None = None
        self._unreadable: list[str] = []
        self._closed = False
        self._frames = self._read_images() if self._is_images else self._read_film()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        """End the reading, now or at the next frame when another thread is inside."""
        self._closed = True
        try:
            self._frames.close()
        except ValueError:  # another thread is in there; it sees _closed and ends
            pass

    def report(self) -> ReadReport:
        """What was read against what was promised; final once the iteration has ended."""
        missing = self._missing_frames()
        seconds = float(missing / self.info.frame_rate)
        return ReadReport(
            self.num_frames, self.num_damaged, missing, seconds, tuple(self._unreadable)
        )

    def _wanted(self, time: Fraction) -> bool:
        return self._begin is None or time >= self._begin

    def _read_images(self) -> Generator[Frame, None, None]:
        tick = self.info.time_base
        for pts, path in enumerate(stills.list_images(self.source)):
            if self._closed or (self._end is not None and pts * tick >= self._end):
                return
            if not self._wanted(pts * tick):
                continue
            try:
                coded, orientation = stills.decode_image(path)
            except MediaError as error:
                log.warning("%s", error)
                self.num_damaged += 1
                self._unreadable.append(path.name)
                continue
            size = (coded.height, coded.width)
            size = _working_size(
                size[::-1] if color.is_turned(orientation) else size, self._height_px
            )
            image = color.to_rgb(coded, size, orientation).copy()  # it may lie in the coded frame
            del coded
            gc.collect(1)  # see color.orientation_of
            self.num_frames += 1
            yield Frame(image, pts, tick, 1, path.name)

    def _read_film(self) -> Generator[Frame, None, None]:
        tick = self.info.time_base
        step = max(1, round(1 / (self.info.frame_rate * tick)))
        last: int | None = None
        rotation, orientation = None, color.UPRIGHT
        for coded in self._decode():
            if self._closed:
                return
            if coded.rotation != rotation:
                rotation, orientation = coded.rotation, color.orientation_of(coded)
            pts = coded.pts
            if pts is None:  # AVI keeps no presentation times
                pts = 0 if last is None else last + step
            if last is not None:
                pts = max(pts, last + 1)
                self._steps[min(pts - last, 1 << 32)] += 1
            last = pts
            if self._end is not None and pts * tick >= self._end:
                return
            self._shown_until = pts + (coded.duration or step)
            self.num_damaged += coded.is_corrupt
            if self._wanted(pts * tick):
                image = color.to_rgb(coded, self.size, orientation)
                self.num_frames += 1
                yield Frame(image, pts, tick, coded.duration or 0)

    def _decode(self) -> Iterator[VideoFrame]:
        """All frames from the key frame before the excerpt on."""
        if not self._on_hardware:
            return self._decode_by(None)
        return decode_on_hardware(self._decode_by, self._set_decoder, self.source)

    def _set_decoder(self, name: str) -> None:
        self.decoder = name

    def _decode_by(self, device: HWAccel | None) -> Generator[VideoFrame, None, None]:
        """The frames by a device, whose errors are raised, or by software, where they are counted.

        Every call begins at the same place.
        """
        self.num_damaged = 0  # no damaged frame has been handed out when software takes over
        with open_container(self.source, device) as container:
            stream = video_stream(container, self.source)
            if device is not None and not stream.codec_context.is_hwaccel:
                raise RuntimeError("codec not taken")  # PyAV minds only if none of a file's is
            if self._begin is not None and self._may_seek:
                found = self._seek(container, stream)
                if not found:
                    with open_container(self.source, device) as again:
                        yield from self._decode_from(again, video_stream(again, self.source))
                    return
            yield from self._decode_from(container, stream)

    def _seek(self, container: InputContainer, stream: VideoStream) -> bool:
        """Whether the container now stands at or before the excerpt."""
        assert self._begin is not None
        target = int(max(self._begin - _SEEK_MARGIN_S, Fraction(0)) / self.info.time_base)
        try:
            container.seek(target, stream=stream)
            packet = next(container.demux(stream))
            if packet.pts is None or packet.pts * self.info.time_base > self._begin:
                return False
            container.seek(target, stream=stream)
        except (av.error.FFmpegError, StopIteration):
            return False
        return True

    def _decode_from(
        self, container: InputContainer, stream: VideoStream
    ) -> Generator[VideoFrame, None, None]:
        errors_in_a_row = 0
        packets = container.demux(stream)
        while errors_in_a_row < _MAX_READ_ERRORS:
            try:
                packet = next(packets)
                # an empty packet means "as before" in AVI, but "end of film" to the decoder
                frames = packet.decode() if packet.size or packet.dts is None else []
                errors_in_a_row = 0
            except StopIteration:
                return
            except (av.error.FFmpegError, ValueError) as error:
                if isinstance(error, av.error.EOFError):
                    return
                if stream.codec_context.is_hwaccel:
                    raise
                self.num_damaged += 1
                errors_in_a_row += 1
                log.debug("%s: %s", self.source, reason(error))
                packets = container.demux(stream)
                continue
            yield from frames

    def _missing_frames(self) -> int:
        """Frames promised and not decoded, by count where there is one, else by the clock."""
        if self._is_images:
            return len(self._unreadable)
        decoded = sum(self._steps.values()) + (self._shown_until is not None)
        if self.info.num_frames and self._begin is None and self._end is None:
            return max(0, self.info.num_frames - decoded)
        return self._holes() + self._missing_at_end()

    def _holes(self) -> int:
        """Frames missing in between, in a film of one frame rate whose container keeps no count.

        A film of variable rate has no step to compare with; only its end can be checked.
        """
        if not self._steps or self.info.num_frames:
            return 0
        step = self._steps.most_common(1)[0][0]
        tolerance = 1 if step > 4 else 0  # millisecond clocks round
        regular = sum(n for s, n in self._steps.items() if abs(s - step) <= tolerance)
        if regular < 0.8 * sum(self._steps.values()):
            return 0
        return sum(n * (round(s / step) - 1) for s, n in self._steps.items() if s > 1.5 * step)

    def _missing_at_end(self) -> int:
        if self.info.duration_s is None or self._shown_until is None:
            return 0
        end_s = float(self.info.start_s) + self.info.duration_s
        if self._end is not None:
            end_s = min(end_s, float(self._end))
        left_s = end_s - float(self._shown_until * self.info.time_base)
        # a container without a duration of its own for the picture counts the sound in
        slack_s = 1.0 if self.info.has_audio and not self.info.num_frames else 0.0
        missing = left_s * float(self.info.frame_rate)
        return round(missing) if missing >= 1.5 and left_s > slack_s else 0


def _working_size(size: tuple[int, int], height_px: int | None) -> tuple[int, int]:
    height, width = size
    if height_px is None or height_px == height:
        return size
    return height_px, max(2, 2 * round(width * height_px / height / 2))
