"""Frames into a film that plays everywhere, with the source's clock, colour and sound."""

import logging
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from fastvid.files import temporary_beside
from fastvid.video import color, encoders
from fastvid.video.source import Frame, MediaError, VideoInfo, open_container, reason
from fastvid.video.stills import is_image
from fastvid.video.tracks import AudioMode, Tracks

log = logging.getLogger(__name__)


class VideoWriter:
    """An encoder, a container and the source's sound; the film appears when `close` returns.

    Time stamps, pixel aspect ratio, colour matrix, range, sound, chapters and titles are the
    source's. What differs, each with a line in the log:

    - pictures are 8 bit 4:2:0, also for 10-bit sources (they come out of an 8-bit painting);
    - an odd width or height is kept by coding 4:4:4, which some players refuse;
    - PQ and HLG sources become BT.709;
    - sound or subtitles that the container cannot hold are encoded anew or left out.

    Written under a hidden temporary name beside the target, renamed by `close()`. Leaving the
    `with` block by an exception removes it; `close(partial=True)` makes a playable
    `<stem>.partial.<ext>` of what there is. An existing target is not touched unless `overwrite`.
    A writer belongs to the thread that makes it.

    Attributes:
        target: the final path.
        codec: FFmpeg's name of the encoder.
        num_frames: frames written.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        info: VideoInfo,
        size: tuple[int, int] | None = None,
        codec: str = "libx264",
        crf: float | None = None,
        preset: str | None = None,
        audio: AudioMode = "copy",
        overwrite: bool = False,
        start_s: float | None = None,
        end_s: float | None = None,
        as_piece: bool = False,
        template: VideoStream | None = None,
    ) -> None:
        """Open encoder and container.

        Args:
            target: file to make; the suffix chooses the container (.mp4 .m4v .mov .mkv .webm).
            info: the source, from `VideoReader.info` or `probe`.
            size: (H, W) of the film, None for the source's; other frames are scaled to it.
            codec: one of `encoders.ENCODERS`, FFmpeg's names.
            crf: constant quality, lower is better; None is the encoder's sensible value.
            preset: speed of the encoder, "ultrafast" to "veryslow"; None is its own default.
            audio: "copy" the packets (encoded anew where the container cannot hold them), "aac"
                encodes always, "none" leaves the sound out.
            overwrite: replace an existing target.
            start_s: start of the excerpt that the frames are of, as given to `VideoReader`; it
                becomes time 0.
            end_s: end of the excerpt.
            as_piece: a part that `join` will put into the film: the picture alone, and coded by one
                thread, because the bytes of some encoders depend on their number.
            template: a coded picture, whose packets `write_coded` then takes in place of frames.

        Raises:
            MediaError: the target exists or cannot be made, or the encoder is not to be had.
        """
        self.target = Path(target)
        self.info = info
        self.size = size or info.size
        self.codec = codec
        self.num_frames = 0
        self._overwrite = overwrite
        self._encoder = encoders.encoder_of(codec)
        self._options = encoders.encoder_options(codec, crf, preset)
        self._format = encoders.format_of(self.target.suffix, self.target)
        self._is_odd = bool(self.size[0] % 2 or self.size[1] % 2)
        self._pixel_format = self._encoder.pixel_format
        self._matrix = color.matrix_of(2 if info.is_hdr else info.color_space, self.size)
        self._range = color.LIMITED if info.is_hdr else info.color_range or color.LIMITED
        zero_s = info.start_s if start_s or info.free_clock else Fraction(0)
        # whole ticks, so that the picture moves by exactly what the sound moves by
        self._zero = int((zero_s + Fraction(str(start_s or 0))) / info.time_base)
        self._zero_s = self._zero * info.time_base
        self._end_s = None if end_s is None else info.start_s + Fraction(str(end_s))
        self._as_piece = as_piece
        self._template = template
        self._last_pts: int | None = None
        self._shown_until_s = 0.0
        self._tracks: Tracks | None = None
        self._done = False
        self._temporary = self._claim()
        try:
            try:
                self._open(audio)
            except (av.error.FFmpegError, ValueError):
                if audio != "copy" or not info.has_audio:
                    raise
                # some containers refuse a codec only when their header is written
                self._drop_container()
                self._open("aac")
                log.warning("sound cannot be copied into %s, encoded anew", self.target.suffix)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self.abort()
            raise MediaError(
                f"{target}: {codec} cannot write {self.size[1]}x{self.size[0]} pixels into a "
                f"{self.target.suffix} file here ({reason(error)})"
            ) from None
        except BaseException:
            self.abort()
            raise
        self._tell()

    def _claim(self) -> Path:
        """A temporary file beside the target, which shows that it can be written."""
        try:
            if self.target.is_dir():
                raise MediaError(f"{self.target}: is a folder")
            if self.target.exists() and not self._overwrite:
                raise MediaError(f"{self.target}: exists already; --overwrite replaces it")
            if not self.target.parent.is_dir():
                raise MediaError(f"{self.target}: there is no folder {self.target.parent}")
            return temporary_beside(self.target)
        except OSError as error:
            raise MediaError(f"{self.target}: cannot be written ({reason(error)})") from None

    def _open(self, audio: AudioMode) -> None:
        info = self.info
        options = dict(self._format.options)
        if "movflags" in options:
            # offsets of late starts are kept on this clock, in milliseconds by default
            options["movie_timescale"] = str(_fine_timescale(info.time_base))
        name = "file:" + os.path.abspath(self._temporary)
        self._container: OutputContainer = av.open(name, "w", options=options)
        if self._template is None:
            self._stream = self._add_encoder()
        else:
            self._stream = self._container.add_stream_from_template(self._template, opaque=True)
            self._stream.codec_context.framerate = Fraction(info.frame_rate)
        if info.sample_aspect_ratio:
            self._stream.codec_context.sample_aspect_ratio = info.sample_aspect_ratio
        if self._encoder.tag and self.target.suffix.lower() in (".mp4", ".m4v", ".mov"):
            self._stream.codec_context.codec_tag = self._encoder.tag
        is_film = info.path.is_file() and not (info.is_still or is_image(info.path))
        if is_film and not self._as_piece:
            self._tracks = Tracks(
                info.path, self._container, self._format, audio, self._zero_s, self._end_s
            )
        self._container.start_encoding()

    def _add_encoder(self) -> VideoStream:
        info = self.info
        for key, value in self._encoder.environment.items():
            os.environ.setdefault(key, value)
        stream = self._container.add_stream(
            self.codec, rate=Fraction(info.frame_rate), options=self._options
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        if self._as_piece:
            context.thread_count = 1
        context.height, context.width = self.size
        if self._is_odd and self._encoder.odd_format:
            self._pixel_format = self._encoder.odd_format
        context.pix_fmt = self._pixel_format
        context.time_base = info.time_base
        context.flags |= int(av.codec.context.Flags.frame_duration)
        if not self._pixel_format.startswith("bgr"):
            context.colorspace, context.color_range = self._matrix, self._range
        # untagged HD is BT.709 to every player; untagged SD stays as undefined as it was
        unsaid = 1 if self._matrix == 1 else 2
        tagged = not info.is_hdr
        context.color_primaries = _said(info.color_primaries if tagged else 2, unsaid)
        context.color_trc = _said(info.color_transfer if tagged else 2, unsaid)
        return stream

    def _tell(self) -> None:
        if self._is_odd and self._pixel_format == "yuv444p":
            log.warning(
                "%dx%d is odd: coded as 4:4:4, which some players refuse (an even --height helps)",
                self.size[1],
                self.size[0],
            )
        if self._template is not None:
            pass  # its encoder has told
        elif self.info.is_hdr:
            log.warning("the source is HDR; the film is written as SDR BT.709")
        elif self.info.bit_depth > 8:
            log.info("the source has %d bits, the film has 8", self.info.bit_depth)
        for lost in self._tracks.lost if self._tracks else ():
            log.warning("left out, %s cannot hold it: %s", self.target.suffix, lost)

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
        """Encode the next frame.

        Raises:
            ValueError: the image is not uint8 (H, W, 3), or its pts is not later than the last.
            MediaError: the disk is full, or the encoder fails.
        """
        image = frame.image
        if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"write: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
        coded = color.from_rgb(image, self.size, self._pixel_format, self._matrix, self._range)
        pts = frame.pts - self._zero
        if self._last_pts is not None and pts <= self._last_pts:
            raise ValueError(f"write: pts {pts} is not later than {self._last_pts}")
        coded.pts, coded.time_base, coded.duration = pts, frame.time_base, frame.duration
        try:
            self._mux_picture(coded)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failed(error) from None
        self._last_pts = pts
        length = frame.duration * frame.time_base or 1 / self.info.frame_rate
        self._shown_until_s = float(pts * frame.time_base + length)
        self.num_frames += 1

    def write_coded(self, packet: Packet) -> None:
        """Take the next packet of a picture coded like the `template`, in decoding order.

        Raises:
            MediaError: the disk is full.
        """
        try:
            packet.stream = self._stream
            self._mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failed(error) from None
        self.num_frames += 1

    def _mux_picture(self, coded: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(coded):
            if coded is None and self.num_frames <= 2:
                packet.dts = packet.pts  # of two frames x265 leaves the dts uninitialised
            self._mux(packet)

    def _mux(self, packet: Packet) -> None:
        time_s = float((packet.dts or 0) * Fraction(packet.time_base))
        self._container.mux(packet)
        if self._tracks is not None:
            self._tracks.mux_until(time_s)

    def close(self, partial: bool = False) -> Path | None:
        """Flush, finish the container and give the film its name.

        Args:
            partial: the film is not complete: keep what there is as `<stem>.partial.<ext>`.

        Returns:
            The film's path; None when no frame had been written, and nothing is kept.

        Raises:
            MediaError: the disk is full, or the target has come into being meanwhile.
        """
        if self._done:
            return None
        if self.num_frames == 0:
            self.abort()
            return None
        try:
            if self._template is None:
                self._mux_picture(None)
            if self._tracks is not None:
                self._tracks.finish(self._shown_until_s if partial else float("inf"))
            self._drop_container()
            open_container(self._temporary).close()  # what was not written shows here at the latest
        except (av.error.FFmpegError, MediaError, OSError) as error:
            self.abort()
            raise self._failed(error) from None
        except BaseException:
            self.abort()
            raise
        self._done = True
        if partial:
            return self._keep_partial()
        try:
            return self._rename(self.target, self._overwrite)
        except OSError as error:
            kept = self._keep_partial()
            raise MediaError(
                f"{self.target}: cannot be written ({reason(error)}); the film is in {kept}"
            ) from None

    def _keep_partial(self) -> Path:
        for number in range(1, 1000):
            mark = "partial" if number == 1 else f"partial-{number}"
            try:
                name = self.target.with_name(f"{self.target.stem}.{mark}{self.target.suffix}")
                return self._rename(name, replace=False)
            except FileExistsError:
                continue
        return self._temporary

    def _rename(self, name: Path, replace: bool) -> Path:
        if replace:
            os.replace(self._temporary, name)
            return name
        try:
            os.link(self._temporary, name)  # fails when the name exists; a rename would replace
            self._temporary.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if name.exists():
                raise FileExistsError(17, "File exists", str(name)) from None
            os.rename(self._temporary, name)
        return name

    def abort(self) -> None:
        """Drop everything; no file is left."""
        if self._done:
            return
        self._done = True
        try:
            self._drop_container()
        except (av.error.FFmpegError, ValueError, OSError) as error:
            log.debug("%s", reason(error))
        self._temporary.unlink(missing_ok=True)

    def _drop_container(self) -> None:
        if self._tracks is not None:
            self._tracks.close()
            self._tracks = None
        if hasattr(self, "_container"):
            self._container.close()

    def _failed(self, error: Exception) -> MediaError:
        return MediaError(f"{self.target}: cannot be written ({reason(error)})")


def _fine_timescale(time_base: Fraction) -> int:
    scale = time_base.denominator
    return scale * -(-10_000 // scale) if scale < 2**31 else 1_000_000


def _said(tag: int, default: int) -> int:
    return default if tag in (0, 2, 3) else tag
