import os
import signal
import threading
import time

import pytest

from fastvid.runtime.stages import Stopped, Timing, overlap


def collect(items):
    collected.clear()
    collected.extend(items)


collected: list[int] = []


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_items_pass_all_three_stages_in_order():
    timings = overlap(lambda: range(50), lambda x: x * x, collect)
    assert collected == [x * x for x in range(50)]
    for timing in timings:
        assert timing.total_s >= 0
        assert 0 <= timing.percentile_ms(50) <= timing.percentile_ms(95)


def test_no_items_are_fine():
    timings = overlap(lambda: [], lambda x: x, collect)
    assert collected == []
    assert timings[1].percentile_ms(95) == 0


def test_the_stages_run_at_the_same_time():
    seen = []

    def source():
        for i in range(4):
            seen.append(("read", i))
            yield i

    def work(i):
        if i == 0:  # the source must get ahead while the first item is at work
            deadline = time.monotonic() + 10
            while ("read", 1) not in seen and time.monotonic() < deadline:
                time.sleep(0.001)
        seen.append(("work", i))
        return i

    overlap(source, work, collect)
    assert seen.index(("read", 1)) < seen.index(("work", 0))


def test_few_items_are_in_memory_however_slow_the_sink():
    alive, most = 0, 0
    lock = threading.Lock()

    def source():
        nonlocal alive, most
        for i in range(40):
            with lock:
                alive += 1
                most = max(most, alive)
            yield i

    def sink(items):
        nonlocal alive
        for _ in items:
            time.sleep(0.002)
            with lock:
                alive -= 1

    overlap(source, lambda x: x, sink, length=2)
    assert most <= 2 + 2 + 3  # both queues and one item in each stage's hand


@pytest.mark.parametrize("stage", ["source", "work", "sink"])
def test_an_exception_anywhere_stops_everything_and_comes_out(stage):
    closed, aborted = [], []

    def fail(where, i):
        if where == stage and i == 5:
            raise ValueError(f"from the {stage}")
        return i

    def source():
        try:
            i = 0
            while True:
                yield fail("source", i)
                i += 1
        finally:
            closed.append(True)

    def sink(items):
        try:
            for i in items:
                fail("sink", i)
        except Stopped:
            aborted.append(True)
            raise

    with pytest.raises(ValueError, match=f"from the {stage}"):
        overlap(source, lambda i: fail("work", i), sink)
    assert closed == [True]
    assert aborted == ([] if stage == "sink" else [True])


def test_a_sink_that_has_enough_ends_the_source():
    closed = []

    def source():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    def sink(items):
        for count, _ in enumerate(items, 1):
            if count == 7:
                return

    overlap(source, lambda x: x, sink)
    assert closed == [True]


@pytest.fixture
def _python_handles_ctrl_c():
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_ctrl_c_lets_the_sink_finish_what_is_painted():
    ends = []

    def source():
        while True:
            yield 1

    def sink(items):
        for count, _ in enumerate(items, 1):
            if count == 5:
                os.kill(os.getpid(), signal.SIGINT)
        ends.append(items.interrupted)

    with pytest.raises(KeyboardInterrupt):
        overlap(source, lambda x: x, sink)
    assert ends == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_a_second_ctrl_c_stops_the_sink_too():
    ends = []

    def source():
        while True:
            yield 1

    def sink(items):
        try:
            for count, _ in enumerate(items, 1):
                if count == 5:
                    os.kill(os.getpid(), signal.SIGINT)
                    while not items.interrupted:
                        time.sleep(0.001)
                    os.kill(os.getpid(), signal.SIGINT)
                    while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                        time.sleep(0.001)
        except Stopped:
            ends.append("stopped")
            raise

    with pytest.raises(KeyboardInterrupt):
        overlap(source, lambda x: x, sink)
    assert ends == ["stopped"]


def test_percentiles_are_those_of_the_items():
    timing = Timing()
    for ms in range(101):
        timing.add(ms / 1e3)
    assert timing.percentile_ms(50) == pytest.approx(50)
    assert timing.percentile_ms(95) == pytest.approx(95)
    assert timing.total_s == pytest.approx(5.05)
