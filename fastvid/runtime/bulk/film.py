"""One film of a bulk run: cut into pieces, and joined when they are all there."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from fastvid.runtime.bulk.folder import Folder, identity_of
from fastvid.runtime.bulk.piece import Look, Network, Piece
from fastvid.runtime.bulk.plan import Segment, segments
from fastvid.runtime.film import Statistics, expected_frames
from fastvid.runtime.finish import Finish
from fastvid.runtime.jobs import Job
from fastvid.runtime.pipeline import Encoding, check
from fastvid.runtime.report import Report
from fastvid.runtime.shots import ShotFrame, in_shots
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import MediaError, VideoReader
from fastvid.video.join import join

log = logging.getLogger(__name__)


class BulkFilm:
    """A film on its way through the workers.

    Args:
        job: source and target.
        network: what paints it.
        load: gives the network loaded here; called where no run has chosen its engine yet.
        finish: what happens to a painted frame.
        encoding: how the film is written.
        excerpt_s: start and end of what is painted, seconds.
        height_px: rows to paint and to write, None for the source's.
        statistics: `shot` or `frame`.

    Attributes:
        job: the same.
        error: what has gone wrong; the film is given up then.
        expected: frames to paint in this run, about; None while it is not known.
        num_painted: frames painted in this run so far, of whole pieces.
    """

    def __init__(
        self,
        job: Job,
        network: Network,
        load: Callable[[], Stylizer],
        finish: Finish,
        encoding: Encoding,
        excerpt_s: tuple[float | None, float | None],
        height_px: int | None,
        statistics: Statistics,
    ) -> None:
        self.job = job
        self.error: Exception | None = None
        self.expected: int | None = None
        self.num_painted = 0
        self._network, self._load = network, load
        self._finish, self._encoding = finish, encoding
        self._excerpt_s, self._height_px, self._statistics = excerpt_s, height_px, statistics
        self._folder = Folder(job.target.absolute())
        self._segments: list[Segment] = []
        self._reading: dict[str, int | str] = {}
        self._look: Look | None = None  # none yet, or the film is there already
        self._planned = False
        self._waiting: set[int] = set()
        self._warned: set[str] = set()
        self._began = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left for the workers."""
        return self._planned and not self._waiting

    def pieces(self) -> Iterator[Piece | None]:
        """The pieces that are not there yet; None between them, so that one can look around.

        The source is read as the pieces are asked for. What goes wrong is kept in `error`.
        """
        try:
            yield from self._pieces()
        except Exception as error:
            self.error = error
        self._planned = True

    def _pieces(self) -> Iterator[Piece | None]:
        self._began = time.perf_counter()
        target, encoding = self.job.target, self._encoding
        if target.exists() and not encoding.overwrite:
            log.info("%s: painted already, skipped (--overwrite paints it again)", target)
            self._folder.remove_leftover(target)
            return
        with VideoReader(self.job.source, *self._excerpt_s, self._height_px) as reader:
            check(reader, target, encoding.overwrite)
            if self.job.makes_folder:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._look = Look(
                # workers may stand in another folder
                replace(reader.info, path=reader.info.path.absolute()),
                self._excerpt_s,
                self._height_px,
                self._statistics,
                self._finish,
                replace(encoding, audio="none", overwrite=True, as_piece=True),
            )
            network = self._open_folder(self._look)
            self.expected = expected_frames(reader.info, *self._excerpt_s)
            for segment in self._plan(reader):
                if self.error is not None:
                    return
                if segment is None:
                    yield None
                elif not self._folder.is_done(segment.index):
                    self._waiting.add(segment.index)
                    path = self._folder.piece(segment.index)
                    yield Piece(self._look, segment, path, network)
                elif self.expected is not None:
                    self.expected = max(0, self.expected - segment.num_frames)

    def _open_folder(self, look: Look) -> Network:
        """The network that all runs on this film paint with."""
        settled = self._folder.open(identity_of(look, self._network))
        if not settled:
            network = self._network.settled(self._load())
            settled = {"engine": network.engine, "device": network.device}
            self._folder.settle(settled)
        return replace(self._network, **settled)

    def _plan(self, reader: VideoReader) -> Iterator[Segment | None]:
        kept = self._folder.plan()
        if kept is not None:
            self._segments, self._reading = kept
            yield from self._segments
            return
        frames = in_shots(reader) if self._statistics == "shot" else map(ShotFrame, reader)
        for segment in segments(frames):
            if segment is not None:
                self._segments.append(segment)
            yield segment
        if not self._segments:
            raise MediaError(f"{self.job.source}: no frame could be read")
        reading = reader.report()
        self._reading = {
            "frames_missing": reading.missing_frames,
            "packets_damaged": reading.num_damaged,
            "damage": "" if reading.complete else str(reading),
        }
        self._folder.keep_plan(self._segments, self._reading)

    def is_painted(self, piece: Piece) -> None:
        """A piece of it is there."""
        self._waiting.discard(piece.segment.index)
        self.num_painted += piece.segment.num_frames

    def is_lost(self, piece: Piece, error: Exception) -> None:
        """A piece of it will never be there; of several errors the first is kept."""
        self._waiting.discard(piece.segment.index)
        self.error = self.error or error

    def warn(self, lines: tuple[str, ...]) -> None:
        """Pass on what workers say, once."""
        for line in lines:
            if line not in self._warned:
                self._warned.add(line)
                log.warning("%s", line)

    def result(self) -> Report | None:
        """Join the pieces of a finished film; None where it had been there already.

        Raises:
            Exception: what has gone wrong with it; pieces that are there are kept.
        """
        try:
            if self.error is not None:
                raise self.error
            if self._look is None:
                return None
            start_s, end_s = self._excerpt_s
            join(
                [self._folder.piece(segment.index) for segment in self._segments],
                self.job.target,
                self._look.info,
                self._encoding.codec or "libx264",
                self._encoding.audio,
                self._encoding.overwrite,
                start_s,
                end_s,
            )
            report = self._report()
            self._folder.remove()
            return report
        finally:
            self.close()

    def close(self) -> None:
        """Let another run have the pieces."""
        self._folder.close()

    def _report(self) -> Report:
        """The reports of the pieces, those of earlier runs too, as one."""
        pieces = [self._read_report(segment) for segment in self._segments]
        busy_s = {
            stage: sum(p.wall_s * p.stages[stage]["busy_fraction"] for p in pieces)
            for stage in pieces[0].stages
        }
        work_s = sum(p.wall_s for p in pieces) or 1.0
        wall_s = time.perf_counter() - self._began
        whole = {
            **self._reading,
            "source": str(self.job.source),
            "target": str(self.job.target),
            "frames": sum(p.frames for p in pieces),
            "frames_replaced": sum(p.frames_replaced for p in pieces),
            "shots": len({pts for segment in self._segments for pts in segment.shots}),
            "wall_s": round(wall_s, 3),
            "fps": round(self.num_painted / wall_s, 2),
            "stages": {s: {"busy_fraction": round(t / work_s, 4)} for s, t in busy_s.items()},
            "bottleneck": max(busy_s, key=lambda stage: busy_s[stage]),
        }
        return Report(**(asdict(pieces[0]) | whole))

    def _read_report(self, segment: Segment) -> Report:
        path = self._folder.piece(segment.index).with_suffix(".json")
        try:
            return Report(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise MediaError(f"{path}: cannot be read ({error})") from None
