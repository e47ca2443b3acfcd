from pathlib import Path

import numpy as np
import pytest
import torch
from reference_nets import tiny_vgg

from fastvid.image import write_image
from fastvid.reference.mode import MODES
from fastvid.reference.paintings import blend_grams, find_painting, load_painting, resample
from fastvid.reference.schedule import StyleKey, StyleSchedule, constant


def test_shrinking_averages_the_covered_pixels() -> None:
    image = torch.tensor([[[[0.0, 3.0, 6.0], [3.0, 6.0, 9.0]]]])
    torch.testing.assert_close(resample(image, (1, 1)), torch.full((1, 1, 1, 1), 4.5))
    # 3 -> 2: 1.5 pixels each, the middle one shared
    wanted = torch.tensor([[[[1.0, 5.0], [4.0, 8.0]]]])
    torch.testing.assert_close(resample(image, (2, 2)), wanted)


def test_growing_is_linear_with_aligned_corners() -> None:
    image = torch.tensor([[[[0.0, 4.0]]]])
    grown = resample(image, (3, 5))
    torch.testing.assert_close(grown[0, 0], torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]] * 3))


def test_painting_has_the_area_of_the_frame_times_the_scale_squared(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    write_image(path, np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    vgg, mode = tiny_vgg(["relu1_1"]), MODES["paper"]
    painting = load_painting(path, vgg, ["relu1_1"], mode, (60, 60))
    assert painting.size == (40, 90)
    large = load_painting(path, vgg, ["relu1_1"], mode, (60, 60), style_scale=0.5)
    assert large.size == (20, 45)
    assert painting.grams["relu1_1"].shape == (1, 4, 4)


def test_blended_gram_is_the_weighted_mean(tmp_path: Path) -> None:
    vgg, mode = tiny_vgg(["relu1_1"]), MODES["paper"]
    paintings = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.png"
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        write_image(path, pixels)
        paintings.append(load_painting(path, vgg, ["relu1_1"], mode, (20, 20)))
    a, b = (p.grams["relu1_1"] for p in paintings)
    torch.testing.assert_close(blend_grams(paintings, [3, 1])["relu1_1"], 0.75 * a + 0.25 * b)


def test_paintings_are_found_by_path_file_and_name(tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    path = tmp_path / "styles" / "mine.jpg"
    write_image(path, np.zeros((4, 4, 3), np.uint8))
    assert find_painting("mine", tmp_path) == path
    assert find_painting("mine.jpg", tmp_path) == path
    assert find_painting(str(path), tmp_path) == path
    with pytest.raises(FileNotFoundError, match="no painting 'other'"):
        find_painting("other", tmp_path)


def test_schedule_runs_from_one_painting_to_the_other() -> None:
    schedule = StyleSchedule([StyleKey(3.0, (0, 2)), StyleKey(1.0, (1, 0))])
    assert schedule(0) == (1, 0)
    assert schedule(1) == (1, 0)
    assert schedule(1.5) == pytest.approx((0.75, 0.25))
    assert schedule(3) == (0, 1)
    assert schedule(9) == (0, 1)
    assert constant([1, 3])(5) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "at least one key"),
        ([StyleKey(0, (1,)), StyleKey(0, (1,))], "two keys at one time"),
        ([StyleKey(0, (1,)), StyleKey(1, (1, 2))], "one number of weights"),
        ([StyleKey(0, (0, 0))], "sum > 0"),
        ([StyleKey(0, (-1, 2))], ">= 0"),
    ],
)
def test_wrong_schedules_are_refused(keys: list[StyleKey], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleSchedule(keys)
