"""Live painting without a camera, a display or a clock: a film stands in for the camera."""

import os
import threading

import pytest
from live_screen import Screen
from onnx_nets import invert_net, write
from tiny_clips import (
    RATE,
    SIZE,
    read,
    sound_packets,
    write_clip,
    write_clip_with_sound,
    write_picture,
)

from fastvid.runtime.film import Interrupted
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.camera import Camera
from fastvid.runtime.live.loop import paint_live
from fastvid.runtime.live.realtime import RealtimeFile
from fastvid.runtime.live.window import has_display
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import MediaError, VideoReader

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
        self.decoder = reader.decoder
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
    assert (figures["decoder"], figures["encoder"]) == ("software", "libx264")


def test_a_camera_is_painted_into_a_file(recording, tmp_path, invert):
    target = tmp_path / "out.mp4"
    report = paint_live(Camera(recording), target, invert, Finish(), Encoding())
    painted, _ = read(target)
    assert len(painted) == report.frames >= 1
    assert painted.shape[1:] == (*SIZE, 3)
    assert (report.decoder, report.encoder) == ("", "libx264")


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
    assert report.encoder == ""


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
