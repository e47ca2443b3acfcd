"""Live painting without a camera, a display or a clock: a film stands in for the camera."""

import itertools
import os
import threading

import pytest
from onnx_nets import invert_net, write
from tiny_clips import (
    RATE,
    SIZE,
    picture,
    read,
    sound_packets,
    write_clip,
    write_clip_with_sound,
    write_picture,
)

from fastvid.runtime.film import Interrupted
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.camera import Camera
from fastvid.runtime.live.capture import Capture, Caught, Mailbox
from fastvid.runtime.live.loop import paint_live
from fastvid.runtime.live.realtime import RealtimeFile, pace
from fastvid.runtime.live.recorder import Recorder
from fastvid.runtime.live.window import has_display
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import Frame, MediaError, VideoReader

PATIENCE_S = 20.0  # of waits that end at once unless something is broken


@pytest.fixture
def recording(tmp_path):
    """A film that stands in for a camera: OpenCV reads both the same way."""
    return str(write_clip(tmp_path / "camera.mp4", 20))


@pytest.fixture
def _no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def invert():
    return OnnxStylizer(invert_net(), "net", "cpu")


class Screen:
    """A window that shows nothing; `keys` are pressed one after each frame."""

    def __init__(self, keys=""):
        self.keys = list(keys)
        self.images = []
        self.num_answered = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def show(self, image, lines=()):
        self.images.append(image)
        self.lines = list(lines)

    def fill_screen(self, fills):
        self.fills = fills

    def key(self):
        if len(self.images) == self.num_answered:  # asked again while no frame came
            return ""
        self.num_answered = len(self.images)
        return self.keys.pop(0) if self.keys else ""


class Slow:
    """A stylizer that is at work for as long as a source needs to give its next frames."""

    name, engine, device, metadata = "slow", "none", "cpu", {}

    def __init__(self):
        self.working, self.may_finish = threading.Event(), threading.Event()
        self.warm = False

    def adapt(self, frames):
        assert frames is None

    def at(self, seconds):
        pass

    def measure(self, frame):
        return None

    def __call__(self, frames):
        if self.warm:
            self.working.set()
            assert self.may_finish.wait(PATIENCE_S)
        self.warm = True  # the first call is the one that makes the engine
        return frames


class Script:
    """A source that gives its first frame, and the others while that one is being painted."""

    def __init__(self, path, slow):
        reader = VideoReader(path)
        self.source, self.info, self.size = reader.source, reader.info, reader.size
        self._reader, self._slow = reader, slow

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._slow.may_finish.set()

    def __iter__(self):
        frames = iter(self._reader)
        yield next(frames)
        assert self._slow.working.wait(PATIENCE_S)
        yield from frames

    def report(self):
        return self._reader.report()


def caught(number):
    return Caught(Frame(picture(number), number, 1), float(number))


# Pace


def test_a_paced_film_waits_for_each_frame_and_no_longer():
    now, waits = [100.0], []

    def wait(seconds):
        waits.append(round(seconds, 6))
        now[0] += seconds
        return False

    def slow_decoder():
        for i in range(5):
            if i == 3:
                now[0] += 2.5  # a frame that took longer to decode than it is shown
            yield Frame(picture(i), 10 + i, 1)

    given = [(frame.pts, now[0]) for frame in pace(slow_decoder(), lambda: now[0], wait)]
    assert waits == [1, 1, 0.5][: len(waits)]
    assert given == [(10, 100), (11, 101), (12, 102), (13, 104.5), (14, 104.5)]


def test_a_paced_film_ends_when_it_is_told_so():
    frames = (Frame(picture(i), i, 1) for i in range(5))
    assert [f.pts for f in pace(frames, lambda: 0.0, lambda seconds: seconds > 2)] == [0, 1, 2]


# The mailbox


def test_only_the_newest_frame_is_kept():
    mailbox = Mailbox()
    for number in range(3):
        mailbox.put(caught(number))
    assert mailbox.take(0).frame.pts == 2
    assert mailbox.take(0) is None
    assert (mailbox.num_caught, mailbox.num_dropped) == (3, 2)


def test_a_closed_mailbox_still_gives_its_last_frame():
    mailbox = Mailbox()
    mailbox.put(caught(0))
    mailbox.close()
    assert not mailbox.finished
    assert mailbox.take(PATIENCE_S).frame.pts == 0
    assert mailbox.finished
    assert mailbox.take(PATIENCE_S) is None


def test_what_ends_a_source_reaches_the_thread_that_paints(recording):
    class Broken(RealtimeFile):
        def __iter__(self):
            raise MediaError("unplugged")

    with Capture(Broken(recording)) as capture, pytest.raises(MediaError, match="unplugged"):
        capture.mailbox.take(PATIENCE_S)


# Cameras


def test_a_camera_gives_rgb_frames_with_rising_times(recording):
    ticks = itertools.count(0, 0.0004)
    with Camera(recording, clock=lambda: next(ticks)) as camera:
        frames = list(camera)
    assert camera.size == SIZE
    assert len(frames) == 19  # the first of the 20 was the probe
    assert [frame.pts for frame in frames] == list(range(19))
    film, _ = read(recording)
    nearest = min(abs(film.astype(int) - frames[-1].image).mean(axis=(1, 2, 3)))
    assert nearest < 4  # one of the film's frames, not its colours swapped


def test_a_camera_can_be_scaled_and_limited(recording):
    ticks = itertools.count(0.0, 0.1)
    with Camera(recording, height_px=24, length_s=0.45, clock=lambda: next(ticks)) as camera:
        assert [frame.image.shape for frame in camera] == [(24, 32, 3)] * 5


def test_a_missing_camera_is_one_clear_error(capfd):
    with pytest.raises(MediaError, match="camera:97: no such camera"):
        Camera(97)
    assert capfd.readouterr().err == ""


# The recorder


class Target:
    """A writer into memory."""

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


# All together


def test_frames_that_come_while_one_is_painted_are_dropped_but_for_the_newest(tmp_path):
    clip, target = write_clip(tmp_path / "clip.mp4", 6), tmp_path / "out.mp4"
    slow = Slow()
    report = paint_live(Script(clip, slow), target, slow, Finish(), Encoding())
    figures = report.as_dict()
    assert [figures[f"frames{kind}"] for kind in ("", "_captured", "_dropped")] == [2, 6, 4]
    painted, times = read(target)
    assert times == [0, 5 / RATE]  # the first one stays on until the last one
    film, _ = read(clip)
    assert abs(painted.astype(int) - film[[0, 5]]).mean() < 4


def test_a_film_in_real_time_keeps_its_times_and_its_sound(tmp_path, invert):
    clip, target = write_clip_with_sound(tmp_path / "clip.mp4", 8), tmp_path / "out.mp4"
    report = paint_live(RealtimeFile(clip), target, invert, Finish(), Encoding())
    painted, times = read(target)
    all_times = read(clip)[1]
    assert set(times) <= set(all_times)
    assert times[-1] == all_times[-1]  # the newest frame is never dropped
    assert len(painted) == report.frames == 8 - report.live["frames_dropped"]
    assert sound_packets(target) == sound_packets(clip)
    assert report.complete
    figures = report.as_dict()
    assert 0 < figures["latency_ms_p50"] <= figures["latency_ms_p95"]
    assert {"net_ms_p50", "show_ms_p50", "encode_ms_p50"} <= figures.keys()
    assert "live" not in figures


def test_a_camera_is_painted_into_a_file(recording, tmp_path, invert):
    target = tmp_path / "out.mp4"
    report = paint_live(Camera(recording), target, invert, Finish(), Encoding())
    painted, _ = read(target)
    assert len(painted) == report.frames >= 1
    assert painted.shape[1:] == (*SIZE, 3)


def test_a_window_shows_what_is_painted_until_it_is_closed(recording, invert):
    screen = Screen(keys="q")
    report = paint_live(
        RealtimeFile(recording), None, invert, Finish(), Encoding(), open_window=lambda: screen
    )
    assert len(screen.images) == report.frames == 1
    assert screen.closed
    film, _ = read(recording)
    assert min(abs((255 - film.astype(int)) - screen.images[0]).mean(axis=(1, 2, 3))) < 1
    assert report.complete  # the user closed it; nothing is damaged


@pytest.mark.usefixtures("_no_display")
def test_without_a_display_a_file_is_needed(recording, invert):
    if os.name == "nt":
        pytest.skip("Windows always has a display")
    assert not has_display()
    with pytest.raises(MediaError, match="no display for a window; -o FILE"):
        paint_live(Camera(recording), None, invert, Finish(), Encoding())


@pytest.mark.parametrize("is_camera", [True, False])
def test_ctrl_c_keeps_what_was_painted(recording, tmp_path, invert, is_camera):
    def press(done, expected, remark):
        raise KeyboardInterrupt

    target = tmp_path / "out.mp4"
    source = Camera(recording) if is_camera else RealtimeFile(recording)
    with pytest.raises(Interrupted) as interrupt:
        paint_live(source, target, invert, Finish(), Encoding(), on_frame=press)
    # What a camera gave is whole whenever it stops, of a film a part is missing.
    kept = target if is_camera else tmp_path / "out.partial.mp4"
    assert interrupt.value.kept == kept
    assert len(read(kept)[0]) == 1


def test_a_failing_network_leaves_no_file(recording, tmp_path, invert):
    class Failing(Slow):
        def __call__(self, frames):
            if self.warm:
                raise RuntimeError("out of memory")
            self.warm = True
            return frames

    with pytest.raises(RuntimeError, match="out of memory"):
        paint_live(Camera(recording), tmp_path / "out.mp4", Failing(), Finish(), Encoding())
    assert [path.name for path in tmp_path.iterdir()] == ["camera.mp4"]


# The command


@pytest.fixture
def infer(tmp_path, monkeypatch, capsys):
    """The command in this process: exit code, stdout, stderr."""
    from fastvid.runtime.cli import main

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "net.onnx", invert_net())

    def run(*words):
        try:
            code = main([*words, "--model", "net.onnx"])
        except SystemExit as leaving:
            code = leaving.code
        return code, *capsys.readouterr()

    return run


def test_the_command_plays_a_film_in_real_time(infer, tmp_path):
    write_clip(tmp_path / "clip.mp4", 5)
    code, out, err = infer("--realtime", "clip.mp4", "-o", "out.mp4", "--report", "report.json")
    assert (code, out) == (0, "out.mp4\n")
    assert "dropped, latency" in err
    assert "latency_ms_p95" in (tmp_path / "report.json").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.mp4", "b.mp4"], "exactly one film, not a.mp4, b.mp4"),
        (["camera:0"], "exactly one film, not camera:0"),
        (["--demo"], "exactly one film, not --demo"),
        (["still.png"], "still.png is none"),
        (["."], "is none"),
    ],
)
def test_real_time_needs_one_film(infer, tmp_path, words, message):
    write_picture(tmp_path / "still.png")
    code, out, err = infer("--realtime", *words)
    assert (code, out) == (2, "")
    assert message in err
