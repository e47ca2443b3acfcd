"""What the command line's inputs stand for: which sources there are and where each one goes."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastvid.video import (
    IMAGE_SUFFIXES,
    OUTPUT_FILM_SUFFIXES,
    OUTPUT_IMAGE_SUFFIXES,
    MediaError,
)
from fastvid.video.stills import is_image, is_sequence, natural_key

FILM_SUFFIXES = (
    ".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mts .mpg .mpeg .flv .ogv .wmv .asf .mxf .gif .3gp"
).split()
# Of the containers that can be written, those that hold H.264.
_KEPT_SUFFIXES = [suffix for suffix in OUTPUT_FILM_SUFFIXES if suffix != ".webm"]


@dataclass(frozen=True)
class Job:
    """One source and its target.

    Attributes:
        source: file, folder or pattern that a `VideoReader` takes.
        target: file, folder or pattern that is written.
        in_folder: one of many found in a folder, where a finished target is skipped.
        makes_folder: whether the folder of the target is made when it is missing.
    """

    source: Path
    target: Path
    in_folder: bool = False
    makes_folder: bool = False


def default_target(source: Path, style: str) -> Path:
    """Where a source's painting goes: `<stem>.<style>.<ext>` beside it.

    A folder `x` and a glob pattern in it become the folder `x.<style>`, a printf pattern keeps its
    numbers. A suffix that cannot hold the painting is replaced: .mkv or .mp4 for films, .png for
    images.
    """
    if source.is_dir():
        folder = source.resolve()
        return folder.with_name(f"{folder.name}.{style}")
    if is_sequence(source) and "%" not in source.name:
        return default_target(source.parent, style)
    suffix = source.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        kept = suffix in OUTPUT_IMAGE_SUFFIXES
        return source.with_name(f"{source.stem}.{style}{source.suffix if kept else '.png'}")
    if suffix in _KEPT_SUFFIXES:
        return source.with_name(f"{source.stem}.{style}{source.suffix}")
    return source.with_name(f"{source.stem}.{style}{'.mp4' if suffix == '.gif' else '.mkv'}")


def plan(inputs: list[str], output: str | None, style: str) -> list[Job]:
    """The jobs that inputs and `-o` ask for, in natural order.

    A folder of films gives one job a film; images of a folder or pattern are one sequence. With
    several jobs the output is the folder that takes them; it is made when the first one starts.

    Raises:
        MediaError: an input matches nothing, or several results would share one name.
    """
    sources: list[tuple[Path, bool]] = []
    for text in inputs:
        sources.extend(_sources(Path(text).expanduser(), style))
    several = len(sources) > 1 or any(in_folder for _, in_folder in sources)
    wanted = Path(output).expanduser() if output is not None else None
    is_folder = wanted is not None and (wanted.is_dir() or str(output).endswith(("/", os.sep)))
    if several and wanted is not None and wanted.suffix and not is_folder:
        raise MediaError(
            f"{wanted}: {len(sources)} inputs need a folder as output, this is a file's name"
        )
    jobs = []
    for source, in_folder in sources:
        target = default_target(source, style)
        if in_folder:
            target = default_target(source.parent, style) / target.name
        inside = in_folder
        if wanted is not None:
            inside = several or (is_folder and not is_sequence(source))
            target = wanted / target.name if inside else wanted
        jobs.append(Job(source, target, in_folder, makes_folder=inside))
    targets = [job.target for job in jobs]
    for target in targets:
        if targets.count(target) > 1:
            raise MediaError(f"{target}: two inputs would be written to this one name")
    return jobs


def _sources(path: Path, style: str) -> list[tuple[Path, bool]]:
    """What one input stands for, and whether each comes out of a folder or pattern of films.

    Films that are such paintings already are left out.
    """

    def films(paths: Iterable[Path]) -> list[tuple[Path, bool]]:
        found = [
            p
            for p in paths
            if p.suffix.lower() in FILM_SUFFIXES
            and p.is_file()
            and not p.name.startswith(".")
            and not p.stem.endswith((f".{style}", f".{style}.partial"))
        ]
        return [(p, True) for p in sorted(found, key=lambda p: natural_key(p.name))]

    if path.is_dir():
        found = films(path.iterdir())
        if any(is_image(p) and not p.name.startswith(".") for p in path.iterdir()):
            found.append((path, False))
        if not found:
            raise MediaError(f"{path}: folder holds neither a film nor an image")
        return found
    if is_sequence(path) and "%" not in path.name:
        return films(path.parent.glob(path.name)) or [(path, False)]
    return [(path, False)]
