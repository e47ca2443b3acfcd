"""Writing still images and sequences of them through FFmpeg's codecs, without OpenCV."""

import os
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from fastvid.files import write_atomically
from fastvid.video import color
from fastvid.video.source import Frame, MediaError, reason
from fastvid.video.stills import OUTPUT_IMAGE_SUFFIXES, PRINTF, list_images

# suffix: encoder, its pixel format, its options
_ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    ".png": ("png", "rgb24", {}),
    ".jpg": ("mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"}),  # 2 is the finest useful scale
    ".jpeg": ("mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"}),
    ".webp": ("libwebp", "bgra", {"quality": "95"}),
}


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """PNG, JPEG or WebP bytes of a uint8 (H, W, 3) RGB image, by the suffix.

    Raises:
        MediaError: another suffix, or a size that the format cannot hold.
    """
    try:
        codec, pixel_format, options = _ENCODERS[suffix.lower()]
    except KeyError:
        choices = " ".join(OUTPUT_IMAGE_SUFFIXES)
        raise MediaError(
            f"images are written as {choices}, not as {suffix or 'no suffix'}"
        ) from None
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.height, context.width = size = image.shape[0], image.shape[1]
    context.pix_fmt, context.time_base, context.options = pixel_format, Fraction(1, 25), options
    context.color_range = color.FULL
    frame = color.from_rgb(image, size, pixel_format, matrix=6, color_range=color.FULL)
    frame.pts = 0
    try:
        return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(
            f"{size[1]}x{size[0]} image cannot be written as {suffix} ({reason(error)})"
        ) from None


class ImageWriter:
    """A still image, with the interface of `VideoWriter`; every frame replaces the one before.

    Attributes:
        target: the image file.
        num_frames: images written.
        codec: FFmpeg's name of the encoder.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        size: tuple[int, int] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Check the target; nothing is written yet.

        Args:
            target: a .png, .jpg or .webp file.
            size: (H, W) to scale to; None keeps the frame's own.
            overwrite: replace an existing file.

        Raises:
            MediaError: the target exists, its folder does not, or the suffix is another.
        """
        self.target = Path(target)
        self.num_frames = 0
        self._size = size
        self.codec = _codec_for(self.target)
        if self.target.exists() and not overwrite:
            raise MediaError(f"{target}: exists already; --overwrite replaces it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open between two writes."""

    def write(self, frame: Frame) -> None:
        """Write the image; it appears complete or not at all.

        Raises:
            MediaError: it cannot be written.
        """
        self._save(frame, self.target)

    def _save(self, frame: Frame, path: Path) -> None:
        image = frame.image
        if self._size is not None and image.shape[:2] != self._size:
            image = color.from_rgb(image, self._size, "rgb24").to_ndarray()
        try:
            write_atomically(path, encode_image(image, path.suffix))
        except OSError as error:
            raise MediaError(f"{path}: cannot be written ({reason(error)})") from None
        self.num_frames += 1

    def close(self, partial: bool = False) -> Path | None:
        """The target; None when nothing was written."""
        return self.target if self.num_frames else None

    def abort(self) -> None:
        """Nothing to do: what was written is complete."""


class SequenceWriter(ImageWriter):
    """A folder or a printf pattern of images, with the interface of `VideoWriter`.

    A folder gets images named like the source's (`Frame.name`, else `names`), or numbered; a
    pattern such as `out/x_%04d.png` is numbered from `start_number`. Frames keep their own sizes.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        names: Sequence[str] = (),
        start_number: int = 1,
    ) -> None:
        """Make the folder.

        Args:
            target: a folder, made if missing, or a printf pattern in one.
            overwrite: write into a folder, or beside numbers, that hold such images already.
            names: file names, in order, in a folder, for frames that carry none; a suffix that
                is not written here becomes .png.
            start_number: first number.

        Raises:
            MediaError: such images exist already, or the folder cannot be made.
        """
        self.target = Path(target)
        self.num_frames = 0
        self._size = None
        self._names = names
        self._number = start_number
        self._in_folder = not PRINTF.search(self.target.name)
        self._pattern = self.target / "%06d.png" if self._in_folder else self.target
        try:
            self._pattern.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"{target}: folder cannot be made ({reason(error)})") from None
        self.codec = _codec_for(self._pattern)
        if not overwrite:
            try:
                old = list_images(self.target)[0]
            except MediaError:
                return
            raise MediaError(f"{old}: exists already; --overwrite writes into the same folder")

    def write(self, frame: Frame) -> None:
        """Write the next image; it appears complete or not at all.

        Raises:
            MediaError: it cannot be written.
        """
        path = self._pattern.with_name(PRINTF.sub(self._digits, self._pattern.name, count=1))
        known = self._names[self.num_frames] if self.num_frames < len(self._names) else None
        name = frame.name or known
        if self._in_folder and name:
            path = self._pattern.with_name(Path(name).name)
            if path.suffix.lower() not in _ENCODERS:
                path = path.with_suffix(".png")
        self._save(frame, path)
        self._number += 1

    def _digits(self, printf: re.Match[str]) -> str:
        return str(self._number).rjust(int(printf[2] or 0), "0" if printf[1] else " ")


def _codec_for(path: Path) -> str:
    if path.suffix.lower() not in _ENCODERS:
        raise MediaError(f"{path}: images are written as {' '.join(OUTPUT_IMAGE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise MediaError(f"{path}: there is no folder {path.parent}")
    return _ENCODERS[path.suffix.lower()][0]
