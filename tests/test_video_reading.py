import threading
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from fastvid.video import (
    Frame,
    MediaError,
    VideoReader,
    probe,
)

# Reading


def test_frames_are_the_pictures_with_their_times(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 6, options={"crf": "1"})
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [f.pts for f in frames] == [512 * i for i in range(6)]
    assert {f.duration for f in frames} == {512}
    for i, frame in enumerate(frames):
        wanted = np.roll(media.texture(seed=1), 2 * i, axis=1).astype(int)
        assert np.abs(frame.image - wanted).mean() < 2
        assert frame.image.flags.c_contiguous
    assert reader.report().complete
    assert str(reader.report()) == "complete"


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotated_films_come_upright(tmp_path: Path, rotation: int) -> None:
    path = media.write_video(
        tmp_path / "a.mp4", 2, picture=lambda _: media.quadrants(), rotation=rotation
    )
    info = probe(path)
    frame = next(iter(VideoReader(path)))
    wanted = np.rot90(media.quadrants(), rotation // 90)
    assert info.size == frame.image.shape[:2] == wanted.shape[:2]
    assert info.rotation == rotation % 360
    assert np.abs(frame.image.astype(int) - wanted).mean() < 8


def test_rotation_is_baked_in_and_not_tagged_again(tmp_path: Path) -> None:
    path = media.write_video(
        tmp_path / "a.mp4",
        3,
        picture=lambda _: media.quadrants(),
        rotation=-90,
        sample_aspect_ratio=Fraction(4, 3),
    )
    info = probe(media.copy_film(path, tmp_path / "b.mp4"))
    assert (info.height, info.width, info.rotation) == (64, 48, 0)
    assert info.sample_aspect_ratio == Fraction(3, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stills_turn_as_opencv_turns_them(tmp_path: Path, orientation: int) -> None:
    from fastvid.image import read_image

    path = media.write_jpeg(tmp_path / "a.jpg", media.quadrants(), orientation)
    (frame,) = VideoReader(path)
    assert frame.image.shape == read_image(path).shape
    assert np.abs(frame.image.astype(int) - read_image(path)).mean() < 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_stills_have_opencvs_colours(tmp_path: Path, suffix: str) -> None:
    from fastvid.image import read_image, write_image

    path = tmp_path / f"a{suffix}"
    write_image(path, media.texture((96, 128)))
    (frame,) = VideoReader(path)
    difference = np.abs(frame.image.astype(int) - read_image(path))
    # FFmpeg and OpenCV place the chroma of 4:2:0 half a pixel apart
    assert difference.mean() < 2 if suffix in (".jpg", ".webp") else difference.max() == 0


def test_grey_and_16_bit_stills_keep_their_levels(tmp_path: Path) -> None:
    import cv2

    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "g.png"), ramp)
    cv2.imwrite(str(tmp_path / "d.png"), np.dstack([ramp.astype(np.uint16) * 257] * 3))
    for name in ("g.png", "d.png"):
        (frame,) = VideoReader(tmp_path / name)
        assert np.abs(frame.image[..., 1].astype(int) - ramp).max() <= 1


@pytest.mark.parametrize(
    ("height_px", "size"), [(24, (24, 32)), (96, (96, 128)), (25, (25, 34)), (None, (48, 64))]
)
def test_working_height_keeps_the_aspect(tmp_path: Path, height_px: int, size: tuple) -> None:
    path = media.write_video(tmp_path / "a.mp4", 2)
    with VideoReader(path, height_px=height_px) as reader:
        assert reader.size == size == next(iter(reader)).image.shape[:2]
        assert reader.info.size == media.SIZE


def test_working_height_of_a_turned_film_counts_upright_rows(tmp_path: Path) -> None:
    path = media.write_video(
        tmp_path / "a.mp4", 2, picture=lambda _: media.quadrants(), rotation=90
    )
    with VideoReader(path, height_px=32) as reader:
        image = next(iter(reader)).image
    assert reader.size == image.shape[:2] == (32, 24)
    wanted = np.rot90(media.quadrants())[::2, ::2]
    assert np.abs(image.astype(int) - wanted).mean() < 12


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.9, 1.4), (1.25, None), (None, 0.5), (0.01, 9)])
def test_an_excerpt_is_exactly_the_frames_in_it(
    tmp_path: Path, suffix: str, start_s: float | None, end_s: float | None
) -> None:
    path = media.write_video(tmp_path / f"a{suffix}", 48)
    whole = list(VideoReader(path))
    zero = float(probe(path).start_s)
    wanted = [
        f for f in whole if (start_s or 0) <= f.time_s - zero < (99 if end_s is None else end_s)
    ]
    part = list(VideoReader(path, start_s, end_s))
    assert [f.pts for f in part] == [f.pts for f in wanted]
    for a, b in zip(part, wanted, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def test_empty_excerpts_are_refused(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 6)
    for start_s, end_s in ((2.0, 1.0), (1.0, 1.0), (-1.0, None), (5.0, None)):
        with pytest.raises(MediaError):
            VideoReader(path, start_s, end_s)


def test_one_frame_is_a_film(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 1)
    assert not probe(path).is_still
    assert len(list(VideoReader(media.copy_film(path, tmp_path / "b.mp4")))) == 1


def test_a_gif_is_a_film(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    media.write_video(path, 4, codec="gif", pixel_format="rgb8", time_base=Fraction(1, 100))
    with VideoReader(path) as reader:
        frames = list(reader)
    assert len(frames) == 4
    assert frames[0].image.shape == (*media.SIZE, 3)
    assert [f.pts for f in VideoReader(media.copy_film(path, tmp_path / "b.mp4"))]


def test_closing_ends_the_reading_early_from_any_thread(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 40)
    reader = VideoReader(path)
    seen: list[Frame] = []
    first, go_on = threading.Event(), threading.Event()

    def read() -> None:
        for frame in reader:
            seen.append(frame)
            first.set()
            go_on.wait(10)

    thread = threading.Thread(target=read)
    thread.start()
    assert first.wait(10)
    reader.close()
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(seen) <= 2
    reader.close()
    assert list(reader) == []


# Damage


def test_a_cut_film_says_what_is_missing(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        whole = media.write_video(tmp_path / f"a{suffix}", 60)
        with VideoReader(media.cut(whole, tmp_path / f"c{suffix}")) as reader:
            num_frames = len(list(reader))
        report = reader.report()
        assert 10 < num_frames < 50
        assert report.missing_frames == 60 - num_frames
        assert report.missing_s == pytest.approx((60 - num_frames) / 24)
        assert not report.complete
        assert "missing" in str(report)


def test_a_damaged_mkv_says_what_is_missing(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.mkv", 60)
    with VideoReader(media.damage(whole, tmp_path / "d.mkv")) as reader:
        num_frames = len(list(reader))
    assert num_frames < 60
    assert reader.report().missing_frames == 60 - num_frames


def test_a_damaged_mp4_counts_errors_and_goes_on(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.mp4", 60)
    with VideoReader(media.damage(whole, tmp_path / "d.mp4", 0.5, 0.6)) as reader:
        frames = list(reader)
    report = reader.report()
    assert frames[-1].pts == 59 * 512
    assert report.num_damaged > 0
    assert len(frames) + report.missing_frames == 60


def test_flipped_bytes_never_stop_the_reading(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".ts", ".avi"):
        codec = "mpeg4" if suffix == ".avi" else "libx264"
        base = Fraction(1, 24) if suffix == ".avi" else Fraction(1, 12288)
        whole = media.write_video(tmp_path / f"a{suffix}", 60, codec=codec, time_base=base)
        with VideoReader(media.flip_bytes(whole, tmp_path / f"f{suffix}")) as reader:
            times = [f.pts for f in reader]
        if suffix != ".mkv":  # there, a damaged element takes its whole cluster with it
            assert len(times) > 30
        assert times == sorted(set(times))
        assert not reader.report().complete


def test_whole_films_never_report_damage(tmp_path: Path) -> None:
    irregular = [0, 40, 50, 120, 121, 300, 340, 900, 1000, 1033]
    for suffix in (".mp4", ".mkv", ".webm", ".mov", ".ts"):
        codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
        sound = {".webm": "libopus", ".ts": "mp2"}.get(suffix, "aac")
        for pts in (None, irregular):
            path = media.write_video(
                tmp_path / f"a{suffix}",
                30,
                pts=pts,
                time_base=Fraction(1, 1000),
                codec=codec,
                sound=sound,
            )
            with VideoReader(path) as reader:
                assert len(list(reader)) == (10 if pts else 30)
            assert reader.report().complete, (suffix, pts, reader.report())
            with VideoReader(path, 0.1, 0.5) as reader:
                list(reader)
            assert reader.report().complete, (suffix, pts, reader.report())


def test_unreadable_images_of_a_sequence_are_named_and_leave_a_gap(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 4)
    media.write_text(folder / "x_0008.png")
    with VideoReader(folder) as reader:
        frames = list(reader)
    assert [f.pts for f in frames] == [0, 2, 3]
    assert "x_0008.png" in str(reader.report())
    assert reader.report().num_damaged == reader.report().missing_frames == 1
