import gc
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from av.video.frame import VideoFrame

from fastvid.video import (
    Frame,
    ImageWriter,
    MediaError,
    SequenceWriter,
    VideoReader,
    VideoWriter,
    color,
    open_writer,
    probe,
)


def copy_film(source: Path, target: Path, **options: object) -> Path:
    """The film read and written again, with nothing painted."""
    excerpt = {k: options[k] for k in ("start_s", "end_s") if k in options}
    with (
        VideoReader(source, **excerpt) as reader,  # type: ignore[arg-type]
        VideoWriter(target, reader.info, **options) as writer,  # type: ignore[arg-type]
    ):
        for frame in reader:
            writer.write(frame)
    return target


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


# What a source is


def test_probe_says_what_a_film_is(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 12, sound="aac")
    info = probe(path)
    assert info.size == media.SIZE
    assert info.frame_rate == 24
    assert info.num_frames == 12
    assert info.duration_s == pytest.approx(0.5)
    assert info.has_audio
    assert not info.is_still
    assert info.bit_depth == 8
    assert info.rotation == 0


def test_probe_says_what_a_still_and_a_sequence_are(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 3)
    still = probe(folder / "x_0008.png")
    assert still.is_still
    assert still.size == media.SIZE
    for source in (folder, folder / "x_%04d.png", folder / "x_*.png"):
        info = probe(source)
        assert (info.num_frames, info.is_still, info.size) == (3, False, media.SIZE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d / "none.mp4", "no such file"),
        (lambda d: media.write_empty(d / "e.mp4"), "is empty"),
        (lambda d: media.write_text(d / "t.mp4"), "not a film"),
        (lambda d: media.write_text(d / "t.png"), "not an image"),
        (lambda d: media.write_empty(d / "e.png"), "is empty"),
        (lambda d: media.write_sound(d / "s.m4a"), "no video stream"),
        (lambda d: media.write_huge_png(d / "h.png"), "more than can be read"),
        (lambda d: d, "no image found"),
        (lambda d: d / "x_%04d.png", "no image found"),
        (lambda d: d / "*.png", "no image found"),
        (lambda d: Path("http://example.invalid/a.mp4"), "only local files"),
        (lambda d: Path("/dev/zero"), "not a file"),
        (lambda d: d / ("a" * 300 + ".mp4"), "no such file"),
    ],
)
def test_bad_sources_are_one_line(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path)
    with pytest.raises(MediaError, match=message) as caught:
        probe(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match=message):
        VideoReader(path)


def test_a_cut_film_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.mp4", 24, faststart=False)
    with pytest.raises(MediaError, match="cut off"):
        probe(media.cut(whole, tmp_path / "c.mp4", 0.5))


def test_huge_films_are_refused_before_decoding(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", 2, codec="ffv1", pixel_format="yuv420p")
    data = path.read_bytes()
    narrow = b"\xb0\x81\x40\xba\x81\x30"  # Matroska PixelWidth 64, PixelHeight 48
    assert data.count(narrow) == 1
    # same length: one-byte ids, widths of 60000 need two bytes, taken from the height's element
    wide = b"\xb0\x82\xea\x60\xec\x80"  # PixelWidth 60000, an empty Void; the height is unsaid
    (tmp_path / "h.mkv").write_bytes(data.replace(narrow, wide))
    with pytest.raises(MediaError):
        probe(tmp_path / "h.mkv")


def test_an_endless_claim_is_refused(tmp_path: Path) -> None:
    pts = [0, 1000, 10**9]
    path = media.write_video(tmp_path / "a.mkv", pts=pts, time_base=Fraction(1, 1000))
    with pytest.raises(MediaError, match="hours"):
        probe(path)


def test_a_playlist_is_never_followed(tmp_path: Path) -> None:
    inner = media.write_video(tmp_path / "secret.ts", 6)
    for name in ("p.mp4", "p.m3u8"):
        with pytest.raises(MediaError, match="not a film"):
            probe(media.write_playlist(tmp_path / name, inner))
    (tmp_path / "c.mp4").write_text(f"ffconcat version 1.0\nfile '{inner}'\n")
    with pytest.raises(MediaError, match="not a film"):
        probe(tmp_path / "c.mp4")


def test_protocols_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_video(tmp_path / "a.ts", 3)
    for name in ("concat:a.ts|a.ts", "subfile,,start,0,end,9,,:a.ts", "file:a.ts", "async:a.ts"):
        with pytest.raises(MediaError, match="no such file"):
            probe(name)
    os.rename("a.ts", "concat:a.ts|a.ts")
    assert probe("concat:a.ts|a.ts").size == media.SIZE


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "映画 é.mp4", "x%03d.mp4", "a:b.mp4", "-y.mp4", "a[1]*.mp4", "a'b\"c.mp4"],
)
def test_any_name_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_video(Path(name), 3)
    copy_film(Path(name), Path("out " + name))
    assert len(list(VideoReader("out " + name))) == 3
    assert names(tmp_path) == {name, "out " + name}


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
    info = probe(copy_film(path, tmp_path / "b.mp4"))
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
    assert len(list(VideoReader(copy_film(path, tmp_path / "b.mp4")))) == 1


def test_a_gif_is_a_film(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    media.write_video(path, 4, codec="gif", pixel_format="rgb8", time_base=Fraction(1, 100))
    with VideoReader(path) as reader:
        frames = list(reader)
    assert len(frames) == 4
    assert frames[0].image.shape == (*media.SIZE, 3)
    assert [f.pts for f in VideoReader(copy_film(path, tmp_path / "b.mp4"))]


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


# Sequences


def test_sequences_sort_naturally_and_start_anywhere(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 4, first=8, pattern="x%d.png")
    media.write_images(tmp_path / "s", 1, first=1, pattern="other%d.png")
    for source in (folder / "x%d.png", folder / "x*.png"):
        frames = list(VideoReader(source))
        assert [f.name for f in frames] == ["x8.png", "x9.png", "x10.png", "x11.png"]
        assert [f.pts for f in frames] == [0, 1, 2, 3]
        for i, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.image, media.texture(seed=i))
    assert len(list(VideoReader(folder))) == 5


def test_holes_in_the_numbering_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = media.write_images(tmp_path / "s", 4)
    (folder / "x_0008.png").unlink()
    assert len(list(VideoReader(folder / "x_%04d.png"))) == 3
    assert "1 numbers missing, first 8" in caplog.text


def test_images_of_a_folder_keep_their_sizes_and_names(tmp_path: Path) -> None:
    from fastvid.image import read_image, write_image

    folder = tmp_path / "s"
    folder.mkdir()
    write_image(folder / "a.jpg", media.texture((20, 30)))
    write_image(folder / "b.bmp", media.texture((40, 20)))
    writer = open_writer(tmp_path / "out", probe(folder))
    with VideoReader(folder) as reader, writer:
        for frame in reader:
            writer.write(frame)
    assert names(tmp_path / "out") == {"a.jpg", "b.png"}
    assert read_image(tmp_path / "out" / "a.jpg").shape == (20, 30, 3)
    assert read_image(tmp_path / "out" / "b.png").shape == (40, 20, 3)


def test_a_sequence_becomes_a_film_and_back(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 5)
    with VideoReader(folder, frame_rate=10) as reader:
        film = tmp_path / "a.mkv"
        with VideoWriter(film, reader.info, codec="ffv1") as writer:
            for frame in reader:
                writer.write(frame)
    assert media.frame_times(film) == [Fraction(i, 10) for i in range(5)]
    with VideoReader(film) as reader, open_writer(tmp_path / "o" / "y_%03d.png", reader.info) as w:
        for frame in reader:
            w.write(frame)
    assert names(tmp_path / "o") == {f"y_00{i}.png" for i in range(1, 6)}
    for i, frame in enumerate(VideoReader(tmp_path / "o")):  # FFV1 and PNG are lossless
        np.testing.assert_array_equal(frame.image, media.texture(seed=i))


def test_sequences_are_not_written_over(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 2)
    for target in (folder, folder / "x_%04d.png"):
        with pytest.raises(MediaError, match="exists already"):
            SequenceWriter(target)
    with SequenceWriter(folder / "x_%04d.png", overwrite=True, start_number=7) as writer:
        writer.write(Frame(media.quadrants(), 0, Fraction(1, 24)))
    np.testing.assert_array_equal(next(iter(VideoReader(folder))).image, media.quadrants())


# Writing: time


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_times_come_out_exactly(tmp_path: Path, suffix: str) -> None:
    pts = [0, 417, 834, 1668, 3000, 3001, 9000, 9500, 20000, 20417]
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 10000)
    source = media.write_video(tmp_path / f"a{suffix}", pts=pts, time_base=base)
    target = copy_film(source, tmp_path / f"b{suffix}")
    assert media.frame_times(target) == media.frame_times(source) == [p * base for p in pts]
    assert probe(target).duration_s == pytest.approx(probe(source).duration_s, abs=0.002)


def test_times_of_another_container_come_out_exactly(tmp_path: Path) -> None:
    source = media.write_video(
        tmp_path / "a.mkv", pts=[0, 33, 67, 100, 133, 500], time_base=Fraction(1, 1000)
    )
    assert media.frame_times(copy_film(source, tmp_path / "b.mp4")) == media.frame_times(source)


def test_a_late_first_frame_stays_late(tmp_path: Path) -> None:
    pts = [2048 + 512 * i for i in range(12)]
    source = media.write_video(tmp_path / "a.mp4", pts=pts, sound="aac")
    target = copy_film(source, tmp_path / "b.mp4")
    assert media.frame_times(target) == media.frame_times(source)
    assert float(media.frame_times(target)[0]) == pytest.approx(2048 / 12288, abs=0.001)


def test_a_broadcast_clock_is_set_to_zero(tmp_path: Path) -> None:
    pts = [900000 + 3750 * i for i in range(24)]
    source = media.write_video(tmp_path / "a.ts", pts=pts, time_base=Fraction(1, 90000))
    assert probe(source).start_s > 9
    target = copy_film(source, tmp_path / "b.mp4")
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


# Writing: picture


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
    target = copy_film(source, tmp_path / "b.mp4", crf=4, preset="ultrafast")
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
    again = next(iter(VideoReader(copy_film(source, tmp_path / "b.mp4", crf=1)))).image
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
        target = copy_film(source, tmp_path / f"b{suffix}")
        assert probe(target).sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (37, 53), (2, 2), (17, 16)])
def test_odd_and_tiny_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = media.texture(size)
    source = media.write_video(
        tmp_path / "a.mkv", 3, size, picture=lambda _: picture, codec="ffv1", pixel_format="bgr0"
    )
    target = copy_film(source, tmp_path / "b.mp4", crf=4)
    assert probe(target).size == size
    frames = list(VideoReader(target))
    assert len(frames) == 3
    if min(size) > 2:  # two by two pixels share one chroma sample
        assert np.abs(frames[0].image.astype(int) - picture).mean() < 6


def test_odd_sizes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = media.write_video(tmp_path / "a.mkv", 1, (37, 53), codec="ffv1", pixel_format="bgr0")
    copy_film(source, tmp_path / "b.mp4")
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
    target = copy_film(source, tmp_path / "b.mp4")
    assert probe(target).bit_depth == 8
    assert media.frame_times(target) == media.frame_times(source)
    image = next(iter(VideoReader(target))).image
    assert np.abs(image.astype(int) - media.quadrants()).mean() < 8


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
    info = probe(copy_film(source, tmp_path / "b.mp4"))
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
    target = copy_film(source, tmp_path / f"b{suffix}", codec=codec, crf=20, preset="ultrafast")
    assert probe(target).size == size
    assert media.frame_times(target) == media.frame_times(source)
    sound = [data for _, data in media.packets(source, "audio")]
    assert [data for _, data in media.packets(target, "audio")] == sound


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_films_of_few_frames_keep_their_times(tmp_path: Path, codec: str) -> None:
    for num_frames in (1, 2, 3):
        source = media.write_video(tmp_path / "a.mp4", num_frames, (64, 64))
        for suffix in (".mp4", ".mkv"):
            target = copy_film(source, tmp_path / f"{num_frames}{suffix}", codec=codec)
            times = [float(t) for t in media.frame_times(target)]
            assert times == pytest.approx([i / 24 for i in range(num_frames)], abs=0.001)


def test_encoders_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, (64, 64))
    for codec in ("libx264", "libx265", "libsvtav1"):
        copy_film(source, tmp_path / f"{codec}.mp4", codec=codec)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_lower_crf_is_a_larger_file(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 6)
    for codec in ("libx264", "libx265"):
        fine = copy_film(source, tmp_path / f"f{codec}.mp4", codec=codec, crf=5)
        coarse = copy_film(source, tmp_path / f"c{codec}.mp4", codec=codec, crf=45)
        assert fine.stat().st_size > 1000 + coarse.stat().st_size


def test_mp4_has_its_index_in_front(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, sound="aac")
    data = copy_film(source, tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


# Writing: sound and the rest


@pytest.mark.parametrize(
    ("source", "target", "sound"),
    [
        ("a.mp4", "b.mp4", "aac"),
        ("a.mp4", "b.mkv", "aac"),
        ("a.mkv", "b.mp4", "aac"),
        ("a.mkv", "b.mp4", "libopus"),
        ("a.mkv", "b.mp4", "flac"),
        ("a.mkv", "b.mp4", "ac3"),
        ("a.mkv", "b.mp4", "libmp3lame"),
        ("a.mkv", "b.mkv", "pcm_s16le"),
        ("a.mov", "b.mov", "pcm_s16le"),
        ("a.mkv", "b.webm", "libopus"),
    ],
)
def test_sound_packets_are_copied_byte_for_byte(
    tmp_path: Path, source: str, target: str, sound: str
) -> None:
    path = media.write_video(tmp_path / source, 24, (64, 64), sound=sound)
    codec = "libsvtav1" if target.endswith("webm") else "libx264"
    out = copy_film(path, tmp_path / target, codec=codec)
    wanted, got = media.packets(path, "audio"), media.packets(out, "audio")
    assert len(wanted) > 5
    assert [data for _, data in got] == [data for _, data in wanted]
    if source[1:] == target[1:]:
        assert [pts for pts, _ in got] == [pts for pts, _ in wanted]


@pytest.mark.parametrize(
    ("source", "target", "sound", "codec"),
    [
        ("a.mkv", "b.mp4", "pcm_s16le", "aac"),
        ("a.mkv", "b.mov", "libopus", "aac"),
        ("a.mkv", "b.mov", "flac", "aac"),
    ],
)
def test_sound_that_does_not_fit_is_encoded_and_told(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: str,
    target: str,
    sound: str,
    codec: str,
) -> None:
    path = media.write_video(tmp_path / source, 24, sound=sound)
    out = copy_film(path, tmp_path / target)
    assert "encoded anew as aac" in caplog.text
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == codec
        seconds = sum(f.samples for f in container.decode(audio=0)) / stream.rate
    assert seconds == pytest.approx(1.08, abs=0.1)


def test_sound_can_be_encoded_or_left_out(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 12, sound="aac")
    assert not probe(copy_film(path, tmp_path / "n.mp4", audio="none")).has_audio
    encoded = copy_film(path, tmp_path / "e.mp4", audio="aac")
    assert media.packets(encoded, "audio") != media.packets(path, "audio")
    with av.open(str(encoded)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(sound[4800 : 4800 + 9600]))
    assert spectrum.argmax() * 48000 / 9600 == pytest.approx(440, abs=6)


def test_sound_of_an_excerpt_starts_with_it(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 72, sound="aac")
    out = copy_film(path, tmp_path / "b.mp4", start_s=1.0, end_s=2.0)
    assert media.frame_times(out) == [Fraction(i, 24) for i in range(24)]
    wanted = [d for t, d in media.packets(path, "audio") if 48000 <= t < 96000]
    got = media.packets(out, "audio")
    assert [data for _, data in got] == wanted
    first = next(t for t, _ in media.packets(path, "audio") if t >= 48000) - 48000
    assert got[0][0] == pytest.approx(first, abs=48)  # a millisecond
    encoded = copy_film(path, tmp_path / "c.mp4", start_s=1.0, end_s=2.0, audio="aac")
    with av.open(str(encoded)) as container:
        seconds = sum(f.samples for f in container.decode(audio=0)) / 48000
    assert seconds == pytest.approx(1.0, abs=0.06)


def test_sound_and_picture_are_interleaved(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 96, sound="aac")
    out = copy_film(path, tmp_path / "b.mp4")
    with av.open(str(out)) as container:
        places = {"video": [], "audio": []}
        for packet in container.demux():
            if packet.dts is not None:
                time = float(packet.dts * packet.time_base)
                places[packet.stream.type].append((packet.pos, time))
    everything = sorted((p, t, k) for k, v in places.items() for p, t in v)
    latest = {"video": 0.0, "audio": 0.0}
    for _, moment, kind in everything:
        latest[kind] = moment
        assert abs(latest["video"] - latest["audio"]) < 1.5


def test_sound_longer_than_the_picture_is_kept_whole(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 12, sound="aac", sound_s=3.0)
    out = copy_film(path, tmp_path / "b.mp4")
    assert media.packets(out, "audio") == media.packets(path, "audio")


def test_titles_are_copied(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 3, metadata={"title": "A walk", "artist": "X"})
    for suffix in (".mp4", ".mkv"):
        with av.open(str(copy_film(path, tmp_path / f"b{suffix}"))) as container:
            tags = {k.lower(): v for k, v in container.metadata.items()}
        assert (tags["title"], tags["artist"]) == ("A walk", "X")


def write_with_subtitles(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        srt = path.with_suffix(".srt")
        srt.write_text("1\n00:00:00,100 --> 00:00:00,400\nHello\n\n")
        text = av.open(str(srt))
        words = out.add_stream_from_template(text.streams.subtitles[0])
        tick = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": 0, "start": 0, "end": 500, "time_base": tick, "metadata": {"title": "One"}},
                {
                    "id": 1,
                    "start": 500,
                    "end": 999,
                    "time_base": tick,
                    "metadata": {"title": "Two"},
                },
            ]
        )
        for i in range(24):
            frame = VideoFrame.from_ndarray(media.texture(), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for packet in text.demux():
            if packet.dts is not None:
                packet.stream = words
                out.mux(packet)
        text.close()
    return path


def test_subtitles_and_chapters_go_along_or_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_with_subtitles(tmp_path / "a.mkv", "subrip")
    out = copy_film(path, tmp_path / "b.mkv")
    assert media.packets(out, "subtitles")[0][1] == media.packets(path, "subtitles")[0][1]
    with av.open(str(out)) as container:
        chapters = container.chapters()
    assert [c["metadata"]["title"] for c in chapters] == ["One", "Two"]
    assert caplog.text == ""
    copy_film(path, tmp_path / "b.mp4")
    assert "subtitle" in caplog.text
    with av.open(str(copy_film(path, tmp_path / "c.mkv", start_s=0.6))) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["Two"]


# Writing: what appears under the final name


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3)
    target = media.write_text(tmp_path / "b.mp4")
    before = target.read_bytes()
    with pytest.raises(MediaError, match="exists already"):
        VideoWriter(target, probe(source))
    assert target.read_bytes() == before
    copy_film(source, target, overwrite=True)
    assert len(list(VideoReader(target))) == 3
    assert names(tmp_path) == {"a.mp4", "b.mp4"}


def test_a_target_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3)
    with VideoReader(source) as reader:
        writer = VideoWriter(tmp_path / "b.mp4", reader.info)
        for frame in reader:
            writer.write(frame)
    media.write_text(tmp_path / "b.mp4")
    with pytest.raises(MediaError, match=r"b\.partial\.mp4"):
        writer.close()
    assert (tmp_path / "b.mp4").read_text().startswith("This")
    assert len(list(VideoReader(tmp_path / "b.partial.mp4"))) == 3


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3, sound="aac")

    def fail() -> None:
        with VideoReader(source) as reader, VideoWriter(tmp_path / "b.mp4", reader.info) as writer:
            for frame in reader:
                writer.write(frame)
                raise KeyError("painting failed")

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == {"a.mp4"}


def test_a_partial_film_is_playable_and_keeps_its_name_apart(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 48, sound="aac")
    for expected in ("b.partial.mp4", "b.partial-2.mp4"):
        with VideoReader(source) as reader, VideoWriter(tmp_path / "b.mp4", reader.info) as writer:
            for frame in reader:
                writer.write(frame)
                if writer.num_frames == 20:
                    break
            kept = writer.close(partial=True)
        assert kept == tmp_path / expected
        assert media.frame_times(kept) == media.frame_times(source)[:20]
        seconds = len(media.packets(kept, "audio")) * 1024 / 48000
        assert seconds == pytest.approx(20 / 24, abs=0.05)
    assert not (tmp_path / "b.mp4").exists()


def test_no_frame_no_file(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "a.mp4", 3))
    assert VideoWriter(tmp_path / "b.mp4", info).close() is None
    assert VideoWriter(tmp_path / "b.mp4", info).close(partial=True) is None
    assert names(tmp_path) == {"a.mp4"}


def test_a_killed_writer_leaves_no_final_file(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 6)
    code = (
        "import sys, time\n"
        "from fastvid.video import VideoReader, VideoWriter\n"
        "reader = VideoReader(sys.argv[1])\n"
        "writer = VideoWriter(sys.argv[2], reader.info)\n"
        "for frame in reader: writer.write(frame)\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    target = tmp_path / "b.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(target)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    copy_film(source, target)  # and nothing is in the way of the next try
    assert target.exists()


@pytest.mark.parametrize("sound", [None, "aac"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_one_line_and_leaves_no_file(
    tmp_path: Path, suffix: str, sound: str | None
) -> None:
    source = media.write_video(tmp_path / "a.mp4", 24, (96, 128), sound=sound)
    code = (
        "import resource, sys\n"
        "from fastvid.video import VideoReader, VideoWriter, MediaError\n"
        "reader = VideoReader(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n"
        "    with VideoWriter(sys.argv[2], reader.info, crf=1) as writer:\n"
        "        for frame in reader: writer.write(frame)\n"
        "except MediaError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / f"b{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(target)], capture_output=True, text=True
    )
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert names(tmp_path) == {"a.mp4"}


def test_impossible_targets_are_one_line(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "a.mp4", 3))
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir.mp4").mkdir()
    for target, message in (
        ("none/b.mp4", "no folder"),
        ("file/b.mp4", "no folder"),
        ("dir.mp4", "is a folder"),
        ("b.xyz", r"written as \.mp4"),
        ("b.avi", r"written as \.mp4"),
        ("b" * 300 + ".mp4", "cannot be written|too long"),
    ):
        with pytest.raises(MediaError, match=message) as caught:
            VideoWriter(tmp_path / target, info)
        assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match="libx264"):
        VideoWriter(tmp_path / "b.mp4", info, codec="divx")
    with pytest.raises(MediaError, match="prores_ks"):
        VideoWriter(tmp_path / "b.mp4", info, codec="prores_ks")
    with pytest.raises(MediaError, match="libx264"):
        VideoWriter(tmp_path / "b.mp4", info, preset="warp9")
    assert names(tmp_path) == {"a.mp4", "file", "dir.mp4"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_still_is_written_whole_or_not(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"a{suffix}"
    frame = Frame(media.texture((96, 128)), 0, Fraction(1, 24))
    with ImageWriter(target) as writer:
        writer.write(frame)
        assert writer.close() == target
    (again,) = VideoReader(target)
    difference = np.abs(again.image.astype(int) - frame.image)
    assert difference.max() == 0 if suffix == ".png" else difference.mean() < 3
    with pytest.raises(MediaError, match="exists already"):
        ImageWriter(target)
    with ImageWriter(target, size=(20, 30), overwrite=True) as writer:
        writer.write(frame)
    assert probe(target).size == (20, 30)
    assert names(tmp_path) == {target.name}


def test_open_writer_chooses_by_name(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "a.mp4", 3))
    assert isinstance(open_writer(tmp_path / "x.png", info), ImageWriter)
    assert isinstance(open_writer(tmp_path / "s" / "x_%03d.jpg", info), SequenceWriter)
    assert isinstance(open_writer(tmp_path / "folder", info), SequenceWriter)
    with pytest.raises(MediaError, match="written as"):
        open_writer(tmp_path / "x.txt", info)
    film = open_writer(tmp_path / "x%03d.mp4", info)
    assert isinstance(film, VideoWriter)
    film.abort()


# Borders


def test_video_loads_neither_opencv_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from fastvid.video import VideoReader, VideoWriter\n"
        "with VideoReader(sys.argv[1]) as r, VideoWriter(sys.argv[2], r.info) as w:\n"
        "    for frame in r: w.write(frame)\n"
        "sys.exit(bool({'cv2', 'torch'} & set(sys.modules)))\n"
    )
    source = media.write_video(tmp_path / "a.mp4", 3, sound="aac")
    run = subprocess.run([sys.executable, "-c", code, str(source), str(tmp_path / "b.mp4")])
    assert run.returncode == 0


def test_read_in_one_thread_and_written_in_another(tmp_path: Path) -> None:
    import queue

    source = media.write_video(tmp_path / "a.mp4", 30, sound="aac")
    frames: queue.Queue[Frame | None] = queue.Queue(2)
    reader = VideoReader(source)

    def read() -> None:
        for frame in reader:
            frames.put(frame)
        frames.put(None)

    thread = threading.Thread(target=read)
    thread.start()
    with VideoWriter(tmp_path / "b.mp4", reader.info) as writer:
        while (frame := frames.get(timeout=20)) is not None:
            writer.write(frame)
    thread.join(10)
    assert media.frame_times(tmp_path / "b.mp4") == media.frame_times(source)


@pytest.mark.parametrize("source", ["film", "images"])
def test_no_picture_waits_for_the_garbage_collector(tmp_path: Path, source: str) -> None:
    if source == "film":
        path = media.write_video(tmp_path / "a.mp4", 24, (48, 64))
    else:
        path = media.write_images(tmp_path / "a", 24)

    def in_memory() -> int:
        return sum(type(thing) is VideoFrame for thing in gc.get_objects())

    gc.collect()
    before = in_memory()
    gc.disable()
    try:
        for frame in VideoReader(path):
            del frame
        waiting = in_memory() - before
    finally:
        gc.enable()
    assert waiting < 6


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    def peak_mib(num_frames: int) -> float:
        source = media.write_video(
            tmp_path / f"{num_frames}.mp4", num_frames, (240, 320), options={"preset": "ultrafast"}
        )
        # VmHWM, since ru_maxrss begins at what the parent had when it forked
        code = (
            "import re, sys\n"
            "from fastvid.video import VideoReader, VideoWriter\n"
            "with VideoReader(sys.argv[1]) as r:\n"
            "    with VideoWriter(sys.argv[2], r.info, preset='ultrafast') as w:\n"
            "        for frame in r: w.write(frame)\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        )
        target = tmp_path / f"out{num_frames}.mp4"
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(target)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout) / 1024

    # 300 frames of this size are 66 MiB when held
    assert peak_mib(330) - peak_mib(30) < 20
