"""What a crew of workers is, what it has to say, and the crew of one: this process."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from fastvid.runtime.bulk.piece import Piece, paint_piece
from fastvid.runtime.console import one_line

OnFrames = Callable[[int, int], None]  # (number of the task, its frames done so far)


@dataclass(frozen=True)
class Ended:
    """One task's end.

    Attributes:
        number: of the task.
        error: what went wrong with it; None where the piece is there.
        death: how its worker died, in a few words, where it did; another one may do better.
        warnings: lines of the log.
    """

    number: int
    error: Exception | None = None
    death: str = ""
    warnings: tuple[str, ...] = ()


class Crew(Protocol):
    """Workers that paint pieces; to be used in one `with` block, which leaves none behind.

    Attributes:
        num_workers: how many pieces are painted at a time.
    """

    num_workers: int

    def start(self, number: int, piece: Piece) -> None:
        """Give a task to a free worker; there is one."""

    def poll(self, timeout_s: float, on_frames: OnFrames) -> list[Ended]:
        """Which tasks have ended; waits up to `timeout_s` for the first of them."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Alone:
    """This process, one piece after the other."""

    num_workers = 1

    def __init__(self) -> None:
        self._task: tuple[int, Piece] | None = None

    def start(self, number: int, piece: Piece) -> None:
        """See `Crew`."""
        self._task = number, piece

    def poll(self, timeout_s: float, on_frames: OnFrames) -> list[Ended]:
        """See `Crew`; paints the whole piece."""
        if self._task is None:
            return []
        (number, piece), self._task = self._task, None
        return [work(number, piece, on_frames)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def work(number: int, piece: Piece, on_frames: OnFrames | None = None) -> Ended:
    """Paint a piece, in whatever process, and say how that ended."""
    with _warnings() as lines:
        try:
            paint_piece(piece, None if on_frames is None else lambda done: on_frames(number, done))
            error = None
        except Exception as caught:
            # in plain words: not every exception survives the way to another process
            known = isinstance(caught, ValueError | RuntimeError | OSError | MemoryError)
            kind = "" if known else f"unexpected {type(caught).__name__}: "
            error = RuntimeError(kind + one_line(caught))
            error.add_note("".join(traceback.format_exception(caught)))
    return Ended(number, error, warnings=tuple(lines))


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects the package's warnings, which every piece of a film would repeat."""
    logger = logging.getLogger("fastvid")
    handlers, propagate = logger.handlers, logger.propagate
    lines: list[str] = []
    logger.handlers, logger.propagate = [_Lines(lines)], False
    try:
        yield lines
    finally:
        logger.handlers, logger.propagate = handlers, propagate
