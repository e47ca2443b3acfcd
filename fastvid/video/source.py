"""What a source is, before its frames are read: `probe`, `VideoInfo`, and safe opening."""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fastvid.video import color

# Demuxers that read one file and no other; playlists (hls, dash, concat, ...) are not among them.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,gif,ogg,asf,mxf,ivf,nut"
# Formats whose clock starts anywhere: their first instant becomes 0 in what is written.
_FREE_CLOCKS = {"mpegts", "mpeg"}
MAX_SIDE_PX = 32768
MAX_PIXELS = 2**27  # 134 megapixels: four times 8K; one such RGB frame is 400 MB
MAX_DURATION_S = 7 * 24 * 3600.0


class MediaError(RuntimeError):
    """A file that cannot be read or written; the message is one line meant for people."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and its time.

    Attributes:
        image: uint8 (H, W, 3) RGB, upright.
        pts: presentation time in ticks of `time_base`.
        time_base: seconds per tick.
        duration: ticks this frame is shown, 0 when the container does not say.
        name: file name when the frame was an image file of its own.
    """

    image: np.ndarray
    pts: int
    time_base: Fraction
    duration: int = 0
    name: str | None = None

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says about itself.

    Attributes:
        path: the file; for a sequence its folder or pattern.
        width: columns of an upright frame.
        height: rows of an upright frame.
        frame_rate: average frames per second, for display only; times come from `Frame.pts`.
        time_base: seconds per tick of the frames' pts.
        duration_s: seconds, None when unknown.
        num_frames: frames the container claims, None when it makes no claim.
        rotation: degrees counter-clockwise that the reader turns the coded picture by.
        sample_aspect_ratio: width : height of one upright pixel, None when unsaid.
        bit_depth: bits per channel of the source; frames are always 8 bit.
        color_space: matrix (H.273 number: 1 BT.709, 5 and 6 BT.601, 9 BT.2020, 2 unsaid).
        color_range: 1 limited, 2 full, 0 unsaid.
        color_primaries: H.273 number, 2 unsaid.
        color_transfer: H.273 number, 2 unsaid; 16 PQ, 18 HLG.
        has_audio: whether there is a sound track.
        is_still: one still image rather than a film (a film may have one frame).
        start_s: time of the first instant of the file on its own clock, usually 0.
        free_clock: the clock's zero means nothing (MPEG streams); written files start at 0.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    duration_s: float | None = None
    num_frames: int | None = None
    rotation: int = 0
    sample_aspect_ratio: Fraction | None = None
    bit_depth: int = 8
    color_space: int = 2
    color_range: int = 0
    color_primaries: int = 2
    color_transfer: int = 2
    has_audio: bool = False
    is_still: bool = False
    start_s: Fraction = Fraction(0)
    free_clock: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an upright frame."""
        return self.height, self.width

    @property
    def is_hdr(self) -> bool:
        """Whether the source is PQ or HLG; its frames come tone-mapped to SDR BT.709."""
        return self.color_transfer in (color.PQ, color.HLG)


def open_container(path: Path, device: HWAccel | None = None) -> InputContainer:
    """The opened container of a local film, never of a protocol or a playlist.

    Args:
        path: the film.
        device: what decodes it, None is software.

    Raises:
        MediaError: missing, unreadable, or not a film.
        Exception: the device's own errors.
    """
    check_file(path)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        # "file:" and an absolute path: a name such as concat:a|b is then only a name
        return av.open(
            "file:" + os.path.abspath(path),
            options=options,
            metadata_errors="ignore",
            hwaccel=device,
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if device is not None:
            raise  # it says nothing of the file
        if isinstance(error, av.error.PermissionError):
            raise MediaError(f"{path}: permission denied") from None
        raise MediaError(
            f"{path}: not a film that can be read (damaged, cut off, or of an unknown format)"
        ) from None


def check_file(path: Path) -> None:
    """Refuse what is no file with something in it.

    Raises:
        MediaError: missing, a folder, a device, or empty.
    """
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise MediaError(f"{path}: no such file ({reason(error)})") from None
    if not exists:
        remedy = "; only local files are read" if "://" in str(path) or ":/" in str(path) else ""
        raise MediaError(f"{path}: no such file{remedy}")
    if not path.is_file():
        raise MediaError(f"{path}: not a file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: file is empty")


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse sizes that no real source has, before anything is allocated for them."""
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise MediaError(
            f"{path}: {width}x{height} pixels are more than can be read "
            f"(at most {MAX_SIDE_PX} a side, {MAX_PIXELS / 1e6:.0f} million in all)"
        )


def reason(error: Exception) -> str:
    """The system's or FFmpeg's own words for an error, without number and file name."""
    return str(getattr(error, "strerror", None) or error)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first film stream, ready to decode; a cover picture is none.

    Raises:
        MediaError: there is none, or its size or codec is beyond reading.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise MediaError(f"{path}: has no video stream")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{path}: its video codec is not supported")
    check_size(path, context.height, context.width)
    context.options = {"max_pixels": str(MAX_PIXELS)}
    # a frame decoded with errors is handed out and counted, not swallowed
    context.flags |= int(av.codec.context.Flags.output_corrupt)
    if context.is_hwaccel:
        context.thread_count = 1  # threads would only take more of the device's few pictures
    else:
        stream.thread_type = "AUTO"
    return stream


def promised_duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds of film that the container promises, None when it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * Fraction(stream.time_base))
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska: HH:MM:SS.sss
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return container.duration / 1e6 if container.duration else None


def describe(container: InputContainer, path: Path) -> VideoInfo:
    """`VideoInfo` of an opened film; decodes one frame, for the rotation and colour tags."""
    stream = video_stream(container, path)
    duration_s = promised_duration_s(container, stream)
    if duration_s is not None and duration_s > MAX_DURATION_S:
        raise MediaError(f"{path}: claims to last {duration_s / 3600:.0f} hours, refused")
    frame = _first_frame(container, stream, path)
    check_size(path, frame.height, frame.width)
    orientation = color.orientation_of(frame)
    turned = color.is_turned(orientation)
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    aspect = Fraction(stream.sample_aspect_ratio or 0)
    is_rgb = frame.format.is_rgb
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frame_rate=Fraction(stream.average_rate or stream.guessed_rate or 25),
        time_base=Fraction(stream.time_base or Fraction(1, 90000)),
        duration_s=duration_s,
        num_frames=stream.frames or None,
        rotation=color.rotation_of(orientation),
        sample_aspect_ratio=(1 / aspect if turned else aspect) if aspect else None,
        bit_depth=max(component.bits for component in frame.format.components),
        color_space=2 if is_rgb else frame.colorspace,
        color_range=0 if is_rgb else frame.color_range,
        color_primaries=frame.color_primaries,
        color_transfer=frame.color_trc,
        has_audio=any(s.codec_context is not None for s in container.streams.audio),
        start_s=max(Fraction(container.start_time or 0, av.time_base), Fraction(0)),
        free_clock=container.format.name in _FREE_CLOCKS,
    )


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.error.InvalidDataError:  # damaged: a later packet may do
                continue
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: cannot be decoded ({reason(error)})") from None
    raise MediaError(f"{path}: holds no frame that can be decoded")
