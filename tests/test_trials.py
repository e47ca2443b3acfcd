import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_nets import tiny_weights
from safetensors.torch import save_file

from fastvid.evaluation.exact import ExactFlow
from fastvid.evaluation.passing import BACKGROUND, COLUMN, DISC, PassingScene
from fastvid.evaluation.trials.__main__ import main
from fastvid.evaluation.trials.bench import mask_of, rms, squared_change
from fastvid.evaluation.trials.border import Pan, contrast
from fastvid.evaluation.trials.disocclusion import spots_by_kind
from fastvid.image import read_image, to_tensor, write_image

SIZE, NUM_FRAMES = (40, 64), 7


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    weights, painting = tmp_path / "tiny_caffe.safetensors", tmp_path / "painting.png"
    save_file(dict(tiny_weights(stages=4).tensors), weights)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    write_image(painting, pixels)
    return ["--weights", str(weights), "--style", str(painting), "--iterations", "6"]


def figures_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(words) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


# Generated scenes


@pytest.mark.parametrize("kind", [PassingScene, Pan])
def test_warped_frame_is_the_other_one_where_it_is_visible(kind: type[PassingScene | Pan]) -> None:
    scene = kind(SIZE, NUM_FRAMES)
    source = ExactFlow(scene.flow, scene.visible)
    frames = [to_tensor(scene.frame(t)) for t in range(NUM_FRAMES)]
    for current, other in ((3, 2), (5, 1), (1, 4)):
        visible = scene.visible(current, other)
        change = squared_change(frames, source, current, other)
        assert rms([change], [mask_of(visible)]) == 0
        assert rms([change], [mask_of(~visible)]) > 0.05
        assert 0.4 < visible.mean() < 1


def test_disc_goes_behind_the_column_and_comes_back() -> None:
    scene = PassingScene(SIZE, NUM_FRAMES)
    sizes = [int((scene.owner(t) == DISC).sum()) for t in range(NUM_FRAMES)]
    assert min(sizes) == sizes[3] < 0.8 * sizes[0]
    assert sizes[6] == sizes[0]
    assert (scene.owner(0) == COLUMN).any()


def test_spots_that_come_back_were_hidden_the_frame_before() -> None:
    scene = PassingScene(SIZE, NUM_FRAMES)
    kinds = spots_by_kind(scene, NUM_FRAMES)
    for kind, layer in (("uncovered", BACKGROUND), ("reappeared", DISC)):
        assert sum(spots.where.sum() for spots in kinds[kind]) > 20
        for now, then, where in kinds[kind]:
            assert not (where & scene.visible(now, now - 1)).any()
            assert (where <= scene.visible(now, then)).all()
            assert (scene.owner(now)[where] == layer).all()
    (change,) = kinds["first_to_last"]
    passed = np.logical_or.reduce([scene.owner(t) == DISC for t in range(1, NUM_FRAMES - 1)])
    still = (scene.owner(6) == BACKGROUND) & (scene.owner(0) == BACKGROUND)
    assert (change.where[still] == passed[still]).all()


def test_pan_brings_a_strip_of_its_speed_into_view() -> None:
    pan = Pan(SIZE, NUM_FRAMES)
    hidden = ~pan.visible(4, 3)
    assert hidden[:, -pan.speed_px :].all()
    assert not hidden[:, : -pan.speed_px].any()


# Measures


def test_contrast_is_the_spread_of_the_luma() -> None:
    image = torch.full((1, 3, 4, 4), 0.5)
    assert contrast(image) == 0
    image[..., ::2] += 0.2
    image[..., 1::2] -= 0.2
    assert contrast(image) == pytest.approx(0.2 * (16 / 15) ** 0.5)


def test_rms_weighs_pixels_and_not_frames() -> None:
    squares = [torch.full((1, 1, 2, 2), 4.0), torch.full((1, 1, 2, 2), 1.0)]
    masks = [torch.tensor([[[[True, False], [False, False]]]]), torch.ones(1, 1, 2, 2) > 0]
    assert rms(squares, masks) == pytest.approx(((4 + 4) / 5) ** 0.5, abs=1e-4)
    assert rms(squares[:1], [masks[0] & False]) is None


# Trials


def test_disocclusion_measures_both_losses_over_the_same_spots(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "sheet.png"
    words = ["disocclusion", "--height", "32", "--frames", "5", "--picture", str(picture)]
    figures = figures_of([*words, *options], capsys)
    assert figures["pixels"]["uncovered"] > 0
    assert set(figures["rms"]) == {"short_term", "long_term"}
    for values in figures["rms"].values():
        assert set(values) == set(figures["pixels"])
        assert 0 < values["in_view"] < values["uncovered"]
    assert read_image(picture).shape == (3 * 32 + 2 * 4, 4 * 51 + 3 * 4, 3)


def test_border_compares_strips_with_a_picture_without_border(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "sheet.png"
    words = [
        "border",
        "--height",
        "32",
        "--frames",
        "3",
        "--passes",
        "2",
        "--picture",
        str(picture),
    ]
    figures = figures_of([*words, *options], capsys)
    assert figures["iterations_per_pass"] == 3
    for name in ("single", "multi", "no_border"):
        for part in ("strips", "entered", "the_rest"):
            assert figures[name][f"contrast_of_{part}"] > 0
    assert figures["no_border"]["e_warp"] == 0  # cut out of one picture
    assert figures["single"]["e_warp"] > 0
    assert read_image(picture).shape == (2 * 32 + 4, 4 * 51 + 3 * 4, 3)


def test_methods_are_measured_on_clips(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PassingScene(SIZE, 5)
    for t in range(5):
        write_image(tmp_path / f"f_{t}.png", scene.frame(t))
    words = ["methods", str(tmp_path / "f_*.png"), "--height", "32", "--frames", "3", "--step", "2"]
    figures = figures_of([*words, *options], capsys)
    (scores,) = figures["clips"].values()
    assert set(scores) == {"independent", "blend_previous", "blend_warped", "ruder"}
    assert {name: row["e_warp"] for name, row in scores.items()} == figures["e_warp_mean"]
    ordered = sorted(scores, key=lambda name: -scores[name]["e_warp"])
    assert figures["in_order"]["f_*.png"] == (ordered == list(scores))


def test_speed_compares_loops_with_as_many_evaluations(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    figures = figures_of(["speed", "--height", "32", "--rounds", "1", *options], capsys)
    assert figures["evaluations"] == 6
    assert figures["ratio"]["least"] <= figures["ratio"]["median"] <= figures["ratio"]["most"]
    assert min(figures["seconds_per_iteration"].values()) > 0
