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


def as_it_is(item):
    return lambda: item


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_items_pass_all_three_stages_in_order():
    timings = overlap(lambda: range(50), lambda x: lambda: x * x, collect)
    assert collected == [x * x for x in range(50)]
    for timing in timings:
        assert timing.total_s >= 0
        assert 0 <= timing.percentile_ms(50) <= timing.percentile_ms(95)


def test_results_stay_in_order_however_long_each_job_takes():
    def work(i):
        def job():
            time.sleep(0.01 * (i % 3 == 0))
            return i

        return job

    timings = overlap(lambda: range(20), work, collect, lanes=3)
    assert collected == list(range(20))
    assert timings[1].lanes == 3
    assert timings[1].total_s >= 7 * 0.01 / 3


def test_jobs_are_done_at_once_and_begun_in_order():
    both = threading.Barrier(2, timeout=10)
    begun = []

    def work(i):
        begun.append((i, threading.current_thread()))
        return both.wait

    overlap(lambda: range(6), work, collect, lanes=2)  # alone, a job would wait for ever
    assert [i for i, _ in begun] == list(range(6))
    assert {thread for _, thread in begun} == {threading.current_thread()}


def test_no_items_are_fine():
    timings = overlap(lambda: [], as_it_is, collect)
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

    overlap(source, lambda i: lambda: work(i), collect)
    assert seen.index(("read", 1)) < seen.index(("work", 0))


@pytest.mark.parametrize(("lanes", "held"), [(1, 1), (3, 6)])
def test_few_items_are_in_memory_however_slow_the_sink(lanes, held):
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

    overlap(source, as_it_is, sink, length=2, lanes=lanes)
    assert most <= 2 + 2 + 2 + held  # both queues, one item in the hands of source and sink


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("stage", ["source", "work", "sink"])
def test_an_exception_anywhere_stops_everything_and_comes_out(stage, lanes):
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
        overlap(source, lambda i: lambda: fail("work", i), sink, lanes=lanes)
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

    overlap(source, as_it_is, sink)
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
        overlap(source, as_it_is, sink)
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
        overlap(source, as_it_is, sink)
    assert ends == ["stopped"]


def test_percentiles_are_those_of_the_items():
    timing = Timing()
    for ms in range(101):
        timing.add(ms / 1e3)
    assert timing.percentile_ms(50) == pytest.approx(50)
    assert timing.percentile_ms(95) == pytest.approx(95)
    assert timing.total_s == pytest.approx(5.05)


def test_work_done_at_once_counts_once():
    timing = Timing(lanes=2)
    timing.add(1.0)
    timing.add(3.0, alone_s=2.0)
    assert timing.total_s == pytest.approx(2.0 + (1.0 + 1.0) / 2)
    assert timing.percentile_ms(100) == pytest.approx(3000)
