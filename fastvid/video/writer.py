"""Frames into a video file that plays everywhere, with the source's clock, colour and sound."""

import logging
import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import av
from av.packet import Packet

from fastvid.video import color
from fastvid.video.source import Frame, MediaError, VideoInfo, open_input, reason
from fastvid.video.stills import ImageWriter, SequenceWriter

log = logging.getLogger(__name__)


class Writer(Protocol):
    """What `VideoWriter`, `ImageWriter` and `SequenceWriter` have in common."""

    num_frames: int

    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def close(self, partial: bool = False) -> Path | None:
        """Finish; returns the path that was kept, None if there was nothing to keep."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class VideoWriter:
    """An encoder, a container and the source's sound; the file appears when `close` returns.

    Written under a temporary name beside the target and renamed by `close()`. Leaving the `with`
    block by an exception removes the temporary file; `close(partial=True)` keeps what there is as
    a playable `<stem>.partial.<ext>`. An existing target is never touched unless `overwrite`.

    Attributes:
        target: the final path.
        num_frames: frames written.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        info: VideoInfo,
        size: tuple[int, int],
        codec: str = "libx264",
        crf: float | None = None,
        preset: str | None = None,
        audio: Literal["copy", "aac", "none"] = "copy",
        overwrite: bool = False,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> None:
        """Open encoder and container.

        Args:
            target: file to make; the suffix chooses the container.
            info: the source, whose clock, aspect ratio, colour tags and sound are taken over.
            size: (H, W) of the film; frames of another size are scaled to it.
            codec: FFmpeg's name of the encoder.
            crf: constant quality, lower is better; None is the encoder's sensible value.
            preset: speed of the encoder; None is its own default.
            audio: "copy" packets (AAC where the container cannot hold them), "aac" or "none".
            overwrite: replace an existing target.
            start_s: start of the excerpt of the source that the frames come from, for the sound.
            end_s: its end.

        Raises:
            MediaError: the target exists, the folder is not writable, or the encoder is unknown.
        """
        self.target = Path(target)
        self.info, self.size = info, size
        self.num_frames = 0
        if self.target.exists() and not overwrite:
            raise MediaError(f"{target}: exists already (--overwrite replaces it)")
        self._matrix = color.matrix_of(info.color_space, info.width, info.height)
        self._range = info.color_range or 1
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{self.target.stem}.", suffix=self.target.suffix, dir=self.target.parent
            )
            os.close(handle)
        except OSError as error:
            raise MediaError(f"{target}: cannot be written ({reason(error)})") from None
        self._temporary = Path(name)
        options = {"movflags": "+faststart"} if self.target.suffix in (".mp4", ".mov") else {}
        self._container = av.open("file:" + os.path.abspath(name), "w", options=options)
        settings = {"crf": str(crf if crf is not None else 18)}
        if preset:
            settings["preset"] = preset
        self._stream = self._container.add_stream(
            codec, rate=Fraction(info.frame_rate), options=settings
        )
        context = self._stream.codec_context
        context.height, context.width = size
        context.pix_fmt = "yuv420p" if not (size[0] % 2 or size[1] % 2) else "yuv444p"
        context.time_base = info.time_base
        context.color_range, context.colorspace = self._range, self._matrix
        context.color_primaries = info.color_primaries if info.color_primaries != 2 else 1
        context.color_trc = info.color_transfer if info.color_transfer != 2 else 1
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        self._sound: Iterator[Packet] | None = None
        if info.has_audio and audio != "none":
            self._source = open_input(info.path)
            tracks = {
                s.index: self._container.add_stream_from_template(s)
                for s in self._source.streams.audio
            }
            self._tracks = tracks
            self._sound = iter(self._source.demux(*self._source.streams.audio))
        self._zero = round((info.start_s + Fraction(start_s)) / info.time_base) if start_s else 0
        self._pending: Packet | None = None

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
        """Encode the next frame; its pts must be later than the one before.

        Raises:
            MediaError: the disk is full or the encoder refuses.
        """
        pixel_format = self._stream.codec_context.pix_fmt or "yuv420p"
        coded = color.from_rgb(frame.image, self.size, pixel_format, self._matrix, self._range)
        coded.pts, coded.time_base = frame.pts - self._zero, frame.time_base
        try:
            self._container.mux(self._stream.encode(coded))
            self._mux_sound(float(coded.pts * frame.time_base))
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(f"{self.target}: cannot be written ({reason(error)})") from None
        self.num_frames += 1

    def _mux_sound(self, until_s: float) -> None:
        for packet in self._sound or ():
            if packet.dts is None:
                continue
            packet.stream = self._tracks[packet.stream_index]
            time_s = float(packet.dts * packet.time_base)
            self._container.mux(packet)
            if time_s > until_s:
                return

    def close(self, partial: bool = False) -> Path | None:
        """Flush, finish the container and give the file its name.

        Args:
            partial: the film is not complete: keep it as `<stem>.partial.<ext>` instead.

        Returns:
            The path of the file, None when no frame had been written.
        """
        if self.num_frames == 0:
            self.abort()
            return None
        try:
            self._container.mux(self._stream.encode(None))
            self._mux_sound(float("inf"))
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise MediaError(f"{self.target}: cannot be written ({reason(error)})") from None
        target = self.target
        if partial:
            target = target.with_name(f"{target.stem}.partial{target.suffix}")
        os.replace(self._temporary, target)
        return target

    def abort(self) -> None:
        """Drop everything; no file is left."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            pass
        self._temporary.unlink(missing_ok=True)


def open_writer(
    target: str | os.PathLike[str],
    info: VideoInfo,
    size: tuple[int, int],
    codec: str = "libx264",
    crf: float | None = None,
    preset: str | None = None,
    audio: Literal["copy", "aac", "none"] = "copy",
    overwrite: bool = False,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Writer:
    """The writer that a target's name asks for: an image, a folder or pattern of images, a film.

    `out.png` is one image, `out/x_%04d.png` and a name without a suffix are sequences, the rest
    are films. Arguments as for `VideoWriter`.
    """
    path = Path(target)
    if "%" in path.name or not path.suffix:
        return SequenceWriter(path, overwrite)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
        return ImageWriter(path, overwrite)
    return VideoWriter(path, info, size, codec, crf, preset, audio, overwrite, start_s, end_s)
