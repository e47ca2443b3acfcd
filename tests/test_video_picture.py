from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest

from fastvid.video import (
    Frame,
    VideoReader,
    VideoWriter,
    color,
    probe,
)


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(
    ("matrix", "tags", "size"),
    [
        (1, (1, 1, 1), (48, 64)),
        (5, (6, 6, 6), (48, 64)),
        (5, (5, 5, 6), (48, 64)),
        (9, (9, 9, 14), (48, 64)),
        (5, None, (48, 64)),
        (1, None, (720, 1280)),
    ],
)
def test_colours_and_tags_survive(
    tmp_path: Path, color_range: int, matrix: int, tags: tuple | None, size: tuple
) -> None:
    picture = media.quadrants(size)
    source = media.write_video(
        tmp_path / "a.mp4",
        2,
        size,
        picture=lambda _: picture,
        matrix=matrix,
        tags=tags,
        color_range=color_range,
        options={"crf": "4", "preset": "ultrafast"},
    )
    y, x = size[0] // 4, size[1] // 4
    spots = [(y, x), (y, 3 * x), (3 * y, x), (3 * y, 3 * x)]
    read = next(iter(VideoReader(source))).image
    target = media.copy_film(source, tmp_path / "b.mp4", crf=4, preset="ultrafast")
    again = next(iter(VideoReader(target))).image
    for spot in spots:
        assert np.abs(read[spot].astype(int) - picture[spot]).max() <= 4
        assert np.abs(again[spot].astype(int) - picture[spot]).max() <= 5
    info = probe(target)
    assert info.color_range == color_range
    hd_or_not = (1, 1, 1) if size[0] >= 720 else (6, 2, 2)
    assert (info.color_space, info.color_primaries, info.color_transfer) == (tags or hd_or_not)


def test_grey_ramp_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    source = media.write_video(tmp_path / "a.mp4", 1, picture=lambda _: ramp, options={"qp": "0"})
    read = next(iter(VideoReader(source))).image
    again = next(iter(VideoReader(media.copy_film(source, tmp_path / "b.mp4", crf=1)))).image
    assert np.abs(read.astype(int) - ramp).max() <= 1
    assert np.abs(again.astype(int) - ramp).max() <= 3


def test_the_luma_matrix_is_the_tagged_one(tmp_path: Path) -> None:
    # Y of pure red: 16 + 219 * 0.2126 = 62.6 in BT.709, 16 + 219 * 0.299 = 81.5 in BT.601
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    base = probe(media.write_video(tmp_path / "a.mp4", 1))
    for space, luma in ((1, 62.6), (6, 81.5)):
        target = tmp_path / f"{space}.mp4"
        with VideoWriter(target, replace(base, color_space=space), crf=1) as writer:
            writer.write(Frame(red, 0, base.time_base))
        with av.open(str(target)) as container:
            frame = next(container.decode(video=0))
        assert frame.colorspace == space
        assert frame.to_ndarray()[:48].mean() == pytest.approx(luma, abs=1)


def test_squeezed_pixels_stay_squeezed(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 2, sample_aspect_ratio=Fraction(4, 3))
    assert probe(source).sample_aspect_ratio == Fraction(4, 3)
    for suffix in (".mp4", ".mkv"):
        target = media.copy_film(source, tmp_path / f"b{suffix}")
        assert probe(target).sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (37, 53), (2, 2), (17, 16)])
def test_odd_and_tiny_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = media.texture(size)
    source = media.write_video(
        tmp_path / "a.mkv", 3, size, picture=lambda _: picture, codec="ffv1", pixel_format="bgr0"
    )
    target = media.copy_film(source, tmp_path / "b.mp4", crf=4)
    assert probe(target).size == size
    frames = list(VideoReader(target))
    assert len(frames) == 3
    if min(size) > 2:  # two by two pixels share one chroma sample
        assert np.abs(frames[0].image.astype(int) - picture).mean() < 6


def test_odd_sizes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = media.write_video(tmp_path / "a.mkv", 1, (37, 53), codec="ffv1", pixel_format="bgr0")
    media.copy_film(source, tmp_path / "b.mp4")
    assert "4:4:4" in caplog.text


def test_ten_bits_become_eight_with_the_same_picture(tmp_path: Path) -> None:
    source = media.write_video(
        tmp_path / "a.mp4",
        4,
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": "log-level=none"},
        picture=lambda _: media.quadrants(),
        sound="aac",
    )
    assert probe(source).bit_depth == 10
    target = media.copy_film(source, tmp_path / "b.mp4")
    assert probe(target).bit_depth == 8
    assert media.frame_times(target) == media.frame_times(source)
    image = next(iter(VideoReader(target))).image
    assert np.abs(image.astype(int) - media.quadrants()).mean() < 8


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le", "rgba", "gray"])
@pytest.mark.parametrize("size", [None, (30, 41), (75, 99)])
def test_large_pictures_have_the_same_colours(
    pixel_format: str, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    coded = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
    by_planes = color.to_rgb(coded, size)
    monkeypatch.setattr(color, "_LARGE_PIXELS", 0)
    assert np.array_equal(by_planes, color.to_rgb(coded, size))
    assert by_planes.shape == (*(size or (48, 64)), 3)


def test_hdr_comes_out_as_bt709(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = media.write_video(
        tmp_path / "a.mp4",
        4,
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": "log-level=none"},
        matrix=9,
        tags=(9, 9, 16),
        picture=lambda _: np.full((48, 64, 3), 128, np.uint8),
    )
    assert probe(source).is_hdr
    info = probe(media.copy_film(source, tmp_path / "b.mp4"))
    assert (info.color_space, info.color_primaries, info.color_transfer) == (6, 2, 2)
    assert "HDR" in caplog.text


def test_tone_mapping_keeps_greys_grey_and_order() -> None:
    # PQ 0.5 is 92.2 nits (ST 2084): 0.454 of SDR white, 255 * 0.454 ** (1 / 2.4) = 183.6
    codes = np.linspace(0, 65535, 64).astype(np.uint16)
    codes[32] = 32768
    mapped = color.tone_map(np.repeat(codes[None, :, None], 3, 2), color.PQ)[0]
    assert mapped[32, 1] == pytest.approx(183.6, abs=1)
    assert np.ptp(mapped.astype(int), axis=1).max() <= 1
    assert (np.diff(np.delete(mapped[:, 0], 32).astype(int)) >= 0).all()
    assert mapped[0, 0] == 0
    assert mapped[-1, 0] >= 250
    hlg = color.tone_map(np.repeat(codes[None, :, None], 3, 2), color.HLG)[0]
    assert (np.diff(np.delete(hlg[:, 0], 32).astype(int)) >= 0).all()


def test_frames_of_another_size_are_scaled(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, picture=lambda _: media.quadrants())
    with VideoReader(source, height_px=24) as reader:
        with VideoWriter(tmp_path / "b.mp4", reader.info, size=(96, 128)) as writer:
            for frame in reader:
                writer.write(frame)
    assert probe(tmp_path / "b.mp4").size == (96, 128)


@pytest.mark.parametrize(
    ("codec", "suffix", "size"),
    [
        ("libx265", ".mp4", (48, 64)),
        ("libx265", ".mkv", (37, 53)),
        ("libsvtav1", ".mp4", (64, 96)),
        ("prores_ks", ".mov", (48, 64)),
        ("prores_ks", ".mov", (37, 53)),
        ("ffv1", ".mkv", (37, 53)),
    ],
)
def test_other_codecs_keep_times_and_sound(
    tmp_path: Path, codec: str, suffix: str, size: tuple[int, int]
) -> None:
    source = media.write_video(
        tmp_path / "a.mkv", 6, size, codec="ffv1", pixel_format="bgr0", sound="aac"
    )
    target = media.copy_film(
        source, tmp_path / f"b{suffix}", codec=codec, crf=20, preset="ultrafast"
    )
    assert probe(target).size == size
    assert media.frame_times(target) == media.frame_times(source)
    sound = [data for _, data in media.packets(source, "audio")]
    assert [data for _, data in media.packets(target, "audio")] == sound


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_films_of_few_frames_keep_their_times(tmp_path: Path, codec: str) -> None:
    for num_frames in (1, 2, 3):
        source = media.write_video(tmp_path / "a.mp4", num_frames, (64, 64))
        for suffix in (".mp4", ".mkv"):
            target = media.copy_film(source, tmp_path / f"{num_frames}{suffix}", codec=codec)
            times = [float(t) for t in media.frame_times(target)]
            assert times == pytest.approx([i / 24 for i in range(num_frames)], abs=0.001)


def test_encoders_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, (64, 64))
    for codec in ("libx264", "libx265", "libsvtav1"):
        media.copy_film(source, tmp_path / f"{codec}.mp4", codec=codec)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_lower_crf_is_a_larger_file(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 6)
    for codec in ("libx264", "libx265"):
        fine = media.copy_film(source, tmp_path / f"f{codec}.mp4", codec=codec, crf=5)
        coarse = media.copy_film(source, tmp_path / f"c{codec}.mp4", codec=codec, crf=45)
        assert fine.stat().st_size > 1000 + coarse.stat().st_size


def test_mp4_has_its_index_in_front(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, sound="aac")
    data = media.copy_film(source, tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
