import itertools
import os
from pathlib import Path

import pytest
from onnx_nets import invert_net
from tiny_clips import SIZE, read, write_clip

from fastvid.runtime.finish import Finish
from fastvid.runtime.live import Camera, LiveWriter, has_display, paint_live
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import MediaError


@pytest.fixture
def recording(tmp_path):
    """A film that stands in for a camera: OpenCV reads both the same way."""
    return str(write_clip(tmp_path / "camera.mp4", 20))


@pytest.fixture
def _no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_a_camera_gives_rgb_frames_with_rising_times(recording):
    with Camera(recording) as camera:
        frames = list(camera)
    assert camera.size == SIZE
    assert 1 <= len(frames) <= 20
    times = [frame.pts for frame in frames]
    assert times[0] == 0
    assert all(b > a for a, b in itertools.pairwise(times))
    film, _ = read(recording)
    nearest = min(abs(film.astype(int) - frames[-1].image).mean(axis=(1, 2, 3)))
    assert nearest < 4  # one of the film's frames, not its colours swapped


def test_only_the_newest_frame_is_kept(recording):
    with Camera(recording) as camera:
        frames = iter(camera)
        next(frames)
        camera._thread.join()  # the whole recording passes while nobody asks
        rest = list(frames)
    assert len(rest) <= 1
    assert camera.num_captured == 19  # the first of the 20 was the probe


def test_a_camera_can_be_scaled_and_closed(recording):
    with Camera(recording, height_px=24) as camera:
        frames = iter(camera)
        assert next(frames).image.shape == (24, 32, 3)
        camera.close()


def test_a_missing_camera_is_one_clear_error(capfd):
    with pytest.raises(MediaError, match="camera:97: no such camera"):
        Camera(97)
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("_no_display")
def test_without_a_display_a_camera_needs_a_file(recording):
    if os.name == "nt":
        pytest.skip("Windows always has a display")
    assert not has_display()
    stylizer = OnnxStylizer(invert_net(), "net", "cpu")
    with pytest.raises(MediaError, match="no display for a window; -o FILE"):
        paint_live(Camera(recording), None, stylizer, Finish(), Encoding())


@pytest.mark.usefixtures("_no_display")
def test_a_camera_is_painted_into_a_file(recording, tmp_path):
    stylizer = OnnxStylizer(invert_net(), "net", "cpu")
    target = tmp_path / "out.mp4"
    report = paint_live(Camera(recording), target, stylizer, Finish(), Encoding())
    painted, _ = read(target)
    assert len(painted) == report.frames >= 1
    assert painted.shape[1:] == (*SIZE, 3)


def test_a_recording_is_never_called_partial(tmp_path):
    class File:
        def close(self, partial=False):
            assert not partial
            return tmp_path / "x.mp4"

    writer = LiveWriter(File(), False, None)
    assert writer.close(partial=True) == Path(tmp_path / "x.mp4")
    assert writer.num_frames == 0
