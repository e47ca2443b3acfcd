"""Reading still images and sequences of them through FFmpeg's codecs, without OpenCV."""

import logging
import os
import re
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

from fastvid.video import color
from fastvid.video.color import Orientation
from fastvid.video.source import (
    MAX_PIXELS,
    MediaError,
    VideoInfo,
    check_file,
    check_size,
    reason,
)

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
OUTPUT_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # those that are also written
# first bytes of a file: FFmpeg's demuxer for one image of that kind
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png_pipe",
    b"\xff\xd8\xff": "jpeg_pipe",
    b"RIFF": "webp_pipe",
    b"BM": "bmp_pipe",
    b"II*\0": "tiff_pipe",
    b"MM\0*": "tiff_pipe",
}
DEFAULT_RATE = Fraction(24)
PRINTF = re.compile(r"%(0?)(\d*)d")
# EXIF orientation 1 to 8 as display matrices
_EXIF: list[Orientation] = [
    *[color.UPRIGHT, (-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, -1)],
    *[(0, 1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0), (0, -1, 1, 0)],
]


def is_image(path: Path) -> bool:
    """Whether the path is one file with the suffix of a still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path)


def is_sequence(path: Path) -> bool:
    """Whether the path is a folder, a printf or a glob pattern rather than one file.

    A file that really has such a name is a file.
    """
    if os.path.isfile(path):  # which says False, too, of names too long to exist
        return False
    return os.path.isdir(path) or bool(PRINTF.search(path.name) or re.search(r"[*?\[]", path.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `x9` before `x10`."""
    parts = (part for part in re.split(r"(\d+)", name.lower()) if part)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def list_images(source: Path) -> list[Path]:
    """The image files that a still, a folder or a pattern stands for, in natural order.

    A printf pattern takes every number there is; holes in the numbering are named in the log.

    Raises:
        MediaError: nothing matches.
    """
    if source.is_file():
        return [source]
    printf = PRINTF.search(source.name)
    folder = source if source.is_dir() else source.parent
    files = [p for p in folder.iterdir() if is_image(p)] if folder.is_dir() else []
    if source.is_dir():
        found = [p for p in files if not p.name.startswith(".")]
    elif printf:
        before, after = source.name[: printf.start()], source.name[printf.end() :]
        digits = rf"\d{{{printf[2]},}}" if printf[1] and printf[2] else r"\d+"
        pattern = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
        numbered = {int(m[1]): p for p in files if (m := pattern.fullmatch(p.name))}
        found = list(numbered.values())
        if found and max(numbered) - min(numbered) + 1 != len(numbered):
            holes = sorted(set(range(min(numbered), max(numbered))) - set(numbered))
            log.warning("%s: %d numbers missing, first %d", source, len(holes), holes[0])
    else:
        found = [p for p in files if p.match(source.name)]
    if not found:
        raise MediaError(f"{source}: no image found ({' '.join(IMAGE_SUFFIXES)})")
    return sorted(found, key=lambda p: natural_key(p.name))


def decode_image(path: Path) -> tuple[VideoFrame, Orientation]:
    """The coded picture of one image file and how to turn it.

    Raises:
        MediaError: missing, damaged, no image, or too large.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(2**16)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from None
    demuxer = next((d for s, d in _SIGNATURES.items() if head.startswith(s)), None)
    if demuxer is None:
        raise MediaError(f"{path}: not an image ({' '.join(IMAGE_SUFFIXES)})")
    if demuxer == "png_pipe" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        check_size(path, height, width)
    options = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        name = "file:" + os.path.abspath(path)
        with av.open(name, format=demuxer, options=options) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            frame = next(container.decode(stream))
    except (av.error.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        raise MediaError(
            f"{path}: image cannot be read (damaged, or above {MAX_PIXELS / 1e6:.0f} megapixels)"
        ) from None
    check_size(path, frame.height, frame.width)
    is_jpeg = demuxer == "jpeg_pipe"
    return frame, _exif_orientation(head) if is_jpeg else color.orientation_of(frame)


def _exif_orientation(head: bytes) -> Orientation:
    """Orientation by the EXIF block of a JPEG; FFmpeg's own reading leaves mirroring out."""
    at = head.find(b"Exif\0\0")
    tiff = head[at + 6 :] if at >= 0 else b""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return color.UPRIGHT
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (num_entries,) = struct.unpack_from(order + "H", tiff, offset)
        for index in range(num_entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * index)
            if tag == 0x0112 and 1 <= value <= 8:
                return _EXIF[value - 1]
    except struct.error:
        pass
    return color.UPRIGHT


def probe_image(path: Path) -> VideoInfo:
    """`VideoInfo` of a still image.

    Raises:
        MediaError: see `decode_image`.
    """
    frame, orientation = decode_image(path)
    turned = color.is_turned(orientation)
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frame_rate=DEFAULT_RATE,
        time_base=1 / DEFAULT_RATE,
        num_frames=1,
        rotation=color.rotation_of(orientation),
        bit_depth=max(component.bits for component in frame.format.components),
        is_still=True,
    )


def probe_sequence(source: Path, frame_rate: Fraction = DEFAULT_RATE) -> VideoInfo:
    """`VideoInfo` of a folder or pattern, by its first image that can be read.

    Raises:
        MediaError: there is no image, or none that can be read.
    """
    paths = list_images(source)
    for path in paths:
        try:
            first = probe_image(path)
            break
        except MediaError as error:
            last = error
    else:
        raise MediaError(f"{source}: none of its {len(paths)} images can be read; {last}")
    return replace(
        first,
        path=source,
        frame_rate=frame_rate,
        time_base=1 / frame_rate,
        duration_s=float(len(paths) / frame_rate),
        num_frames=len(paths),
        is_still=False,
    )
