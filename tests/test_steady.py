"""Smoothing over time on pictures whose motion is known."""

import cv2
import numpy as np
import pytest
from onnx_nets import invert_net, write
from tiny_clips import read, write_clip, write_picture

from fastvid.runtime.cli import main
from fastvid.runtime.film import Film, Painter
from fastvid.runtime.finish import Finish
from fastvid.runtime.steady import WEIGHT, Steady
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import VideoReader

SIZE = (96, 128)
WIDE = (96, 256)
INNER = (slice(8, -8), slice(8, -8))


def texture(size=SIZE, seed=0):
    """Strokes of several sizes, uint8 (H, W, 3)."""
    rough = np.random.default_rng(seed).normal(size=(*size, 3)).astype(np.float32)
    mixed = cv2.GaussianBlur(rough, (0, 0), 1.5) + 2 * cv2.GaussianBlur(rough, (0, 0), 6)
    return np.clip(128 + 50 * mixed / mixed.std(), 0, 255).astype(np.uint8)


def noisy(image, deviation, rng):
    return np.clip(image + rng.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def rms(one, other, where=INNER):
    return float(np.sqrt(np.mean((one[where].astype(float) - other[where]) ** 2)))


def sharpness(image):
    return float(cv2.Laplacian(image, cv2.CV_32F)[INNER].std())


def pan(step, count=12):
    """Views of a wide texture that move `step` pixels a frame."""
    wide = texture(WIDE)
    shifts = (np.array([[1, 0, -t * step], [0, 1, 0]], np.float32) for t in range(count))
    return [cv2.warpAffine(wide, s, WIDE[::-1], flags=cv2.INTER_CUBIC)[:, :128] for s in shifts]


def test_the_first_frame_is_untouched():
    painted = texture(seed=1)
    assert Steady()(texture(), painted) is painted


def test_a_still_with_flicker_gets_steadier():
    rng, steady = np.random.default_rng(0), Steady()
    source, clean = texture(), texture(seed=1)
    flickering = [noisy(clean, 6, rng) for _ in range(24)]
    steadied = [steady(noisy(source, 2, rng), painted) for painted in flickering]
    before, after = (np.stack(x)[8:].std(0).mean() for x in (flickering, steadied))
    # Independent noise under y = w y' + (1 - w) x has the variance (1 - w) / (1 + w).
    ideal = np.sqrt((1 - WEIGHT) / (1 + WEIGHT))
    assert ideal * 0.9 < after / before < ideal * 1.25
    assert rms(steadied[-1], clean) < 0.7 * rms(flickering[-1], clean)


@pytest.mark.parametrize("step", [1, 2.5, 4])
def test_a_pan_keeps_its_sharpness_and_leaves_no_ghosts(step):
    rng, steady, blind = np.random.default_rng(0), Steady(), Steady()
    views = pan(step)
    for view in views:
        painted = noisy(255 - view, 6, rng)
        steadied = steady(view, painted)
        clean = blind(view, 255 - view)
    truth = 255 - views[-1]
    assert rms(steadied, truth) < 0.75 * rms(painted, truth)
    assert rms(clean, truth) < 3  # of a contrast of 50; a ghost one pixel off would be 15
    assert sharpness(clean) > 0.97 * sharpness(truth)


def test_what_a_moving_object_uncovers_is_not_painted_over():
    ground, thing = texture(), texture(seed=2)
    steady = Steady()
    for t in range(8):
        view = ground.copy()
        corner = slice(30, 66), slice(10 + 5 * t, 46 + 5 * t)
        view[corner] = 255 - thing[corner] // 2
        painted = 255 - view
        steadied = steady(view, painted)
    trail = slice(30, 66), slice(10, 45)  # where the object was in the frames before
    assert rms(painted, 255 - ground, trail) == 0
    assert rms(steadied, painted, trail) < 4


def test_nothing_of_the_old_shot_remains_after_a_cut():
    steady = Steady()
    for _ in range(3):
        steady(texture(), texture(seed=1))
    painted = texture(seed=4)
    # The same colours, so that the histogram shows no cut; then others, so that it does.
    assert np.array_equal(steady(texture(seed=3), painted), painted)
    assert np.array_equal(steady(texture(seed=5) // 4, painted), painted)


def test_a_frame_of_another_size_and_forgetting_begin_anew():
    steady = Steady()
    steady(texture(), texture(seed=1))
    small = texture((48, 64), seed=2)
    assert steady(texture((48, 64)), small) is small
    other = 255 - small
    steady.forget()
    assert steady(texture((48, 64)), other) is other


def test_the_smallest_pictures_are_smoothed_too():
    steady, source = Steady(), texture((16, 16))
    steady(source, np.full((16, 16, 3), 100, np.uint8))
    steadied = steady(source, np.full((16, 16, 3), 200, np.uint8))
    assert steadied[8, 8, 0] == pytest.approx(200 - WEIGHT * 100, abs=2)


class Memory:
    """A writer that keeps the frames."""

    num_frames = 0
    codec = "none"

    def __init__(self):
        self.images = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def write(self, frame):
        self.images.append(frame.image)

    def close(self, partial=False):
        return None


def test_a_film_is_smoothed_in_order_and_before_the_finish(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 6)
    stylizer = OnnxStylizer(invert_net(), "net", "cpu")
    finish = Finish(strength=0.5)
    memory = Memory()
    Film(VideoReader(clip), lambda: memory, Painter(stylizer), finish, steady=Steady()).run()
    steady = Steady()
    expected = [finish(f, steady(f, stylizer(f[None])[0])) for f in read(clip)[0]]
    assert all(np.array_equal(a, b) for a, b in zip(memory.images, expected, strict=True))


@pytest.mark.parametrize("option", [["--workers", "2"], ["--ray", "local"]])
def test_pieces_of_a_film_cannot_look_back(capsys, option):
    with pytest.raises(SystemExit) as leaving:
        main(["clip.mp4", "--steady", *option])
    assert leaving.value.code == 2
    assert "--steady looks back" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["clip.mp4"], ["--realtime", "clip.mp4"], ["still.png"]])
def test_the_command_can_be_told_to_be_steady(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 4)
    write_picture(tmp_path / "still.png")
    write(tmp_path / "net.onnx", invert_net())
    target = "out" + words[-1][-4:]
    assert main([*words, "--steady", "--model", "net.onnx", "-o", target]) == 0
    painted, _ = read(tmp_path / target)
    assert 1 <= len(painted) <= 4
