from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from fastvid.video import (
    Frame,
    VideoWriter,
    probe,
)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_times_come_out_exactly(tmp_path: Path, suffix: str) -> None:
    pts = [0, 417, 834, 1668, 3000, 3001, 9000, 9500, 20000, 20417]
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 10000)
    source = media.write_video(tmp_path / f"a{suffix}", pts=pts, time_base=base)
    target = media.copy_film(source, tmp_path / f"b{suffix}")
    assert media.frame_times(target) == media.frame_times(source) == [p * base for p in pts]
    assert probe(target).duration_s == pytest.approx(probe(source).duration_s, abs=0.002)


def test_times_of_another_container_come_out_exactly(tmp_path: Path) -> None:
    source = media.write_video(
        tmp_path / "a.mkv", pts=[0, 33, 67, 100, 133, 500], time_base=Fraction(1, 1000)
    )
    assert media.frame_times(media.copy_film(source, tmp_path / "b.mp4")) == media.frame_times(
        source
    )


def test_a_late_first_frame_stays_late(tmp_path: Path) -> None:
    pts = [2048 + 512 * i for i in range(12)]
    source = media.write_video(tmp_path / "a.mp4", pts=pts, sound="aac")
    target = media.copy_film(source, tmp_path / "b.mp4")
    assert media.frame_times(target) == media.frame_times(source)
    assert float(media.frame_times(target)[0]) == pytest.approx(2048 / 12288, abs=0.001)


def test_a_broadcast_clock_is_set_to_zero(tmp_path: Path) -> None:
    pts = [900000 + 3750 * i for i in range(24)]
    source = media.write_video(tmp_path / "a.ts", pts=pts, time_base=Fraction(1, 90000))
    assert probe(source).start_s > 9
    target = media.copy_film(source, tmp_path / "b.mp4")
    steps = np.diff([float(t) for t in media.frame_times(source)])
    times = [float(t) for t in media.frame_times(target)]
    assert 0 <= times[0] < 0.1
    np.testing.assert_allclose(np.diff(times), steps, atol=1e-4)


def test_frames_must_come_in_order(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "a.mp4", 3))
    with VideoWriter(tmp_path / "b.mp4", info) as writer:
        writer.write(Frame(media.texture(), 512, info.time_base))
        with pytest.raises(ValueError, match="not later"):
            writer.write(Frame(media.texture(), 512, info.time_base))
        with pytest.raises(ValueError, match="uint8"):
            writer.write(Frame(media.texture().astype(float), 1024, info.time_base))
