"""The keys of the live window, without a window."""

from concurrent.futures import Future
from fractions import Fraction

import numpy as np
import pytest
from live_screen import Screen
from onnx_nets import invert_net
from tiny_clips import SIZE, picture, read, write_clip

from fastvid.runtime.finish import Finish
from fastvid.runtime.live.brush import Brush
from fastvid.runtime.live.controls import HELP, Controls, Styles
from fastvid.runtime.live.desk import Desk
from fastvid.runtime.live.loop import paint_live
from fastvid.runtime.live.realtime import RealtimeFile
from fastvid.runtime.live.window import write_lines
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import Frame


class Now:
    """An executor that does everything at once."""

    def submit(self, function, *args):
        future = Future()
        try:
            future.set_result(function(*args))
        except RuntimeError as error:
            future.set_exception(error)
        return future


class Plain:
    """A stylizer that paints everything in one level."""

    engine, device, metadata = "none", "cpu", {}

    def __init__(self, name, level):
        self.name, self.level = name, level

    def __call__(self, frames):
        return np.full_like(frames, self.level)

    def adapt(self, frames):
        assert frames is None

    def at(self, seconds):
        pass

    def measure(self, frame):
        return None


LEVELS = {"one": 10, "two": 20, "three": 30}


def load(name):
    return Plain(name, LEVELS[name])


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A desk at a film, and `type`: press keys one after the other, a frame before each."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 3)
    screen = Screen()
    brush = Brush(load("one"), Finish(), Now(), "shot", steady=False)
    styles = Styles(list(LEVELS), load, Now())
    source = RealtimeFile("clip.mp4")
    number = 0

    def press(keys):
        nonlocal number
        for key in keys:
            frame = Frame(picture(number), number * 512, Fraction(1, 12800))
            number += 1
            desk.show(frame, brush(frame))
            screen.keys = [key]
            going_on = desk.react()
        return going_on

    with Desk(screen, brush, source, Encoding(), styles) as desk:
        desk.press, desk.screen, desk.brush = press, screen, brush
        yield desk


def test_every_key_of_the_help_does_something():
    for line in HELP:
        for key in line[:4].split():
            controls = Controls(strength=0.5)
            controls.press(key)
            assert controls != Controls(strength=0.5), key


def test_other_keys_do_nothing():
    controls = Controls()
    for key in ("", "x", "7"):
        controls.press(key)
    assert controls == Controls()


def test_strength_stays_between_source_and_painting():
    controls = Controls(strength=0.95)
    for key, expected in (("+", 1.0), ("=", 1.0), ("-", 0.9)):
        controls.press(key)
        assert controls.strength == expected
    for _ in range(20):
        controls.press("-")
    assert controls.strength == 0


def test_the_original_and_both_can_be_shown():
    source, image = picture(0), 255 - picture(0)
    assert Controls().view(source, image) is image
    assert Controls(original=True).view(source, image) is source
    both = Controls(side_by_side=True).view(source, image)
    assert np.array_equal(both, np.concatenate([source, image], 1))
    assert Controls(side_by_side=True).view(source, both) is both


def test_styles_go_round_and_a_failing_one_changes_nothing(desk, caplog):
    desk.press("n")
    desk.press("x")
    assert desk.screen.images[-1][0, 0, 0] == 20
    desk.press("pp")
    desk.press("x")
    assert desk.screen.images[-1][0, 0, 0] == 30

    def broken(name):
        raise RuntimeError("no such file")

    desk._styles._load = broken
    desk.press("nx")
    assert desk.screen.images[-1][0, 0, 0] == 30
    assert "style one: no such file" in caplog.text


def test_a_style_paints_on_until_the_next_one_is_there():
    class Never:
        def submit(self, function, *args):
            return Future()

    styles = Styles(list(LEVELS), load, Never())
    styles.step(1)
    assert styles.name == "two"
    assert styles.arrived() is None
    styles.step(-1)
    assert styles._job is None  # it never stopped painting


def test_keys_change_strength_view_and_help(desk):
    desk.press("-----x")
    half = desk.screen.images[-1]
    assert abs(half.astype(int) - (picture(5).astype(int) + 10) / 2).max() <= 1
    desk.press("ohx")
    assert np.array_equal(desk.screen.images[-1], picture(8))
    assert desk.screen.lines == ["one, strength 0.5", *HELP]
    desk.press("f")
    assert desk.screen.fills is True
    assert desk.press("q") is False


def test_a_recording_begins_and_ends_with_its_key_and_takes_a_new_name(desk, tmp_path):
    desk.press("xr123r")
    desk.press("r4r")
    painted, times = read(tmp_path / "clip.one.mp4")
    assert painted.shape == (4, *SIZE, 3)
    assert times == pytest.approx([0, 0.04, 0.08, 0.12])
    assert len(read(tmp_path / "clip.one-2.mp4")[0]) == 2


def test_quitting_ends_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 25)
    screen = Screen(keys="rxxq")
    invert = OnnxStylizer(invert_net(), "invert", "cpu")
    report = paint_live(
        RealtimeFile("clip.mp4"), None, invert, Finish(), Encoding(), open_window=lambda: screen
    )
    assert screen.closed
    assert len(read(tmp_path / "clip.invert.mp4")[0]) == report.frames - 1


def test_text_is_written_on_a_copy():
    image = picture(0, (240, 320))
    kept = image.copy()
    written = write_lines(image, HELP)
    assert np.array_equal(image, kept)
    assert (written != image).any(2).mean() > 0.02
    assert write_lines(image, ()) is image
