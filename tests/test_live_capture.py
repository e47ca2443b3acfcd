"""What a camera gives: a film stands in for it, OpenCV reads both the same way."""

import itertools

import pytest
from tiny_clips import SIZE, picture, read, write_clip

from fastvid.runtime.live.camera import Camera
from fastvid.runtime.live.capture import Capture, Caught, Mailbox
from fastvid.runtime.live.realtime import RealtimeFile
from fastvid.video import Frame, MediaError

PATIENCE_S = 20.0  # of waits that end at once unless something is broken


@pytest.fixture
def recording(tmp_path):
    """A film that stands in for a camera: OpenCV reads both the same way."""
    return str(write_clip(tmp_path / "camera.mp4", 20))


def caught(number):
    return Caught(Frame(picture(number), number, 1), float(number))


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
