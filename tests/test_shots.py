from fractions import Fraction

import numpy as np
import pytest
from onnx_nets import norm_net, write
from tiny_clips import RATE, picture, read, write_picture

from fastvid.runtime.pipeline import stylize
from fastvid.runtime.shots import KEY_FRAMES, LOOK_AHEAD_FRAMES, in_shots
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import Frame, VideoInfo, VideoWriter

SIZE = (48, 64)
BLACK = np.zeros((*SIZE, 3), np.uint8)


def scene(number, t=0):
    """A textured picture; scenes differ in colour, frames of one scene in their texture only."""
    noise = np.random.default_rng(t).integers(-40, 40, (*SIZE, 1))
    color = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200)])[number % 3]
    return np.clip(color + noise, 0, 255).astype(np.uint8)


def film(*pictures):
    return [Frame(p, t, Fraction(1, RATE), 1) for t, p in enumerate(pictures)]


def shots(frames):
    """(index, keys) of every frame that brings key frames along."""
    found = list(in_shots(frames))
    assert [item.frame for item in found] == frames
    return [(t, item.keys) for t, item in enumerate(found) if item.keys is not None]


def places(keys, frames):
    """Which frames the key frames are."""
    return [next(t for t, f in enumerate(frames) if (f.image == key).all()) for key in keys]


def test_every_shot_brings_its_own_key_frames():
    frames = film(*[scene(0, t) for t in range(9)], *[scene(1, t) for t in range(20, 30)])
    (first, keys), (second, others) = shots(frames)
    assert (first, second) == (0, 9)
    assert places(keys, frames) == [1, 3, 5, 7]  # spread over the shot
    assert places(others, frames) == [10, 12, 15, 17]


def test_a_short_shot_has_as_many_key_frames_as_frames():
    frames = film(scene(0), scene(1, 1), scene(1, 2), scene(1, 3), scene(1, 4), scene(1, 5))
    assert [(t, len(keys)) for t, keys in shots(frames)] == [(0, 1), (1, KEY_FRAMES)]


def test_the_look_ahead_is_bounded():
    pulled = 0

    def source():
        nonlocal pulled
        for frame in film(*[scene(0, t) for t in range(3 * LOOK_AHEAD_FRAMES)]):
            pulled += 1
            yield frame

    for given, item in enumerate(in_shots(source()), 1):
        assert pulled <= given + LOOK_AHEAD_FRAMES
        if given == 1:
            assert item.keys is not None


def test_large_frames_are_held_in_smaller_numbers():
    large = np.broadcast_to(scene(0)[:1, :1], (4320, 7680, 3))  # 95 MiB each, of no memory
    pulled = []

    def source():
        for t in range(20):
            pulled.append(t)
            yield Frame(large, t, Fraction(1, RATE), 1)

    iterator = in_shots(source())
    next(iterator)
    next(iterator)
    assert len(pulled) == KEY_FRAMES + 1


def test_a_flash_is_no_shot_of_its_own():
    flash = np.full((*SIZE, 3), 250, np.uint8) - scene(0, 99) // 8
    frames = film(*[scene(0, t) for t in range(6)], flash, *[scene(0, t) for t in range(7, 14)])
    ((start, keys),) = shots(frames)
    assert start == 0
    assert 6 not in places(keys, frames)


def test_blank_frames_go_on_with_the_shot_before_and_end_it():
    blank = [BLACK] * 5
    frames = film(*[scene(0, t) for t in range(8)], *blank, *[scene(0, t) for t in range(8, 14)])
    assert [t for t, _ in shots(frames)] == [0, 13]
    frames = film(*[scene(0, t) for t in range(8)], *blank)
    assert [t for t, _ in shots(frames)] == [0]


def test_a_film_that_begins_blank_takes_the_shot_after():
    frames = film(*[BLACK] * 3, *[scene(2, t) for t in range(8)])
    (first, keys), (second, others) = shots(frames)
    assert (first, second) == (0, 3)
    np.testing.assert_array_equal(keys, others)


def test_a_film_of_one_colour_is_its_own_key():
    ((start, keys),) = shots(film(*[BLACK] * 4))
    assert start == 0
    assert not keys.any()


def test_no_frames_give_no_shots():
    assert shots([]) == []


@pytest.fixture
def two_shots(tmp_path):
    """Two scenes of 6 frames, smooth ones: coding changes them by little."""
    path = tmp_path / "clip.mp4"
    info = VideoInfo(path, SIZE[1], SIZE[0], Fraction(RATE), Fraction(1, RATE))
    with VideoWriter(path, info, SIZE, crf=1, preset="ultrafast") as writer:
        for frame in film(*[picture()] * 6, *[picture(20) // 3] * 6):
            writer.write(frame)
    return path


def test_a_film_is_painted_at_the_statistics_of_its_shots(two_shots, tmp_path):
    model = write(tmp_path / "norm.onnx", norm_net())
    report = stylize(two_shots, tmp_path / "a.mp4", style=model, device="cpu", crf=1)
    assert (report.statistics, report.shots) == ("shot", 2)
    stylizer = OnnxStylizer(norm_net(), "norm", "cpu")
    source, _ = read(two_shots)
    found, _ = read(tmp_path / "a.mp4")
    for shot, other in ((slice(0, 6), slice(6, 12)), (slice(6, 12), slice(0, 6))):
        distances = []
        for frames in (source[shot], source[other]):
            stylizer.adapt(frames)
            distances.append(abs(found[shot].astype(int) - stylizer(source[shot])).mean())
        assert distances[0] < distances[1] / 3


def test_frame_statistics_let_go_of_an_earlier_shot(two_shots, tmp_path):
    stylizer = OnnxStylizer(norm_net(), "norm", "cpu")
    stylizer.adapt(255 - scene(2)[None])
    report = stylize(two_shots, tmp_path / "a.mp4", stylizer=stylizer, statistics="frame", crf=1)
    assert (report.statistics, report.shots) == ("frame", 0)
    source, _ = read(two_shots)
    found, _ = read(tmp_path / "a.mp4")
    right = abs(found.astype(int) - OnnxStylizer(norm_net(), "norm", "cpu")(source)).mean()
    stylizer.adapt(255 - scene(2)[None])
    assert right < abs(found.astype(int) - stylizer(source)).mean() / 3


def test_images_are_painted_each_by_its_own(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write_picture(folder / f"{number}.png", 30 * number)
    model = write(tmp_path / "norm.onnx", norm_net())
    report = stylize(folder, style=model, device="cpu")
    assert report.statistics == "frame"
    source, _ = read(folder)
    painted, _ = read(tmp_path / "in.norm")
    np.testing.assert_array_equal(painted, OnnxStylizer(norm_net(), "norm", "cpu")(source))


def test_unknown_statistics_are_refused(two_shots, tmp_path):
    with pytest.raises(ValueError, match="statistics is 'film'; choices: shot, frame"):
        stylize(two_shots, tmp_path / "a.mp4", style="starry_night", statistics="film")
