import os
from fractions import Fraction
from pathlib import Path

import media
import pytest

from fastvid.video import (
    MediaError,
    VideoReader,
    probe,
)


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
    media.copy_film(Path(name), Path("out " + name))
    assert len(list(VideoReader("out " + name))) == 3
    assert media.names(tmp_path) == {name, "out " + name}
