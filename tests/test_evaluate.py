import json
import math

import numpy as np
import pytest
import torch
from evaluate_command import command, texture_clip, without_clock, write_frames

from fastvid.evaluation import picture
from fastvid.image import read_image, write_image


@pytest.fixture(autouse=True)
def _no_weights(tmp_path, monkeypatch):
    """Without VGG weights, found or cached: what every machine can do."""
    monkeypatch.setenv("FASTVID_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


def test_a_pair_of_clips_gives_json_table_and_picture(tmp_path, capsys):
    source = texture_clip(6)
    rng = np.random.default_rng(1)
    painted = (255 - source + rng.normal(0, 6, source.shape)).clip(0, 255).astype(np.uint8)
    code = command(
        write_frames(tmp_path / "in", source),
        write_frames(tmp_path / "out", painted),
        "--json",
        tmp_path / "scores.json",
        "--picture",
        tmp_path / "scores.png",
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "out against in: 64x48, 6 frames, flow dis, mask ruder2016 > 0.5" in shown
    assert "stability_ratio" in shown
    scores = json.loads((tmp_path / "scores.json").read_text())
    # noise of sigma 6 in both frames, less a little where the warp between pixels averages it
    assert scores["e_warp_gap1"] == pytest.approx(6 * math.sqrt(2) / 255, rel=0.2)
    assert scores["stability_ratio_gap1"] > 1
    assert scores["not_stylized"] is None
    assert scores["vgg_weights"] is None
    assert len(scores["series_gap1_output"]) == 5
    worst = int(np.argmax(scores["series_gap1_output"]))
    assert scores["worst_pair"] == [worst, worst + 1]
    assert {"python", "numpy", "torch", "av"} <= set(scores["versions"])
    assert str(tmp_path) not in json.dumps(scores)
    assert read_image(tmp_path / "scores.png").shape[1] == picture.WIDTH_PX


def test_the_same_clips_give_the_same_figures_again(tmp_path):
    source = write_frames(tmp_path / "in", texture_clip(4))
    painted = write_frames(tmp_path / "out", 255 - texture_clip(4) // 2)
    for name in ("a.json", "b.json"):
        command(source, painted, "--json", tmp_path / name)
    assert without_clock(tmp_path / "a.json") == without_clock(tmp_path / "b.json")


@pytest.mark.parametrize("option", ["--json", "--picture"])
def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(tmp_path, option):
    source = write_frames(tmp_path / "in", texture_clip(3))
    target = tmp_path / "scores.png"
    target.write_bytes(b"precious")
    with pytest.raises(RuntimeError, match=r"scores\.png: exists already; --overwrite"):
        command(source, source, option, target)
    assert target.read_bytes() == b"precious"
    assert command(source, source, option, target, "--overwrite") == 0
    assert target.read_bytes() != b"precious"


def test_a_constant_output_is_said_to_be_unstylised(tmp_path, capsys):
    source = texture_clip(3)
    command(
        write_frames(tmp_path / "in", source),
        write_frames(tmp_path / "out", np.full_like(source, 90)),
    )
    assert "NOT STYLISED: the output is blank" in capsys.readouterr().out


def test_clips_of_different_length_are_refused_with_a_remedy(tmp_path):
    source = write_frames(tmp_path / "in", texture_clip(5))
    short = write_frames(tmp_path / "out", texture_clip(3))
    with pytest.raises(ValueError, match=r"out ends after 3 frames.*--frames 3"):
        command(source, short)
    assert command(source, short, "--frames", 3) == 0


def test_clips_of_different_size_are_refused(tmp_path):
    source = write_frames(tmp_path / "in", texture_clip(2))
    other = write_frames(tmp_path / "out", texture_clip(2)[:, :, 2:])
    with pytest.raises(ValueError, match="62x48, expected 64x48"):
        command(source, other)


def test_a_style_without_vgg_weights_is_an_error_that_helps(tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    source = write_frames(tmp_path / "in", texture_clip(2))
    write_image(tmp_path / "style.png", texture_clip(1)[0])
    with pytest.raises(FileNotFoundError, match="FASTVID_DATA"):
        command(source, source, "--style", tmp_path / "style.png")


@pytest.mark.parametrize(
    "words",
    [(), ("one.mp4",), ("a.mp4", "b.mp4", "c.mp4"), ("a.mp4", "b.mp4", "--frames", "0")],
)
def test_wrong_usage_exits_with_two(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command(*words)
    assert "error:" in capsys.readouterr().err
