"""Keeps a crew of workers busy with the pieces of many films."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from fastvid.runtime.bulk.crew import Crew, Ended
from fastvid.runtime.bulk.film import BulkFilm
from fastvid.runtime.bulk.piece import Piece

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # at a piece whose worker dies
_POLL_S = 0.5
_FRAMES_PER_LOOK = 24  # read ahead for the plan before the workers are looked after again

OnProgress = Callable[[int, int | None, str], None]


@dataclass
class _Task:
    film: BulkFilm
    piece: Piece
    attempts: int = 0
    num_frames: int = 0


class Schedule:
    """Films in order, their pieces in order, as many at a time as there are workers.

    While the last pieces of a film are painted the next one begins.

    Args:
        films: what to paint.
        crew: who paints.
        on_progress: called with (frames painted, frames expected or None, a remark).
    """

    def __init__(
        self, films: Sequence[BulkFilm], crew: Crew, on_progress: OnProgress | None = None
    ) -> None:
        self._films = films
        self._crew = crew
        self._on_progress = on_progress
        self._open: list[BulkFilm] = []
        self._num_finished = 0
        self._backlog: deque[_Task] = deque()
        self._running: dict[int, _Task] = {}
        self._next_number = 0

    def run(self) -> Generator[BulkFilm, None, None]:
        """Paint, and yield every film that is ready for its `result`, or has failed.

        Raises:
            KeyboardInterrupt: Ctrl-C, after the workers have been stopped; pieces that are there
                stay.
        """
        tasks = self._tasks()
        more = True
        try:
            with self._crew:
                while more or self._backlog or self._running:
                    self._give_out()
                    hungry = more and len(self._backlog) < self._crew.num_workers
                    if hungry:
                        more = self._plan_some(tasks)
                    for ended in self._crew.poll(0.0 if hungry else _POLL_S, self._note):
                        self._take(ended)
                    self._tell()
                    yield from self._finished()
        finally:
            tasks.close()
            for film in self._films:
                film.close()

    def _tasks(self) -> Generator[_Task | None, None, None]:
        for film in self._films:
            self._open.append(film)
            for piece in film.pieces():
                yield None if piece is None else _Task(film, piece)

    def _plan_some(self, tasks: Iterator[_Task | None]) -> bool:
        """Look for a piece, not for too long; whether there may be more."""
        for _ in range(_FRAMES_PER_LOOK):
            try:
                task = next(tasks)
            except StopIteration:
                return False
            if task is not None:
                self._backlog.append(task)
                break
        return True

    def _give_out(self) -> None:
        while self._backlog and len(self._running) < self._crew.num_workers:
            task = self._backlog.popleft()
            if task.film.error is not None:
                task.film.is_lost(task.piece, task.film.error)
                continue
            task.attempts += 1
            task.num_frames = 0
            self._running[self._next_number] = task
            self._crew.start(self._next_number, task.piece)
            self._next_number += 1

    def _note(self, number: int, num_frames: int) -> None:
        self._running[number].num_frames = num_frames
        self._tell()

    def _take(self, ended: Ended) -> None:
        task = self._running.pop(ended.number)
        film, piece = task.film, task.piece
        film.warn(ended.warnings)
        if ended.error is not None:
            film.is_lost(piece, ended.error)
        elif not ended.death:
            film.is_painted(piece)
        else:
            what = f"{film.job.source}: the worker of piece {piece.segment.index} died"
            if task.attempts < MAX_ATTEMPTS:
                log.warning("%s (%s), the piece is painted again", what, ended.death)
                self._backlog.appendleft(task)
            else:
                error = RuntimeError(
                    f"{what} {task.attempts} times ({ended.death}); fewer --workers need less "
                    "memory, the finished pieces are kept"
                )
                film.is_lost(piece, error)

    def _tell(self) -> None:
        done = sum(film.num_painted for film in self._films)
        done += sum(task.num_frames for task in self._running.values())
        if self._on_progress is None or not done:
            return
        if len(self._films) == 1:
            self._on_progress(done, self._films[0].expected, "")
        else:
            remark = f"{self._num_finished} of {len(self._films)} films"
            self._on_progress(done, None, remark)

    def _finished(self) -> Iterator[BulkFilm]:
        for film in [film for film in self._open if film.finished]:
            self._open.remove(film)
            self._num_finished += 1
            yield film
