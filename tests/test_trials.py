import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_nets import tiny_weights
from safetensors.torch import save_file

from fastvid.evaluation.passing import COLUMN, DISC, PassingScene
from fastvid.evaluation.trials import main
from fastvid.image import to_tensor, write_image
from fastvid.motion.warp import warp


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    weights, painting = tmp_path / "tiny_caffe.safetensors", tmp_path / "painting.png"
    save_file(dict(tiny_weights(stages=4).tensors), weights)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    write_image(painting, pixels)
    words = f"--weights {weights} --style {painting} --height 32 --iterations 2"
    return words.split()


def test_warped_frame_is_the_other_one_where_it_is_visible() -> None:
    scene = PassingScene((40, 64), 7)
    for current, other in ((3, 2), (5, 1), (1, 4)):
        flow = torch.from_numpy(scene.flow(current, other)).permute(2, 0, 1)[None]
        seen = warp(to_tensor(scene.frame(other)), flow)
        visible = torch.from_numpy(scene.visible(current, other))
        difference = (seen - to_tensor(scene.frame(current))).abs().amax(1)[0]
        assert float(difference[visible].max()) < 1e-4
        assert 0.5 < float(visible.float().mean()) < 1


def test_disc_goes_behind_the_column_and_comes_back() -> None:
    scene = PassingScene((40, 64), 7)
    sizes = [int((scene.owner(t) == DISC).sum()) for t in range(7)]
    assert min(sizes) == sizes[3] < 0.8 * sizes[0]
    assert sizes[6] == sizes[0]
    assert (scene.owner(0) == COLUMN).any()


@pytest.mark.parametrize("name", ["disocclusion", "border", "speed"])
def test_trials_give_figures_on_generated_clips(
    name: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "sheet.png"
    words = [name, "--frames", "4", "--passes", "2", "--rounds", "1", "--picture", str(picture)]
    assert main([*words, *options]) == 0
    figures = json.loads(capsys.readouterr().out)
    if name == "disocclusion":
        assert set(figures["rms_after_disocclusion"]) == {"short_term", "long_term"}
        assert figures["pixels"] > 0
    elif name == "border":
        assert figures["single"]["contrast"] > 0
        assert figures["multi"]["e_warp"] >= 0
    else:
        assert figures["ratio"] > 0
    assert picture.is_file() == (name != "speed")


def test_methods_are_measured_on_clips(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PassingScene((40, 64), 3)
    for t in range(3):
        write_image(tmp_path / f"f_{t}.png", scene.frame(t))
    assert main(["methods", str(tmp_path / "f_*.png"), *options, "--frames", "3"]) == 0
    (scores,) = (v for k, v in json.loads(capsys.readouterr().out).items() if k == "f_*.png")
    assert set(scores) == {"independent", "blend_previous", "blend_warped", "ruder"}
