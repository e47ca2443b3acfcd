"""Statistics of live frames, without threads: jobs run when the test says so."""

from concurrent.futures import Future
from fractions import Fraction

import numpy as np
import pytest
from onnx_nets import invert_net, norm_net
from tiny_clips import picture, read, write_clip

from fastvid.runtime.finish import Finish
from fastvid.runtime.graph.statistics import blend_moments, moments_distance
from fastvid.runtime.live.loop import paint_live
from fastvid.runtime.live.realtime import RealtimeFile
from fastvid.runtime.live.statistics import FOLLOW_EVERY_S, MEMORY_S, SlowStatistics
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import Frame

RATE = 10


class Later:
    """An executor that runs a job when it is told to."""

    def __init__(self):
        self.jobs = []

    def submit(self, function, *args):
        future = Future()
        self.jobs.append((future, function, args))
        return future

    def run(self):
        """Run what waits; how many jobs that were."""
        jobs, self.jobs = self.jobs, []
        for future, function, args in jobs:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*args))
            except RuntimeError as error:
                future.set_exception(error)
        return len(jobs)


class Held:
    """A stylizer whose statistics are the mean level of a frame."""

    def __init__(self, level=None):
        self.level = level

    def measure(self, frame):
        mean = np.full((1, 1, 1, 1), frame.mean() / 255)
        return {"fastvid_mean_0": mean, "fastvid_variance_0": np.full_like(mean, 0.01)}

    def held_at(self, moments, frame):
        return Held(moments["fastvid_mean_0"].item() * 255)


def show(slow, later, levels, begin=0, run=True):
    """The level that each frame is painted at (None: its own) and how many jobs there were."""
    painted, num_jobs = [], 0
    for i, level in enumerate(levels, begin):
        image = picture(0) // 4 + np.uint8(level)
        painted.append(slow(Frame(image, i, Fraction(1, RATE))).level)
        num_jobs += later.run() if run else 0
    return painted, num_jobs


def level_of(value):
    return value + float((picture(0) // 4).mean())


@pytest.fixture
def later():
    return Later()


@pytest.fixture
def slow(later):
    return SlowStatistics(Held(), later)


# The average


def test_the_first_frame_has_its_own_statistics_and_then_holds_them(slow, later):
    painted, _ = show(slow, later, [100] * 5)
    assert painted[0] is None
    assert painted[1:] == pytest.approx([level_of(100)] * 4)
    assert slow.num_shots == 1


def test_frames_go_on_while_statistics_are_in_the_making(slow, later):
    painted, _ = show(slow, later, [100] * 30, run=False)
    assert painted == [None] * 30
    assert len(later.jobs) == 1  # no second job before the first one is done


def test_frames_are_measured_now_and_then_and_an_unmoved_average_is_kept(slow, later):
    _, num_jobs = show(slow, later, [100] * 10 * RATE)
    assert 6 <= num_jobs <= 9  # of a hundred frames: 4 at the beginning, then one in 2 seconds
    held = slow._average.held
    show(slow, later, [100] * 5 * RATE, begin=10 * RATE)
    assert slow._average.held is held


def test_the_average_follows_a_slow_change_in_small_steps(slow, later):
    ramp = [100 + round(20 * t / (20 * RATE)) for t in range(20 * RATE)]
    painted, _ = show(slow, later, ramp + [120] * 40 * RATE)
    levels = np.array([level for level in painted if level is not None])
    assert levels[-1] == pytest.approx(level_of(120), abs=1)
    assert np.all(np.diff(levels) > -0.1)
    assert np.diff(levels).max() < 20 * FOLLOW_EVERY_S / MEMORY_S
    assert slow.num_shots == 1


def test_a_flash_changes_nothing(slow, later):
    painted, _ = show(slow, later, [100] * 4 + [200] * 2 + [100] * 2)
    assert painted[4:6] == [None, None]
    assert painted[6:] == pytest.approx([level_of(100)] * 2)
    assert slow.num_shots == 1


@pytest.mark.parametrize("level", [20, 200])
def test_a_jump_of_the_exposure_begins_anew(slow, later, level):
    painted, _ = show(slow, later, [100] * 4 + [level] * 8)
    assert painted[3] == pytest.approx(level_of(100))
    assert painted[4:8] == [None] * 4  # three could be a flash
    assert painted[8:] == pytest.approx([level_of(level)] * 4)
    assert slow.num_shots == 2


def test_what_was_in_the_making_before_a_cut_is_thrown_away(slow, later):
    show(slow, later, [100] * 2, run=False)
    show(slow, later, [200] * 4, begin=2, run=False)
    assert len(later.jobs) == 2
    later.run()
    painted, _ = show(slow, later, [200] * 2, begin=6)
    assert painted == pytest.approx([level_of(200)] * 2)
    assert slow.num_shots == 1


def test_a_blank_picture_has_no_statistics(slow, later):
    black = Frame(np.zeros_like(picture(0)), 0, Fraction(1, RATE))
    assert slow(black).level is None
    assert later.jobs == []


def test_failing_statistics_leave_every_frame_its_own(later, caplog):
    class Failing(Held):
        def held_at(self, moments, frame):
            raise RuntimeError("out of memory")

    painted, num_jobs = show(SlowStatistics(Failing(), later), later, [100] * 50)
    assert (painted, num_jobs) == ([None] * 50, 1)
    assert "every frame has its own: out of memory" in caplog.text


# Real networks


def test_half_and_half_is_the_union_of_two_frames():
    one, other = OnnxStylizer(norm_net(), "net", "cpu"), OnnxStylizer(norm_net(), "net", "cpu")
    frames = np.stack([picture(0), 255 - picture(60) // 2])
    moments = [one.measure(frame) for frame in frames]
    union = blend_moments(*moments, 0.5)
    other.adapt(frames)
    held = one.held_at(union, frames[0])
    assert abs(held(frames).astype(int) - other(frames)).max() <= 1
    assert moments_distance(moments[0], moments[0]) == 0
    assert 0 < moments_distance(moments[0], union) < moments_distance(*moments)


def test_holding_makes_a_second_stylizer_and_leaves_the_first():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu")
    bright, dark = picture(0), picture(0) // 4
    own = stylizer(dark[None])
    held = stylizer.held_at(stylizer.measure(bright), bright)
    assert np.array_equal(stylizer(dark[None]), own)
    assert abs(held(bright[None]).astype(int) - stylizer(bright[None])).max() <= 1
    assert abs(held(dark[None]).astype(int) - own).max() > 10


def test_a_reduced_stylizer_holds_the_statistics_of_what_it_paints():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu")
    frame = picture(0)
    reduced = Reduced(stylizer, 24)
    held = reduced.held_at(reduced.measure(frame), frame)
    reduced.adapt(frame[None])
    assert np.array_equal(held(frame[None]), reduced(frame[None]))


@pytest.mark.parametrize(
    ("net", "statistics", "expected"),
    [
        (norm_net, "shot", ("slow", 1)),
        (norm_net, "frame", ("frame", 0)),
        (invert_net, "shot", ("slow", 0)),
    ],
)
def test_live_statistics_are_reported(tmp_path, net, statistics, expected):
    clip, target = write_clip(tmp_path / "clip.mp4", 25), tmp_path / "out.mp4"
    report = paint_live(
        RealtimeFile(clip), target, OnnxStylizer(net(), "net", "cpu"), Finish(), Encoding(),
        statistics=statistics,
    )  # fmt: skip
    assert len(read(target)[0]) == report.frames
    assert report.statistics == expected[0]
    assert report.shots <= expected[1]  # a machine too slow for it has not got that far
