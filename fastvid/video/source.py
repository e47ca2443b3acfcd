"""What a source is, before any frame of it is read: `probe`, `VideoInfo`, and safe opening."""

import logging
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

# Demuxers that read one file and no other; playlists (hls, concat, ...) are not among them.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,gif,ogg,asf,mxf,ivf"
MAX_SIDE_PX = 32768
MAX_PIXELS = 2**27  # 134 megapixels: four times 8K; one RGB frame is 400 MB
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
    """

    image: np.ndarray
    pts: int
    time_base: Fraction
    duration: int = 0

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
        start_s: time of the first instant of the file in its own clock, usually 0.
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

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an upright frame."""
        return self.height, self.width


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """What a video file, image, folder or pattern holds; decodes at most one frame.

    Raises:
        MediaError: the source is missing, is no picture or film, or exceeds the size limits.
    """
    from fastvid.video import stills

    source = Path(path)
    if stills.is_sequence(source):
        return stills.probe_sequence(source)
    if stills.is_image(source):
        return stills.probe_image(source)
    with open_input(source) as container:
        return describe(container, source)


def open_input(path: Path) -> InputContainer:
    """The opened container of a local file, never of a protocol or a playlist.

    Raises:
        MediaError: missing, unreadable, or not a media file.
    """
    if not path.exists():
        raise MediaError(f"{path}: no such file (only local files are read)")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder without images")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: file is empty")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        return av.open("file:" + os.path.abspath(path), options=options, metadata_errors="ignore")
    except av.error.PermissionError:
        raise MediaError(f"{path}: permission denied") from None
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"{path}: not a readable video ({reason(error)})") from None


def reason(error: Exception) -> str:
    """FFmpeg's own words for an error, without the number and the file name."""
    return str(getattr(error, "strerror", None) or error)


def describe(container: InputContainer, path: Path) -> VideoInfo:
    """`VideoInfo` of an opened container; decodes one frame for the rotation tag."""
    if not container.streams.video:
        raise MediaError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    context = stream.codec_context
    check_size(path, context.width, context.height)
    duration_s = None
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * Fraction(stream.time_base))
    elif container.duration:
        duration_s = container.duration / 1e6
    if duration_s is not None and duration_s > MAX_DURATION_S:
        raise MediaError(f"{path}: claims {duration_s / 3600:.0f} hours, more than can be read")
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    frame = _first_frame(container, path)
    turned = frame.rotation % 180 != 0
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    aspect = Fraction(stream.sample_aspect_ratio or 0)
    if turned and aspect:
        aspect = 1 / aspect
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frame_rate=rate,
        time_base=Fraction(stream.time_base or Fraction(1, 1000)),
        duration_s=duration_s,
        num_frames=stream.frames or None,
        rotation=frame.rotation % 360,
        sample_aspect_ratio=aspect or None,
        bit_depth=max(c.bits for c in frame.format.components),
        color_space=frame.colorspace,
        color_range=frame.color_range,
        color_primaries=frame.color_primaries,
        color_transfer=frame.color_trc,
        has_audio=bool(container.streams.audio),
    )


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse sizes that no real source has, before anything is allocated for them."""
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise MediaError(
            f"{path}: {width}x{height} pixels is more than can be read "
            f"(at most {MAX_SIDE_PX} a side and {MAX_PIXELS} in all)"
        )


def _first_frame(container: InputContainer, path: Path) -> VideoFrame:
    try:
        for frame in container.decode(video=0):
            return frame
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: first frame cannot be decoded ({reason(error)})") from None
    raise MediaError(f"{path}: has no frame that can be decoded")
