"""Finished frames into what was asked for: an image, a folder or pattern of images, a film."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from fastvid.image import to_array
from fastvid.reference.footage import Clip
from fastvid.video import (
    OUTPUT_FILM_SUFFIXES,
    OUTPUT_IMAGE_SUFFIXES,
    ImageWriter,
    MediaError,
    SequenceWriter,
    Writer,
    open_writer,
)


def check_target(clip: Clip, target: Path, overwrite: bool) -> None:
    """Refuse a target that could not be written in the end, before the hours of work.

    Raises:
        MediaError: it exists, is the source, is of a wrong kind, or its folder is missing.
    """
    source = clip.info.path
    same = {source.resolve(), source.resolve().parent} if "%" in source.name else {source.resolve()}
    if target.resolve() in same:
        raise MediaError(f"{target}: is the input itself; choose another output")
    is_film = target.suffix.lower() in OUTPUT_FILM_SUFFIXES
    if clip.info.is_still and is_film:
        raise MediaError(f"{target}: is a film, the source is one image; name an image")
    one_image = target.suffix.lower() in OUTPUT_IMAGE_SUFFIXES and "%" not in target.name
    if one_image and not target.is_dir() and not clip.info.is_still:
        raise MediaError(
            f"{target}: is one image, the source is a clip; name a film, a folder, or a pattern "
            f"such as {target.stem}_%04d{target.suffix}"
        )
    if not is_film:
        _image_writer(clip, target, overwrite)  # its checks are what is wanted
        return
    if target.exists() and not overwrite:
        raise MediaError(f"{target}: exists already; --overwrite replaces it")
    if not target.parent.is_dir():
        raise MediaError(f"{target}: there is no folder {target.parent}")


def write_frames(
    clip: Clip,
    target: Path,
    results: Callable[[int], Tensor],
    num_done: int,
    overwrite: bool,
    is_excerpt: bool,
) -> Path | None:
    """Write the first `num_done` frames; a film of fewer than all gets the name `.partial`.

    Args:
        clip: time stamps, names, sound.
        target: image, folder, pattern or film.
        results: RGB (1, 3, H, W) of a frame by its position.
        num_done: how many there are.
        overwrite: replace what exists.
        is_excerpt: whether the clip is a part of its film, and the sound has to be cut.

    Returns:
        What was written, None if there was nothing.

    Raises:
        MediaError: it cannot be written.
    """
    with _writer(clip, target, overwrite, is_excerpt) as writer:
        for index in range(num_done):
            writer.write(clip.frames[index].with_image(to_array(results(index))[0]))
        return writer.close(partial=num_done < len(clip.frames))


def _writer(clip: Clip, target: Path, overwrite: bool, is_excerpt: bool) -> Writer:
    if target.suffix.lower() not in OUTPUT_FILM_SUFFIXES:
        return _image_writer(clip, target, overwrite)
    start_s = end_s = None
    if is_excerpt:
        first, last = clip.frames[0], clip.frames[-1]
        length = last.duration or round(1 / (clip.info.frame_rate * last.time_base))
        start_s = float(first.pts * first.time_base - clip.info.start_s)
        end_s = float((last.pts + length) * last.time_base - clip.info.start_s)
    return open_writer(
        target, clip.info, clip.size, overwrite=overwrite, start_s=start_s, end_s=end_s
    )


def _image_writer(clip: Clip, target: Path, overwrite: bool) -> Writer:
    if clip.info.is_still and not target.is_dir():
        return ImageWriter(target, overwrite=overwrite)
    return SequenceWriter(target, overwrite, start_number=clip.numbers[0])
