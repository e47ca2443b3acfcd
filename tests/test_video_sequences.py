from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from fastvid.video import (
    Frame,
    MediaError,
    SequenceWriter,
    VideoReader,
    VideoWriter,
    open_writer,
    probe,
)


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
    assert media.names(tmp_path / "out") == {"a.jpg", "b.png"}
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
    assert media.names(tmp_path / "o") == {f"y_00{i}.png" for i in range(1, 6)}
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
