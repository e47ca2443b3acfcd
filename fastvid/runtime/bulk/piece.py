"""The job of a worker: one segment of a film, painted into a file."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

import numpy as np

from fastvid.runtime.bulk.plan import Segment
from fastvid.runtime.film import Film, Interrupted, Painter, Statistics
from fastvid.runtime.finish import Finish
from fastvid.runtime.loading import load_for_film
from fastvid.runtime.pipeline import Encoding, open_target, queue_length
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.report import Report, write_json
from fastvid.runtime.shots import ShotFrame, at_starts
from fastvid.runtime.stylizer import Device, EngineName, Stylizer
from fastvid.video import Frame, MediaError, VideoInfo, VideoReader


@dataclass(frozen=True)
class Network:
    """What a worker loads; arguments of `stylize`."""

    style: str | Path
    device: Device = "auto"
    engine: EngineName = "auto"
    tile_px: int | None = None
    work_height_px: int | None = None

    def settled(self, stylizer: Stylizer) -> Self:
        """With the engine that this stylizer runs, so that no worker chooses another one."""
        device: Device = "cuda" if stylizer.device == "cuda" else "cpu"
        return replace(self, engine=stylizer.chosen, device=device)


@lru_cache(maxsize=1)
def loaded(network: Network) -> Stylizer:
    """The network, loaded once in this process; see `load_for_film` for the errors."""
    stylizer = load_for_film(network.style, network.device, network.engine, network.tile_px)
    if network.work_height_px is not None:
        stylizer = Reduced(stylizer, network.work_height_px)
    return stylizer


@dataclass(frozen=True)
class Look:
    """What all pieces of one film have in common.

    Attributes:
        info: the source.
        excerpt_s: start and end of what is painted, seconds.
        height_px: rows to paint and to write, None for the source's.
        statistics: `shot` or `frame`.
        finish: what happens to a painted frame.
        encoding: how the film is written.
    """

    info: VideoInfo
    excerpt_s: tuple[float | None, float | None]
    height_px: int | None
    statistics: Statistics
    finish: Finish
    encoding: Encoding

    def reader(self, begin: int | None = None, seek: bool = True) -> VideoReader:
        """Frames of the film, from the one with this pts to the end of the excerpt."""
        start_s: float | Fraction | None = self.excerpt_s[0]
        if begin is not None:
            exact_s = begin * self.info.time_base - self.info.start_s
            start_s = exact_s if exact_s > 0 else None
        return VideoReader(self.info.path, start_s, self.excerpt_s[1], self.height_px, seek=seek)


@dataclass(frozen=True)
class Piece:
    """A segment and the file that it becomes.

    Attributes:
        look: of the film.
        segment: which frames.
        path: the file, of the target's container; a report lies beside it as JSON.
        network: what paints.
    """

    look: Look
    segment: Segment
    path: Path
    network: Network

    @property
    def report_path(self) -> Path:
        """Where the report of the painting lies, before the piece is there."""
        return self.path.with_suffix(".json")


def paint_piece(piece: Piece, on_frames: Callable[[int], None] | None = None) -> None:
    """Paint a segment; the file is there when this returns, and is whole whenever it is there.

    The frames are read from the nearest key frame on. Should they not be those of the plan, or
    something be damaged on the way, the film is read from its beginning, as it was for the plan.

    Args:
        piece: what and where to.
        on_frames: called with the frames done so far, from another thread.

    Raises:
        MediaError: the source cannot be read, or gives other frames than before; the disk is full.
        ValueError, RuntimeError: the network cannot be loaded or fails.
        KeyboardInterrupt: Ctrl-C.
    """
    stylizer = loaded(piece.network)
    trial = piece.path.with_name(f"trial-{piece.path.name}")
    for seek in (True, False):
        try:
            report = _paint(piece, trial, stylizer, seek, on_frames)
        except MediaError:
            if not seek:
                raise
            continue
        damaged = seek and report.packets_damaged
        if report.frames == piece.segment.num_frames and not damaged:
            write_json(piece.report_path, asdict(report))
            os.replace(trial, piece.path)
            return
    raise MediaError(
        f"{piece.look.info.path}: gives {report.frames} frames where it gave "
        f"{piece.segment.num_frames} before; is it being written?"
    )


def _paint(
    piece: Piece,
    trial: Path,
    stylizer: Stylizer,
    seek: bool,
    on_frames: Callable[[int], None] | None,
) -> Report:
    look, segment = piece.look, piece.segment
    stylizer.adapt(None)  # what another piece has left must change nothing
    keys = None
    if segment.shots and segment.shots[0] != segment.begin:
        with look.reader(segment.shots[0], seek) as reader:
            keys = next(at_starts(reader, segment.shots)).keys
    source = look.reader(segment.begin, seek)
    film = Film(
        source,
        lambda: open_target(source, trial, look.finish, look.encoding, look.excerpt_s),
        Painter(stylizer, stylizer.lanes(source.size)),
        look.finish,
        on_progress=None if on_frames is None else lambda done, _: on_frames(done),
        length=queue_length(source.size),
        statistics=look.statistics,
        shots=partial(_frames_of, segment, keys),
    )
    try:
        return film.run()
    except Interrupted as interrupt:
        if interrupt.kept is not None:
            interrupt.kept.unlink(missing_ok=True)
        raise KeyboardInterrupt from None


def _frames_of(
    segment: Segment, keys: np.ndarray | None, frames: Iterable[Frame]
) -> Iterator[ShotFrame]:
    """The segment's frames with the key frames of its shots; `keys` belong to the first frame."""
    found = at_starts(frames, segment.shots) if segment.shots else map(ShotFrame, frames)
    for item in found:
        if segment.end is not None and item.frame.pts >= segment.end:
            return
        yield item if keys is None else ShotFrame(item.frame, keys)
        keys = None
