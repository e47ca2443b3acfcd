import subprocess
import sys
from pathlib import Path

import media
import numpy as np
import pytest

from fastvid.image import read_image, resize_image, to_array, to_tensor, write_image


def test_png_comes_back_exactly(tmp_path: Path) -> None:
    picture = media.texture((33, 47))
    write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "CJK 画像 %03d:x.jpeg"])
def test_lossy_formats_come_back_nearly(tmp_path: Path, name: str) -> None:
    picture = media.texture()
    write_image(tmp_path / name, picture)
    assert np.abs(read_image(tmp_path / name).astype(int) - picture).mean() < 3


def test_image_is_rgb_and_upright(tmp_path: Path) -> None:
    path = media.write_jpeg(tmp_path / "a.jpg", media.quadrants(), orientation=6)
    image = read_image(path)
    assert image.shape == (64, 48, 3)
    assert image[5, -5].argmax() == 0  # the red corner of the coded picture, turned clockwise


def test_grey_becomes_three_channels(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "g.png"), np.full((4, 5), 77, np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "g.png"), np.full((4, 5, 3), 77))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be written"):
        write_image(tmp_path / "missing" / "a.png", media.texture())
    with pytest.raises(ValueError, match="no image format"):
        write_image(tmp_path / "a.xyz", media.texture())
    with pytest.raises(ValueError, match="expected uint8"):
        write_image(tmp_path / "a.png", media.texture().astype(np.float32))
    assert list(tmp_path.iterdir()) == []


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", media.texture())
    write_image(tmp_path / "a.png", media.quadrants())
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_unreadable_images_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such image"):
        read_image(tmp_path / "none.png")
    for path in (media.write_text(tmp_path / "t.png"), media.write_empty(tmp_path / "e.png")):
        with pytest.raises(RuntimeError, match="not a readable image"):
            read_image(path)


def test_a_huge_claim_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not a readable image"):
        read_image(media.write_huge_png(tmp_path / "h.png"))


def test_resize_keeps_the_aspect_and_averages_areas() -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, ::2] = 200
    small = resize_image(picture, height_px=2)
    assert small.shape == (2, 4, 3)
    np.testing.assert_array_equal(small, 100)
    assert resize_image(picture, size=(9, 3)).shape == (9, 3, 3)
    with pytest.raises(ValueError, match="either"):
        resize_image(picture)
    with pytest.raises(ValueError, match="at least 1x1"):
        resize_image(picture, height_px=0)


def test_tensor_and_array_are_inverse() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor(levels)
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min(), tensor.max()) == (0, 1)
    np.testing.assert_array_equal(to_array(tensor)[0], levels)
    batch = np.stack([levels, levels[::-1]])
    np.testing.assert_array_equal(to_array(to_tensor(batch)), batch)


def test_array_clamps_and_rounds() -> None:
    import torch

    tensor = torch.tensor([-0.5, 0.4999 / 255, 0.5001 / 255, 2.0]).expand(3, 1, 4)
    np.testing.assert_array_equal(to_array(tensor)[0, 0, :, 0], [0, 0, 1, 255])
    with pytest.raises(ValueError, match="to_array"):
        to_array(torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match="to_tensor"):
        to_tensor(np.zeros((2, 2, 3), np.float32))


def test_importing_image_loads_neither_opencv_nor_torch() -> None:
    code = "import sys, fastvid.image; sys.exit(bool({'cv2', 'torch', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
