"""Three stages side by side: a source, the caller's own thread, a sink; few items in memory.

The caller's thread directs the middle stage because Python delivers Ctrl-C there; it does the work
itself or has several items done at once. An exception in any stage ends the others and comes out of
`overlap`; Ctrl-C ends the source, lets the sink finish with what it has, and comes out as well.
"""

import contextlib
import queue
import signal
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np

In = TypeVar("In")
Out = TypeVar("Out")

QUEUE_LENGTH = 3  # items between two stages; more smooths nothing and costs a frame each
_POLL_S = 0.1
_END: Any = object()


class Timing:
    """How long one stage works on each item, waiting left out.

    Attributes:
        lanes: items that it works on at once.
    """

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = lanes
        self._seconds = array("d")
        self._alone_s = 0.0

    def add(self, seconds: float, alone_s: float = 0.0) -> None:
        """Note one item, and for how much of its time it had all lanes."""
        self._seconds.append(seconds)
        self._alone_s += alone_s

    @property
    def total_s(self) -> float:
        """Seconds of work on all items, those done at once counted once."""
        return self._alone_s + (sum(self._seconds) - self._alone_s) / self.lanes

    def percentile_ms(self, percent: float) -> float:
        """Milliseconds that `percent` of the items stay below; 0 without items."""
        if not self._seconds:
            return 0.0
        return float(np.percentile(np.frombuffer(self._seconds), percent)) * 1e3


class Stopped(Exception):
    """Raised inside a stage when another one has failed; never leaves `overlap`."""


class Items(Generic[Out]):
    """What the sink iterates over.

    Attributes:
        interrupted: True when the items end early because of Ctrl-C.
    """

    def __init__(self, channel: "_Channel", timing: Timing) -> None:
        self.interrupted = False
        self._channel = channel
        self._timing = timing

    def __iter__(self) -> Iterator[Out]:
        while (item := self._channel.get()) is not _END:
            begin = time.perf_counter()
            yield item
            self._timing.add(time.perf_counter() - begin)


class _Channel:
    """A bounded queue whose waits end when a stage has failed or `closed` is set."""

    def __init__(self, length: int, failed: threading.Event, closed: threading.Event) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(length)
        self._failed, self._closed = failed, closed

    def put(self, item: Any) -> None:
        """Wait for room; an item for a closed channel is dropped."""
        while not self._closed.is_set():
            if self._failed.is_set():
                raise Stopped
            with contextlib.suppress(queue.Full):
                return self._queue.put(item, timeout=_POLL_S)

    def get(self) -> Any:
        """Wait for an item; a closed channel gives `_END`."""
        while not self._closed.is_set():
            if self._failed.is_set():
                raise Stopped
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_POLL_S)
        return _END


def overlap(
    source: Callable[[], Iterable[In]],
    work: Callable[[In], Callable[[], Out]],
    sink: Callable[[Items[Out]], None],
    length: int = QUEUE_LENGTH,
    lanes: int = 1,
) -> tuple[Timing, Timing, Timing]:
    """Run `source | work | sink` at once, in order, and say how long each works on an item.

    Args:
        source: called and iterated in a thread of its own; closed there too if it has `close`.
        work: called in this thread, one item after the other; gives the job that remains to be
            done for the item.
        sink: called in a third thread with the jobs' results, in the order of the items. When it
            returns early the rest stops; when another stage fails, `Stopped` is raised inside it.
        length: items that may wait between two stages.
        lanes: jobs that are done at once, each in a thread of its own; 1 does them in this thread.

    Raises:
        Exception: the first one that a stage raised.
        KeyboardInterrupt: Ctrl-C, after the sink has finished with `items.interrupted` set; a
            second Ctrl-C stops the sink instead of letting it finish.
    """
    failed, unwanted, finished = threading.Event(), threading.Event(), threading.Event()
    decoded = _Channel(length, failed, closed=unwanted)
    painted = _Channel(length, failed, closed=finished)
    timings = Timing(), Timing(lanes), Timing()
    items: Items[Out] = Items(painted, timings[2])
    errors: list[BaseException] = []

    def read() -> None:
        iterator = iter(source())
        try:
            while not unwanted.is_set():
                begin = time.perf_counter()
                item = next(iterator, _END)
                if item is not _END:
                    timings[0].add(time.perf_counter() - begin)
                decoded.put(item)
                if item is _END:
                    return
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    def transform() -> None:
        with contextlib.closing(_in_lanes(iter(decoded.get, _END), work, timings[1])) as results:
            for result in results:
                painted.put(result)
        painted.put(_END)

    def write() -> None:
        sink(items)
        unwanted.set()
        finished.set()

    def guarded(stage: Callable[[], None]) -> None:
        try:
            stage()
        except Stopped:
            pass
        except BaseException as error:  # carried to the caller's thread
            errors.append(error)
            failed.set()

    def interrupt() -> None:
        if items.interrupted:
            failed.set()
        items.interrupted = True
        unwanted.set()

    threads = [
        threading.Thread(target=guarded, args=(stage,), name=f"fastvid-{stage.__name__}")
        for stage in (read, write)
    ]
    with _on_ctrl_c(interrupt):
        for thread in threads:
            thread.start()
        guarded(transform)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    if items.interrupted:
        raise KeyboardInterrupt
    return timings


def _in_lanes(
    items: Iterator[In], work: Callable[[In], Callable[[], Out]], timing: Timing
) -> Generator[Out, None, None]:
    """The results in order; as many jobs as `timing` has lanes are done at once."""

    def finish(job: Callable[[], Out], spent_s: float) -> Out:
        begin = time.perf_counter()
        result = job()
        timing.add(spent_s + time.perf_counter() - begin, spent_s)
        return result

    def start(item: In) -> Callable[[], Out]:
        begin = time.perf_counter()
        job = work(item)
        return partial(finish, job, time.perf_counter() - begin)

    if timing.lanes == 1:
        for item in items:
            yield start(item)()
        return
    pool = ThreadPoolExecutor(timing.lanes, thread_name_prefix="fastvid-lane")
    try:
        # As many again wait: a lane whose neighbour is late with an earlier item does not stop.
        pending: deque[Future[Out]] = deque()
        for item in items:
            pending.append(pool.submit(start(item)))
            if len(pending) == 2 * timing.lanes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _on_ctrl_c(react: Callable[[], None]) -> Iterator[None]:
    """Call `react` at the first two Ctrl-C instead of raising wherever the program happens to be.

    Only Python's own handler is replaced: a host program's handler, or a shell's wish that a
    background job ignores Ctrl-C, stands.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    presses = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        react()
        if presses == 2:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
