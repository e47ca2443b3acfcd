"""Figures on a network's card, and the strip of frames that goes with them."""

import argparse
import json
import math

import numpy as np
import onnx
import pytest
from evaluate_command import command, texture_clip, write_frames
from onnx_nets import invert_net, write
from tiny import data_root, texture

from fastvid.__main__ import main
from fastvid.evaluation import strip
from fastvid.evaluation.card import command_line, read_card, write_scores
from fastvid.evaluation.clips import Clip
from fastvid.image import read_image, write_image
from fastvid.runtime import gallery


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A network with its card, a painting, a picture to probe with and two clips."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    styles = tmp_path / "shipped"
    styles.mkdir()
    write(styles / "tiny.onnx", invert_net())
    card = {"name": "tiny", "title": "Tiny, été", "scores": {"mean": {"old": 1}}, "kept": [1, 2]}
    (styles / "tiny.json").write_text(json.dumps(card))
    write_image(tmp_path / "probe.png", texture(90, 240))
    for name, shift in (("a", 1), ("b", 2)):
        write_frames(tmp_path / name, texture_clip(4, shift))
    monkeypatch.setattr(gallery, "STYLES_DIR", styles)
    return tmp_path


def words_for(folder, *clips):
    return (
        *clips,
        *("--net", folder / "shipped" / "tiny.onnx", "--image", folder / "probe.png"),
        *("--statistics", "frame", "shot", "--cards"),
    )


def test_the_figures_of_a_network_go_on_its_card_and_the_rest_stays(measured, capsys):
    words = words_for(measured, measured / "a", measured / "b")
    assert command(*words) == 0
    text = (measured / "shipped" / "tiny.json").read_text()
    card = json.loads(text)
    assert (card["name"], card["title"], card["kept"]) == ("tiny", "Tiny, été", [1, 2])
    scores = card["scores"]
    clips = scores["clips"]
    assert [clip["source"] for clip in clips] == ["a", "b"]
    for name in ("style_distance", "stability_ratio_gap1", "content_distance"):
        mean = (clips[0][name] + clips[1][name]) / 2
        assert scores["mean"][name] == pytest.approx(mean, abs=1e-4)
    assert "old" not in scores["mean"]
    assert {(clip["flow_method"], clip["certainty_rule"]) for clip in clips} == {
        ("dis", "ruder2016")
    }
    assert scores["statistics"] == "frame"
    assert scores["vgg_weights"] == "vgg19_caffe.safetensors"
    assert scores["style_image"] == "tiny.png"
    assert scores["probe_image"] == "probe.png"
    assert scores["probes"]["shift_rmse"] == 0.0
    assert scores["command"] == (
        "fastvid evaluate a b --net tiny.onnx --image probe.png --statistics frame shot --cards"
    )
    assert str(measured) not in text
    network = onnx.load(str(measured / "shipped" / "tiny.onnx"))
    properties = {p.key: p.value for p in network.metadata_props}
    assert json.loads(properties["scores"]) == scores["mean"]
    assert read_image(measured / "shipped" / "tiny.strip.jpg").shape[1] <= strip.WIDTH_PX
    capsys.readouterr()
    assert main(["styles"]) == 0
    header, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[-2:] == ["style_distance", "stability_ratio_gap1"]
    shown = [f"{scores['mean'][name]:.3f}" for name in gallery.SCORES]
    assert row[-2:] == shown


def test_a_card_that_cannot_be_read_is_said_before_the_work(measured):
    write(measured / "gone.onnx", invert_net())
    with pytest.raises(FileNotFoundError, match=r"no card .*gone\.json"):
        command("no_such_clip.mp4", "--net", measured / "gone.onnx", "--cards")
    (measured / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="not a card"):
        read_card(measured / "list.json")
    (measured / "text.json").write_text("figures")
    with pytest.raises(ValueError, match="not a card"):
        read_card(measured / "text.json")


def test_a_card_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "card.json"
    path.write_text('{"name": "x"}')
    write_scores(path, {"mean": {}})
    assert json.loads(path.read_text()) == {"name": "x", "scores": {"mean": {}}}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "words",
    [
        ("a.mp4", "b.mp4", "--cards"),
        ("--net", "x.onnx", "--cards"),
        ("a.mp4", "--net", "x.onnx", "--cards", "--strengths", "0.5"),
        ("--net", "x.onnx", "--strip", "s.jpg"),
        ("a.mp4", "b.mp4", "--strip", "s.gif"),
    ],
)
def test_wrong_usage_exits_with_two(words):
    with pytest.raises(SystemExit, match="2"):
        command(*words)


def test_the_command_keeps_options_and_drops_folders():
    args = argparse.Namespace(
        clips=["/home/me/my clip.mp4", "scene:all", "holdout:all"],
        net=["starry_night", "/n/a.onnx"], style="/x/s.jpg", image=None, flow="raft",
        frames=9, height=None, device="auto", engine="onnxruntime",
        statistics=["shot"],
    )  # fmt: skip
    assert command_line(args) == (
        "fastvid evaluate 'my clip.mp4' scene:all holdout:all --net starry_night a.onnx "
        "--style s.jpg --flow raft --frames 9 --statistics shot --cards"
    )


# the strip


def test_paintings_stand_below_their_sources(tmp_path):
    clip = Clip(write_frames(tmp_path / "in", texture_clip(8)))
    negative = Clip(write_frames(tmp_path / "out", 255 - texture_clip(8)))
    columns = strip.columns_of(clip, negative, num_clips=1)
    assert len(columns) == strip.COLUMNS
    for frame, painted in columns:
        np.testing.assert_array_equal(painted, 255 - frame)
    picture = strip.draw_strip(columns)
    row = (picture.shape[0] - strip.GUTTER_PX) // 2
    inside = picture[:row, : picture.shape[1] // strip.COLUMNS - strip.GUTTER_PX].astype(int)
    below = picture[-row:, : picture.shape[1] // strip.COLUMNS - strip.GUTTER_PX]
    assert np.abs(255 - inside - below).max() <= 1


def test_upright_and_wide_clips_share_one_height():
    columns = [(texture(40, 80), texture(40, 80)), (texture(80, 40), texture(80, 40))]
    picture = strip.draw_strip(columns)
    assert picture.shape == (2 * 360 + strip.GUTTER_PX, 720 + 180 + strip.GUTTER_PX, 3)
    with pytest.raises(ValueError, match="at least one pair"):
        strip.draw_strip([])


def test_a_network_paints_its_strip(measured):
    target = measured / "strip.jpg"
    assert command(*words_for(measured, measured / "a")[:-4], "--strip", target) == 0
    assert read_image(target).shape[1] <= strip.WIDTH_PX


def test_one_frame_makes_a_strip(tmp_path):
    clip = Clip(write_frames(tmp_path / "in", texture_clip(1)))
    assert len(strip.columns_of(clip, lambda frames: 255 - frames, num_clips=1)) == 1


def test_many_clips_are_thinned_out_evenly():
    assert strip.chosen_clips(["a.mp4", "b.mp4"]) == {0, 1}
    assert strip.chosen_clips([f"{i}.mp4" for i in range(11)]) == {0, 2, 4, 6, 8, 10}


def test_films_are_shown_rather_than_scenes():
    assert strip.chosen_clips(["scene:pan", "a.mp4", "scene:zoom", "b.mp4"]) == {1, 3}
    assert strip.chosen_clips(["scene:pan", "scene:zoom"]) == {0, 1}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_file_is_small_enough(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    path = tmp_path / f"strip{suffix}"
    strip.write_strip(path, noise, max_bytes=20_000)
    assert 8_000 < path.stat().st_size <= 20_000
    rows, columns = read_image(path).shape[:2]
    assert math.isclose(columns / rows, 1.5, rel_tol=0.05)
