import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from fastvid.video import (
    Frame,
    ImageWriter,
    MediaError,
    SequenceWriter,
    VideoReader,
    VideoWriter,
    open_writer,
    probe,
)


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "a.mp4", 3)
    target = media.write_text(tmp_path / "b.mp4")
    before = target.read_bytes()
    with pytest.raises(MediaError, match="exists already"):
        VideoWriter(target, probe(source))
    assert target.read_bytes() == before
    media.copy_film(source, target, overwrite=True)
    assert len(list(VideoReader(target))) == 3
    assert media.names(tmp_path) == {"a.mp4", "b.mp4"}


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
    assert media.names(tmp_path) == {"a.mp4"}


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
    assert media.names(tmp_path) == {"a.mp4"}


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
    media.copy_film(source, target)  # and nothing is in the way of the next try
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
    assert media.names(tmp_path) == {"a.mp4"}


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
    assert media.names(tmp_path) == {"a.mp4", "file", "dir.mp4"}


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
    assert media.names(tmp_path) == {target.name}


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
