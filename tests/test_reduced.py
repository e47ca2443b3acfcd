import numpy as np
import pytest
from onnx_nets import invert_net, norm_net
from tiny_clips import picture, read, write_clip

from fastvid.runtime.pipeline import stylize
from fastvid.runtime.reduced import Reduced
from fastvid.runtime.stylizer import OnnxStylizer


class Echo:
    """Paints what it is shown, and remembers it."""

    name, engine, device, metadata = "echo", "test", "cpu", {"title": "Echo"}

    def __init__(self):
        self.seen, self.adapted = [], []

    def __call__(self, frames):
        self.seen.append(frames.shape)
        return frames

    def adapt(self, frames):
        self.adapted.append(None if frames is None else frames.shape)


def edge(h=96, w=128):
    """A sharp vertical edge at an odd column."""
    frame = np.full((1, h, w, 3), 40, np.uint8)
    frame[:, :, w // 2 + 1 :] = 200
    return frame


def test_the_network_works_on_the_smaller_frame():
    echo = Echo()
    reduced = Reduced(echo, 24)
    frames = np.stack([picture(t, (96, 128)) for t in range(2)])
    assert reduced(frames).shape == frames.shape
    reduced.adapt(frames)
    reduced.adapt(None)
    assert echo.seen == [(1, 24, 32, 3)] * 2
    assert echo.adapted == [(2, 24, 32, 3), None]
    assert (reduced.name, reduced.engine, reduced.device) == ("echo", "test", "cpu")
    assert reduced.metadata["title"] == "Echo"


def test_frames_that_are_small_already_are_painted_as_they_are():
    echo = Echo()
    frames = picture(0, (24, 32))[None]
    np.testing.assert_array_equal(Reduced(echo, 24)(frames), frames)


def test_a_flat_picture_stays_flat():
    frame = np.full((1, 60, 80, 3), 77, np.uint8)
    np.testing.assert_array_equal(Reduced(Echo(), 20)(frame), frame)


@pytest.mark.parametrize("paint", [Echo(), OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")])
def test_edges_of_the_source_come_back_sharp(paint):
    frame = edge()
    expected = paint(frame).astype(int)
    found = Reduced(paint, 24)(frame).astype(int)
    h = frame.shape[1] // 2
    beside = found[0, h, [frame.shape[2] // 2, frame.shape[2] // 2 + 1], 0]
    wanted = expected[0, h, [frame.shape[2] // 2, frame.shape[2] // 2 + 1], 0]
    # Bilinear enlargement alone would bring the two columns within 40 levels of each other.
    assert abs(beside[1] - beside[0]) > 0.85 * abs(wanted[1] - wanted[0])
    assert abs(found - expected).mean() < 5


def test_strokes_that_the_source_does_not_know_stay():
    class Strokes(Echo):
        def __call__(self, frames):
            columns = np.arange(frames.shape[2]) // 4 % 2 * 100 + 50
            return np.broadcast_to(columns[:, None], frames.shape).astype(np.uint8)

    frame = np.full((1, 96, 128, 3), 90, np.uint8)
    found = Reduced(Strokes(), 48)(frame)
    assert found[0, 48, 3::16, 0].tolist() == [50] * 8
    assert found[0, 48, 11::16, 0].tolist() == [150] * 8


def test_a_film_is_painted_small_and_written_large(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    net = OnnxStylizer(norm_net(), "norm", "cpu", "onnxruntime")
    report = stylize(clip, tmp_path / "out.mp4", stylizer=net, work_height_px=24)
    assert read(tmp_path / "out.mp4")[0].shape == (3, 48, 64, 3)
    assert report.shots == 1


def test_a_work_height_below_what_networks_take_is_refused():
    with pytest.raises(ValueError, match="work height is 8 pixels, expected at least 16"):
        Reduced(Echo(), 8)


def test_frozen_it_paints_as_it_did(exported):
    frame, other = edge()[0], 255 - edge()[0]
    for height in (24, 200):
        reduced = Reduced(OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime"), height)
        reduced.adapt(frame[None])
        expected = reduced(frame[None])
        paint = reduced.frozen(frame, 2)
        reduced.adapt(other[None])
        np.testing.assert_array_equal(paint(frame[None]), expected)
    assert reduced.lanes((24, 32)) == OnnxStylizer(invert_net(), "net", "cpu").lanes((24, 32))
