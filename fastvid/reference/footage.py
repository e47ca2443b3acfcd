"""The frames of a clip by number, in any order, as often as wanted."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fastvid.image import read_image, resize_image, to_tensor
from fastvid.video import IMAGE_SUFFIXES, Frame, MediaError, VideoInfo, VideoReader
from fastvid.video.stills import DEFAULT_RATE, is_sequence, natural_key

log = logging.getLogger(__name__)

SUFFIXES = (*IMAGE_SUFFIXES, ".ppm", ".pgm")  # the authors' frames are .ppm
PRINTF = re.compile(r"%(0?\d*)d")


@dataclass(frozen=True)
class Clip:
    """What a clip is, and its frames without their pictures.

    Attributes:
        numbers: of the frames: those in the file names of a printf pattern, else 1, 2, ...
        frames: time stamps and names, in the order of `numbers`.
        size: (H, W).
        info: of the source, for the writer.
    """

    numbers: tuple[int, ...]
    frames: tuple[Stamp, ...]
    size: tuple[int, int]
    info: VideoInfo


@dataclass(frozen=True)
class Stamp:
    """A `Frame` without its picture."""

    pts: int
    time_base: Fraction
    duration: int = 0
    name: str | None = None

    def with_image(self, image: np.ndarray) -> Frame:
        """The whole frame."""
        return Frame(image, self.pts, self.time_base, self.duration, self.name)


class Footage(Protocol):
    """A clip whose pictures can be looked up."""

    @property
    def clip(self) -> Clip:
        """What it is."""

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of the frame at a position in the clip, counted from 0."""


def tensor_of(footage: Footage, index: int) -> Tensor:
    """RGB float (1, 3, H, W) in [0, 1] of one frame."""
    return to_tensor(footage.image(index))


class Stills:
    """Images: one, a folder of them, a printf or a glob pattern. All are read once, to check them.

    Attributes:
        clip: what it is.
    """

    def __init__(
        self,
        source: Path,
        start_number: int | None = None,
        num_frames: int = 0,
        height_px: int | None = None,
    ) -> None:
        """Find the images and see that they are readable and of one size.

        Args:
            source: image, folder, or pattern.
            start_number: number of the first frame; None takes the first there is.
            num_frames: how many at most; 0 takes all consecutive ones.
            height_px: rows to scale to.

        Raises:
            MediaError: none found, or one is not readable.
            ValueError: the sizes differ.
        """
        files = _consecutive(source, _numbered(source), start_number)
        self._paths = [path for _, path in files][: num_frames or None]
        self._height_px = height_px
        sizes = [self._read(path).shape[:2] for path in self._paths]
        for path, size in zip(self._paths, sizes, strict=True):
            if size != sizes[0]:
                raise ValueError(
                    f"{path}: {size[1]}x{size[0]} pixels, but {self._paths[0].name} has "
                    f"{sizes[0][1]}x{sizes[0][0]}; all frames must have one size"
                )
        tick = 1 / DEFAULT_RATE
        info = VideoInfo(
            path=source,
            width=sizes[0][1],
            height=sizes[0][0],
            frame_rate=DEFAULT_RATE,
            time_base=tick,
            duration_s=float(len(self._paths) * tick),
            num_frames=len(self._paths),
            is_still=source.is_file(),
        )
        self.clip = Clip(
            tuple(number for number, _ in files)[: num_frames or None],
            tuple(Stamp(k, tick, 1, path.name) for k, path in enumerate(self._paths)),
            sizes[0],
            info,
        )

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of the frame at a position in the clip, counted from 0."""
        return self._read(self._paths[index])

    def _read(self, path: Path) -> np.ndarray:
        return _scaled(read_image(path), self._height_px)


class Film:
    """A video file, decoded once into a file of raw frames.

    Attributes:
        clip: what it is.
    """

    def __init__(
        self,
        source: Path,
        spool: Path,
        start_number: int | None = None,
        num_frames: int = 0,
        height_px: int | None = None,
    ) -> None:
        """Decode the film.

        Args:
            source: video file.
            spool: file that takes the frames, uint8; replaced where it exists.
            start_number: first frame, counted from 1.
            num_frames: how many at most; 0 takes all.
            height_px: rows to scale to.

        Raises:
            MediaError: not readable, or there is no such frame.
        """
        first = max(start_number or 1, 1)
        last = first + num_frames - 1 if num_frames else None
        stamps: list[Stamp] = []
        with VideoReader(source, height_px=height_px) as reader, spool.open("wb") as file:
            for number, frame in enumerate(reader, start=1):
                if number < first:
                    continue
                stamps.append(Stamp(frame.pts, frame.time_base, frame.duration))
                file.write(np.ascontiguousarray(frame.image).tobytes())
                if number == last:
                    break
            report = reader.report()
            size, info = reader.size, reader.info
        if not stamps:
            raise MediaError(f"{source}: has no frame {first}")
        if last is None and not report.complete:
            log.warning("%s: %s", source, report)
        self._frames = np.memmap(spool, np.uint8, "r", shape=(len(stamps), *size, 3))
        self.clip = Clip(
            tuple(range(first, first + len(stamps))),
            tuple(stamps),
            size,
            replace(info, num_frames=len(stamps)),
        )

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of the frame at a position in the clip, counted from 0."""
        return np.asarray(self._frames[index])


def open_footage(
    source: Path,
    spool: Path,
    start_number: int | None = None,
    num_frames: int = 0,
    height_px: int | None = None,
) -> Footage:
    """`Stills` or `Film`, by what the source is; arguments and errors are theirs."""
    if is_sequence(source) or source.suffix.lower() in SUFFIXES:
        return Stills(source, start_number, num_frames, height_px)
    return Film(source, spool, start_number, num_frames, height_px)


def _numbered(source: Path) -> list[tuple[int, Path]]:
    """Image files and their numbers, in order.

    Raises:
        MediaError: there is none.
    """
    if source.is_file():
        return [(1, source)]
    folder = source if source.is_dir() else source.parent
    files = [p for p in folder.iterdir() if _is_picture(p)] if folder.is_dir() else []
    printf = None if source.is_dir() else PRINTF.search(source.name)
    found: Sequence[tuple[int, Path]]
    if printf is not None:
        before, after = source.name[: printf.start()], source.name[printf.end() :]
        pattern = re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")
        matches = [(pattern.fullmatch(p.name), p) for p in files]
        # only names that the pattern itself would give: %02d is not 1, nor %d 01
        found = [(int(m[1]), p) for m, p in matches if m and printf[0] % int(m[1]) == m[1]]
    else:
        chosen = files if source.is_dir() else [p for p in files if p.match(source.name)]
        chosen.sort(key=lambda p: natural_key(p.name))
        found = list(enumerate(chosen, start=1))
    if not found:
        raise MediaError(f"{source}: no image found ({' '.join(SUFFIXES)})")
    return sorted(found)


def _consecutive(
    source: Path, files: Sequence[tuple[int, Path]], start_number: int | None
) -> list[tuple[int, Path]]:
    """The files from the first number on, up to the first gap."""
    first = files[0][0] if start_number is None else start_number
    rest = [(number, path) for number, path in files if number >= first]
    if not rest or rest[0][0] != first:
        raise MediaError(
            f"{source}: there is no frame {first} (numbers {files[0][0]} to {files[-1][0]})"
        )
    run = [(number, path) for k, (number, path) in enumerate(rest) if number == first + k]
    if len(run) < len(rest):
        log.warning(
            "%s: number %d is missing; %d frames after it are left out",
            source,
            run[-1][0] + 1,
            len(rest) - len(run),
        )
    return run


def _is_picture(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _scaled(image: np.ndarray, height_px: int | None) -> np.ndarray:
    return image if height_px is None else resize_image(image, height_px=height_px)
