"""Still images and sequences of them through FFmpeg's codecs, without OpenCV."""

import os
import re
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.frame import VideoFrame

from fastvid.video.source import Frame, MediaError, VideoInfo, check_size, reason

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SEQUENCE_RATE = Fraction(24)
_PRINTF = re.compile(r"%(0?)(\d*)d")


def is_image(path: Path) -> bool:
    """Whether the path is one still image."""
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES


def is_sequence(path: Path) -> bool:
    """Whether the path is a folder, a printf or a glob pattern rather than one file."""
    return path.is_dir() or (
        not path.exists() and bool(_PRINTF.search(path.name) or re.search(r"[*?\[]", path.name))
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `x9` before `x10`."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", name.lower())
        if part
    ]


def list_images(source: Path) -> list[Path]:
    """The image files a still, folder or pattern stands for, in natural order.

    Raises:
        MediaError: nothing matches.
    """
    if is_image(source):
        return [source]
    if source.is_dir():
        found = [p for p in source.iterdir() if is_image(p)]
    elif _PRINTF.search(source.name) and not source.exists():
        before, pad, digits, after = _PRINTF.split(source.name, maxsplit=1)
        number = rf"\d{{{digits},}}" if pad and digits else r"\d+"
        pattern = re.compile(re.escape(before) + number + re.escape(after))
        folder = source.parent
        names = folder.iterdir() if folder.is_dir() else []
        found = [p for p in names if pattern.fullmatch(p.name) and p.is_file()]
    else:
        found = [p for p in source.parent.glob(source.name) if is_image(p)]
    if not found:
        raise MediaError(f"{source}: no image found ({', '.join(IMAGE_SUFFIXES)})")
    return sorted(found, key=lambda p: natural_key(p.name))


def decode_image(path: Path) -> VideoFrame:
    """The decoded, not yet upright, frame of one image file."""
    formats = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
    options = {"protocol_whitelist": "file", "format_whitelist": formats}
    try:
        with (
            path.open("rb") as file,
            av.open(file, options={"format_whitelist": formats}) as container,
        ):
            return next(container.decode(video=0))
    except (av.error.FFmpegError, OSError, ValueError, IndexError, StopIteration) as error:
        raise MediaError(f"{path}: not a readable image ({reason(error)})") from None
    finally:
        del options


def probe_image(path: Path) -> VideoInfo:
    """`VideoInfo` of a still image."""
    frame = decode_image(path)
    check_size(path, frame.width, frame.height)
    turned = frame.rotation % 180 != 0
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frame_rate=SEQUENCE_RATE,
        time_base=1 / SEQUENCE_RATE,
        num_frames=1,
        rotation=frame.rotation % 360,
        is_still=True,
    )


def probe_sequence(source: Path) -> VideoInfo:
    """`VideoInfo` of a folder or pattern; every image is expected to have the first one's size."""
    paths = list_images(source)
    first = probe_image(paths[0])
    return VideoInfo(
        path=source,
        width=first.width,
        height=first.height,
        frame_rate=SEQUENCE_RATE,
        time_base=1 / SEQUENCE_RATE,
        duration_s=float(len(paths) / SEQUENCE_RATE),
        num_frames=len(paths),
    )


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """PNG, JPEG or WebP bytes of a uint8 (H, W, 3) RGB image."""
    codecs = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj444p"), ".webp": ("libwebp", "bgra")}
    name, pixel_format = codecs[".jpg" if suffix.lower() == ".jpeg" else suffix.lower()]
    context = av.CodecContext.create(name, "w")
    context.width, context.height = image.shape[1], image.shape[0]
    context.pix_fmt, context.time_base = pixel_format, Fraction(1, 25)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format=pixel_format, dst_colorspace=5, dst_color_range=2)
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


def write_atomically(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, then rename."""
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({reason(error)})") from None


class ImageWriter:
    """A still image as a writer: takes one frame. Interface of `VideoWriter`."""

    def __init__(self, target: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.target = Path(target)
        self.num_frames = 0
        if self.target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise MediaError(f"{target}: images are written as .png, .jpg or .webp")
        if self.target.exists() and not overwrite:
            raise MediaError(f"{target}: exists already (--overwrite replaces it)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def write(self, frame: Frame) -> None:
        """Write the image; it appears complete or not at all."""
        write_atomically(self.target, encode_image(frame.image, self.target.suffix))
        self.num_frames += 1

    def close(self, partial: bool = False) -> Path | None:
        """The file written, None when there was no frame."""
        return self.target if self.num_frames else None


class SequenceWriter(ImageWriter):
    """A folder (`out/`) or printf pattern (`out/x_%04d.png`) of images. Interface of `VideoWriter`."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        names: list[str] | None = None,
        start_number: int = 1,
    ) -> None:
        path = Path(target)
        pattern = path if _PRINTF.search(path.name) else path / "%06d.png"
        self.pattern, self.names, self.start_number = pattern, names, start_number
        pattern.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(pattern, overwrite)

    def write(self, frame: Frame) -> None:
        """Write the next image of the sequence."""
        number = self.start_number + self.num_frames
        path = self.pattern.with_name(self.pattern.name % number)
        write_atomically(path, encode_image(frame.image, path.suffix))
        self.num_frames += 1

    def close(self, partial: bool = False) -> Path | None:
        """The folder or pattern written."""
        return self.pattern if self.num_frames else None
