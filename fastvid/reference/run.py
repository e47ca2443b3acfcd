"""One run of the reference, from settings to a written film or image."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from fastvid.checkpoint import git_revision, package_versions
from fastvid.files import write_atomically
from fastvid.reference import multi_pass, single_pass
from fastvid.reference.build import build_flow, build_method, build_passes, build_studio
from fastvid.reference.flows import Lookahead
from fastvid.reference.footage import open_footage
from fastvid.reference.image import with_colors_of
from fastvid.reference.output import check_target, write_frames
from fastvid.reference.settings import OptimizeConfig
from fastvid.reference.state import State
from fastvid.reference.studio import Studio

log = logging.getLogger(__name__)

# Settings that change what is said or kept, not what comes out.
SILENT = (
    "report print_iter save_iter save_init keep_state continue_with continue_with_pass num_passes "
    "device"
).split()


def optimize(config: OptimizeConfig, source: Path, target: Path, overwrite: bool = False) -> Path:
    """Stylise an image or a clip by optimisation.

    A killed run goes on where it stopped, to the same result: finished frames are kept in
    `<target>.state` until the target is written.

    Args:
        config: all settings.
        source: image, film, folder, printf or glob pattern.
        target: image, film, folder or printf pattern.
        overwrite: replace an existing target.

    Returns:
        What was written.

    Raises:
        ValueError: a setting, a painting or a file does not fit.
        FileNotFoundError: painting, weights, flow or map are missing.
        MediaError: the source cannot be read or the target not be written.
        KeyboardInterrupt: Ctrl-C, after what is done was written.
    """
    config.check()
    report = Path(config.report) if config.report else None
    if report is not None and not report.absolute().parent.is_dir():
        raise FileNotFoundError(f"{report}: there is no folder {report.parent} for the report")
    if not target.absolute().parent.is_dir() and "%" not in target.name:
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    state = State(target.with_name(f"{target.name}.state"), _identity(config, source))
    try:
        written = _optimize(config, source, target, overwrite or state.resumed, state)
    except BaseException:
        if not state.records():  # nothing that a later run could go on with
            state.remove()
        raise
    if not (config.keep_state or config.save_iter or config.save_init):
        state.remove()
    return written


def _optimize(
    config: OptimizeConfig, source: Path, target: Path, overwrite: bool, state: State
) -> Path:
    footage = open_footage(
        source, state.folder / "frames.u8", config.start_number, config.num_frames, config.height_px
    )
    check_target(footage.clip, target, overwrite)
    studio = build_studio(config, footage, state)
    forget(config, studio)

    def save(num_done: int) -> Path | None:
        is_excerpt = bool(config.num_frames or config.start_number)
        pictures = finished(config, studio)
        return write_frames(footage.clip, target, pictures, num_done, overwrite, is_excerpt)

    try:
        paint(config, studio)
    except KeyboardInterrupt:
        if num_done := num_finished(studio):
            log.info("%d frames so far: %s", num_done, save(num_done))
            log.info("the same command goes on from here (%s)", state.folder)
        raise
    finally:
        if config.report and state.records():
            write_report(Path(config.report), config, studio, source, target)
    written = save(studio.num_frames)
    assert written is not None
    return written


def paint(config: OptimizeConfig, studio: Studio) -> None:
    """Run the passes; what is done already is left alone."""
    source = build_flow(config, studio)
    flows = Lookahead(source)
    try:
        if config.passes == "multi":
            passes = build_passes(config)
            source.check(multi_pass.flow_pairs(passes, studio.num_frames))
            multi_pass.paint_multi_pass(studio, passes, flows, config.iterations[0])
        else:
            method = build_method(config)
            source.check(single_pass.flow_pairs(method, studio.num_frames))
            single_pass.paint_single_pass(studio, method, flows, config.iterations)
    finally:
        flows.close()


def forget(config: OptimizeConfig, studio: Studio) -> None:
    """Take back what `continue_with` and `continue_with_pass` want anew."""
    numbers = studio.footage.clip.numbers
    for run in range(1, studio.num_passes + 1):
        again = bool(config.continue_with_pass) and run >= config.continue_with_pass
        for position, number in enumerate(numbers, start=1):
            if again or (config.continue_with and position >= config.continue_with):
                studio.state.forget(run, number)


def finished(config: OptimizeConfig, studio: Studio) -> Callable[[int], Tensor]:
    """The picture to write for a frame, by position: of its last pass, in the colours asked for."""

    def picture(index: int) -> Tensor:
        run = last_pass(studio, index)
        result = studio.result(run, index)
        return with_colors_of(result, studio.frame(index)) if config.original_colors else result

    return picture


def last_pass(studio: Studio, index: int) -> int:
    """The last pass that has done a frame; 0 if none has."""
    runs = range(studio.num_passes, 0, -1)
    return next((run for run in runs if studio.is_done(run, index)), 0)


def num_finished(studio: Studio) -> int:
    """Frames from the first on that at least one pass has done."""
    done = 0
    while done < studio.num_frames and last_pass(studio, done):
        done += 1
    return done


def write_report(
    path: Path, config: OptimizeConfig, studio: Studio, source: Path, target: Path
) -> None:
    """Settings, paintings, and for each frame the losses before, after and on the way."""
    frames = studio.state.records()
    weights = studio.schedule(0.0)
    content = {
        "source": str(source),
        "target": str(target),
        "mode": config.mode,
        "passes": config.passes,
        "method": config.method,
        "height_px": studio.size[0],
        "width_px": studio.size[1],
        "device": str(studio.device),
        "paintings": [
            {
                "image": p.path.name,
                "height_px": p.size[0],
                "width_px": p.size[1],
                "weight_at_0_s": weight,
            }
            for p, weight in zip(studio.paintings, weights, strict=False)
        ],
        "frames": frames,
        "settings": asdict(config),
        "git_revision": git_revision(),
        "versions": package_versions(),
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _identity(config: OptimizeConfig, source: Path) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(config).items() if key not in SILENT}
    if config.passes == "single":
        del settings["num_frames"]  # more frames can be added at the end
    file = source.stat() if source.is_file() else None
    stamp = [file.st_size, file.st_mtime_ns] if file else []
    return {"source": str(source.absolute()), "file": stamp, "settings": settings}
