"""A film in, a painted film out: what `infer.py` does, as functions."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastvid.runtime.contract import MIN_SIDE_PX
from fastvid.runtime.film import (
    STATISTICS,
    Film,
    Painter,
    Progress,
    Source,
    Statistics,
    expected_frames,
)
from fastvid.runtime.finish import Finish
from fastvid.runtime.gallery import DEFAULT_STYLE
from fastvid.runtime.jobs import default_target
from fastvid.runtime.loading import load_for_film
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.report import Report, free_memory_mib
from fastvid.runtime.stages import QUEUE_LENGTH
from fastvid.runtime.steady import Steady
from fastvid.runtime.stylizer import Device, EngineName, Stylizer
from fastvid.video import (
    OUTPUT_FILM_SUFFIXES,
    OUTPUT_IMAGE_SUFFIXES,
    MediaError,
    SequenceWriter,
    VideoReader,
    Writer,
    open_writer,
    working_encoder,
)
from fastvid.video.stills import is_sequence, list_images

Audio = Literal["copy", "aac", "none"]
# What the networks take at least in ONNX Runtime on the CPU, painted whole; `base` was measured
# at 115.
MIN_BYTES_PER_PIXEL = 80
QUEUE_BYTES = 2**26  # of source frames between two stages


@dataclass(frozen=True)
class Encoding:
    """How the result is written.

    Attributes:
        codec: FFmpeg's name of the encoder; None is H.264.
        crf: quality, lower is better; None is the encoder's sensible value.
        preset: speed of the encoder; None is `veryfast` for the default encoder, which takes half
            of `medium`'s time at about the same size, and the encoder's own value for others.
        audio: `copy` the packets, encode `aac`, or `none`.
        overwrite: replace an existing target.
        as_piece: a part of a film that `fastvid.runtime.bulk` will join with others.
        hardware: where no codec is named, encode on the machine's video hardware if that works.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    audio: Audio = "copy"
    overwrite: bool = False
    as_piece: bool = False
    hardware: bool = False


def stylize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    style: str | Path = DEFAULT_STYLE,
    strength: float = 1.0,
    keep_colors: bool = False,
    height_px: int | None = None,
    work_height_px: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    side_by_side: bool = False,
    steady: bool = False,
    statistics: Statistics = "shot",
    device: Device = "auto",
    engine: EngineName = "auto",
    tile_px: int | None = None,
    crf: float | None = None,
    preset: str | None = None,
    codec: str | None = None,
    hardware: bool = False,
    audio: Audio = "copy",
    overwrite: bool = False,
    stylizer: Stylizer | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Paint a film, an image or a sequence of images; as many frames come out as go in.

    The network works on the source's own size, or on `height_px`, which then is the output's
    height too. A frame that the network fails on is replaced by the source's with a warning.

    Args:
        source: video file, image, folder of images, printf or glob pattern of images.
        target: file, folder or pattern to write; None is `<stem>.<style>.<ext>` beside the source.
        style: a name of `fastvid.list_styles()` or the path of an ONNX file.
        strength: 0 gives the source, 1 the painting, between them a blend.
        keep_colors: luma of the painting, chroma of the source.
        height_px: rows to paint and to write.
        work_height_px: rows to paint only: the painting is enlarged along the source's edges.
        start_s: first instant, seconds from the beginning.
        end_s: where to stop.
        side_by_side: source left, painting right, in one picture of twice the width.
        steady: smooth the painting over time along the source's motion; needs OpenCV.
        statistics: `shot` holds the network's normalisation at what a few frames of each shot of
            a film show: steadier and faster; `frame` takes every frame's own, as images always do.
        device: `auto`, `cpu` or `cuda` (fails where CUDA would not really run).
        engine: `auto`, the fastest that works, `onnxruntime`, `openvino` or `tensorrt`.
        tile_px: side of the tiles that larger pictures are painted in; less memory, equal pixels.
        crf: quality, lower is better; None is the encoder's sensible value.
        preset: speed of the encoder, `ultrafast` to `veryslow`; None is `veryfast` for H.264.
        codec: FFmpeg's name of the encoder; None is H.264.
        hardware: decode, and without a `codec` encode, on the machine's video hardware where that
            works, in software otherwise; the report says which it was.
        audio: `copy` the packets, encode `aac`, or `none`.
        overwrite: replace an existing target.
        stylizer: a loaded one, in place of what `style` to `tile_px` would load.
        on_progress: called with (frames written, frames expected or None) from another thread.

    Raises:
        ValueError: unknown style, foreign model, wrong option, picture too small.
        FileNotFoundError: the model's path does not exist.
        MediaError: the source cannot be read or the target not be written.
        RuntimeError: the engine does not run.
        Interrupted: Ctrl-C; a playable part is kept as `<stem>.partial.<ext>`.
    """
    finish = Finish(strength, keep_colors, side_by_side)
    encoding = Encoding(codec, crf, preset, audio, overwrite, hardware=hardware)
    reader = VideoReader(source, start_s, end_s, height_px, hardware=hardware)
    if target is not None:
        check(reader, Path(target), overwrite)  # cheap, so before a network is loaded
    if stylizer is None:
        stylizer = load_for_film(style, device, engine, tile_px)
    if work_height_px is not None:
        stylizer = Reduced(stylizer, work_height_px)
    target = default_target(reader.source, stylizer.name) if target is None else Path(target)
    return paint(
        reader,
        target,
        stylizer,
        finish,
        encoding,
        (start_s, end_s),
        on_progress,
        statistics,
        steady,
    )


def paint(
    source: Source,
    target: Path,
    stylizer: Stylizer,
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
    on_progress: Progress | None = None,
    statistics: Statistics = "shot",
    steady: bool = False,
) -> Report:
    """Paint whatever gives frames into `target`; raises and returns as `stylize` does.

    Args:
        source: gives the frames; opened and closed here.
        target: file, folder or pattern to write.
        stylizer: the loaded network.
        finish: what happens to a painted frame.
        encoding: how the result is written.
        excerpt_s: start and end that the source was opened with, seconds, for the sound.
        on_progress: see `stylize`.
        statistics: see `stylize`.
        steady: see `stylize`.
    """
    if statistics not in STATISTICS:
        raise ValueError(f"statistics is {statistics!r}; choices: {', '.join(STATISTICS)}")
    check(source, target, encoding.overwrite)
    if source.info.is_still or is_sequence(source.source):
        statistics = "frame"
    if statistics == "frame":
        stylizer.adapt(None)  # it may still hold those of another film
    expected = expected_frames(source.info, *excerpt_s)
    film = Film(
        source,
        lambda: open_target(source, target, finish, encoding, excerpt_s),
        Painter(stylizer, stylizer.lanes(source.size)),
        finish,
        expected,
        on_progress,
        length=queue_length(source.size),
        statistics=statistics,
        steady=Steady() if steady and not source.info.is_still else None,
    )
    return film.run()


def queue_length(size: tuple[int, int]) -> int:
    """How many frames of this (H, W) may wait between two stages."""
    return min(QUEUE_LENGTH, max(1, QUEUE_BYTES // (3 * size[0] * size[1])))


def check(source: Source, target: Path, overwrite: bool) -> None:
    """Refuse what cannot end well, before anything is loaded or written.

    Raises:
        ValueError: the picture is smaller than 16x16, or larger than the memory can take.
        MediaError: the target exists, is the source itself, or cannot hold it.
    """
    h, w = source.size
    if min(h, w) < MIN_SIDE_PX:
        raise ValueError(
            f"{source.source}: picture is {w}x{h} pixels, "
            f"at least {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed"
        )
    needed_mib, free_mib = h * w * MIN_BYTES_PER_PIXEL / 2**20, free_memory_mib()
    if free_mib is not None and needed_mib > free_mib:
        raise ValueError(
            f"{source.source}: painting {w}x{h} pixels takes at least {needed_mib / 1024:.1f} GiB "
            f"of memory, {free_mib / 1024:.1f} are free; a smaller --height takes less"
        )
    if target.exists():
        if source.source.exists() and target.samefile(source.source):
            raise MediaError(f"{target}: is the input itself; choose another output")
        if target.is_file() and not overwrite:
            raise MediaError(f"{target}: exists already; --overwrite replaces it")
    one_image = target.suffix.lower() in OUTPUT_IMAGE_SUFFIXES and "%" not in target.name
    if one_image and not target.is_dir() and not source.info.is_still:
        raise MediaError(
            f"{target}: is one image, the source is a film; name a film or a pattern such as "
            f"{target.stem}_%04d{target.suffix}"
        )


def open_target(
    source: Source,
    target: Path,
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
) -> Writer:
    """The writer for a source's painting; belongs to the thread that calls this."""
    as_film = target.suffix.lower() in OUTPUT_FILM_SUFFIXES
    if is_sequence(source.source) and not as_film:
        first = list_images(source.source)[0]
        number = re.search(r"(\d+)\D*$", first.name)  # a printf target goes on counting from it
        return SequenceWriter(
            target,
            encoding.overwrite,
            start_number=int(number[1]) if number else 1,
        )
    size, codec = finish.size(source.size), encoding.codec
    if encoding.hardware and codec is None and as_film:
        codec = working_encoder(target.suffix, source.info, size, encoding.crf, encoding.preset)
    return open_writer(
        target,
        source.info,
        size,
        codec=codec or "libx264",
        crf=encoding.crf,
        preset=encoding.preset or (None if codec else "veryfast"),
        audio=encoding.audio,
        overwrite=encoding.overwrite,
        start_s=excerpt_s[0],
        end_s=excerpt_s[1],
        as_piece=encoding.as_piece,
    )
