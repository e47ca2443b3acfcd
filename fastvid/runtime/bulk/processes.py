"""A crew of processes on this machine, which die with it and never without being noticed."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Self

from fastvid.runtime.bulk.crew import Ended, OnFrames, work
from fastvid.runtime.bulk.piece import Piece

_FAREWELL_S = 5.0  # for a process that has been told to end
_PAUSE_S = 0.2  # between two messages on the frames done


class _Worker:
    """One process, and the task it is at."""

    def __init__(self, cores: Sequence[int]) -> None:
        # never fork: threads of the runtime and of FFmpeg would be cut off inside their locks
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, cores), name="fastvid-worker", daemon=True
        )
        self.number: int | None = None
        with _without_ctrl_c():
            self.process.start()
        theirs.close()  # so that its end is seen when the worker dies

    def give(self, number: int, piece: Piece) -> None:
        self.number = number
        with contextlib.suppress(OSError):  # it has just died, which `hear` will find
            self.connection.send((number, piece))

    def hear(self, on_frames: OnFrames) -> Ended | None:
        """The end of its task, if that has come; frames done go to `on_frames`."""
        dead = not self.process.is_alive()  # asked first: what it said before is in the pipe
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, Ended):
                    self.number = None
                    return message
                on_frames(*message)
        except (EOFError, OSError):
            self.process.join(_FAREWELL_S)
            dead = True
        if not dead or self.number is None:
            return None
        number, self.number = self.number, None
        return Ended(number, death=_describe(self.process.exitcode))

    def end(self) -> None:
        self.process.terminate()
        self.process.join(_FAREWELL_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(_FAREWELL_S)
        self.connection.close()


class Processes:
    """Worker processes; each one loads the network once and has its share of the cores.

    Ctrl-C reaches this process alone. When this process dies, however that may be, the workers
    end at once.

    Args:
        num_workers: how many.
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers: list[_Worker | None] = [None] * num_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.end()

    def start(self, number: int, piece: Piece) -> None:
        """See `Crew`."""
        for place, worker in enumerate(self._workers):
            if worker is not None and worker.number is not None:
                continue
            if worker is None or not worker.process.is_alive():
                if worker is not None:
                    worker.end()
                worker = self._workers[place] = _Worker(_share(place, self.num_workers))
            worker.give(number, piece)
            return
        raise RuntimeError("no worker is free")

    def poll(self, timeout_s: float, on_frames: OnFrames) -> list[Ended]:
        """See `Crew`."""
        busy = [worker for worker in self._workers if worker and worker.number is not None]
        signs = [sign for w in busy for sign in (w.connection, w.process.sentinel)]
        if signs:
            wait(signs, timeout_s)
        return [ended for worker in busy if (ended := worker.hear(on_frames)) is not None]


def _serve(connection: Connection, cores: Sequence[int]) -> None:
    """A worker's life: paint what comes, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # decoder, engine and encoder make as many threads
    said_at = 0.0

    def say(number: int, done: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _PAUSE_S:
            said_at = time.monotonic()
            connection.send((number, done))

    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        while True:
            number, piece = connection.recv()
            connection.send(work(number, piece, say))


def _die_with_parent() -> None:
    """A parent that was killed cannot tell its children to end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _share(place: int, num_workers: int) -> list[int]:
    """The cores of one of the workers; a core is shared where there are too few."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if num_workers >= len(cores):
        return [cores[place % len(cores)]]
    return cores[place::num_workers]


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """What is started inside never sees a Ctrl-C; this process sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _describe(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"
