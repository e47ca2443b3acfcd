import pytest
from tiny_clips import picture

from fastvid.runtime.live.recorder import Recorder
from fastvid.video import Frame, MediaError


class Target:
    """A writer into memory."""

    codec = "none"

    def __init__(self, fails_at=None):
        self.frames, self.closed, self.aborted, self.fails_at = [], None, False, fails_at

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.aborted = kind is not None

    def write(self, frame):
        if frame.pts == self.fails_at:
            raise MediaError("disk full")
        self.frames.append(frame)

    def close(self, partial=False):
        self.closed = partial
        return "kept"


def record(target, times):
    with Recorder(lambda: target) as recorder:
        for pts in times:
            recorder.write(Frame(picture(), pts, 1, duration=1))
        return recorder.close()


def test_a_recorded_frame_lasts_until_the_next_one():
    target = Target()
    assert record(target, (0, 1, 5, 7)) == "kept"
    assert [(f.pts, f.duration) for f in target.frames] == [(0, 1), (1, 4), (5, 2), (7, 1)]
    assert (target.closed, target.aborted) == (False, False)


def test_a_failing_writer_fails_the_one_who_writes():
    target = Target(fails_at=0)
    with pytest.raises(MediaError, match="disk full"):
        record(target, range(100))  # more than there is room for
    assert target.aborted
    assert target.closed is None


def test_a_recorder_left_by_an_error_keeps_nothing():
    def times():
        yield 0
        raise KeyError

    target = Target()
    with pytest.raises(KeyError):
        record(target, times())
    assert target.aborted
    assert target.closed is None
