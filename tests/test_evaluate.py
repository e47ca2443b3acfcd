import argparse
import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from fastvid.evaluation import evaluate, picture
from fastvid.evaluation.clips import Clip, expand, frame_pairs, scene_motion
from fastvid.evaluation.metrics import ClipMeter
from fastvid.evaluation.report import clip_table, format_table, machine, markdown_table
from fastvid.image import read_image, write_image
from fastvid.motion import scenes
from fastvid.motion.warp import warp

SIZE = (48, 64)


def write_frames(folder, frames):
    folder.mkdir()
    for index, frame in enumerate(frames):
        write_image(folder / f"{index:03d}.png", frame)
    return str(folder)


def texture_clip(frames=4, step_px=1):
    random = np.random.default_rng(0)
    wide = random.integers(60, 190, (SIZE[0] // 4, (SIZE[1] + 40) // 4, 3))
    wide = wide.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    return np.stack([wide[:, t * step_px : t * step_px + SIZE[1]] for t in range(frames)])


def negative_net(path):
    """A network of the contract that paints the negative."""
    shape = ["n", "h", "w", 3]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["white", "frames"], ["stylized"])],
        "negative",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, shape)],
        [helper.make_tensor("white", TensorProto.UINT8, [], [255])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return str(path)


def command(*words):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(autouse=True)
def _no_weights(tmp_path, monkeypatch):
    """Without VGG weights, found or cached: what every machine can do."""
    monkeypatch.setenv("FASTVID_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


# clips


def test_a_file_clip_stops_at_the_number_of_frames(tmp_path):
    folder = write_frames(tmp_path / "in", texture_clip(5))
    assert len(list(Clip(folder).frames())) == 5
    frames = list(Clip(folder, num_frames=3).frames())
    np.testing.assert_array_equal(np.stack(frames), texture_clip(5)[:3])


def test_spread_frames_come_from_all_over_the_clip(tmp_path):
    clip = Clip(write_frames(tmp_path / "in", texture_clip(8)))
    np.testing.assert_array_equal(clip.spread_frames(4), texture_clip(8)[::2])


def test_scene_all_stands_for_every_generated_scene():
    assert expand(["a.mp4", "scene:all"]) == ["a.mp4", *(f"scene:{n}" for n in scenes.NAMES)]


def test_an_unknown_scene_names_the_choices():
    with pytest.raises(ValueError, match="pan"):
        next(Clip("scene:nowhere").frames())


def test_the_motion_of_a_scene_takes_its_frames_onto_each_other():
    clip = Clip("scene:pan", num_frames=5, height_px=90)
    frames = [torch.from_numpy(f).permute(2, 0, 1)[None] / 255 for f in clip.frames()]
    flow, visible = scene_motion(clip.scene)(0, 4, frames[0], frames[4])
    error = ((frames[4] - warp(frames[0], flow)).abs() * visible).sum() / visible.sum() / 3
    unmoved = ((frames[4] - frames[0]).abs() * visible).sum() / visible.sum() / 3
    assert error < 0.3 * unmoved


def test_frames_are_painted_when_the_other_clip_is_a_network(tmp_path):
    clip = Clip(write_frames(tmp_path / "in", texture_clip(2)))
    stylizer = evaluate.load(negative_net(tmp_path / "negative.onnx"))
    for source, painted in frame_pairs(clip, stylizer):
        np.testing.assert_array_equal(painted, 255 - source)


# the command on two clips


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
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


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


# the command on a network


def test_a_network_is_probed_and_measured_on_a_generated_scene(tmp_path, capsys):
    net = negative_net(tmp_path / "negative.onnx")
    report_file = tmp_path / "net.json"
    words = ("--net", net, "scene:pan", "scene:static", "--frames", 5, "--height", 90)
    assert command(*words, "--json", report_file) == 0
    report = json.loads(report_file.read_text())
    assert report["net"] == "negative"
    assert report["probes"]["shift_rmse"] == 0.0
    assert report["probes_adapted"]["far_leakage"] == 0.0
    assert [clip["source"] for clip in report["clips"]] == ["scene:pan", "scene:static"]
    for clip in report["clips"]:
        assert clip["flow_method"] == "exact"
        # the negative adds nothing: e / (e + 0.001)
        error = clip["e_warp_source_gap1"]
        assert clip["stability_ratio_gap1"] == pytest.approx(error / (error + 0.001), rel=1e-4)
    mean = np.mean([clip["stability_ratio_gap1"] for clip in report["clips"]])
    assert report["mean"]["stability_ratio_gap1"] == pytest.approx(mean)
    shown = capsys.readouterr().out
    assert "noise_flicker" in shown
    assert "mean of 2 clips" in shown


def test_a_picture_of_several_clips_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        command("--net", "x.onnx", "scene:pan", "scene:zoom", "--picture", tmp_path / "p.png")


# tables and the picture


def test_tables_are_aligned():
    table = format_table(["net", "ms"], [["base", "9.1"], ["johnson", "100.0"]])
    assert table.splitlines() == ["net         ms", "base       9.1", "johnson  100.0"]
    assert markdown_table(["net", "ms"], [["base", "9.1"]]).splitlines() == [
        "| net | ms |",
        "| --- | ---: |",
        "| base | 9.1 |",
    ]


def test_a_short_clip_has_dashes_in_its_table():
    meter = ClipMeter()
    for frame in texture_clip(3):
        meter.update(frame, frame)
    lines = clip_table(meter.scores()).splitlines()
    ratio = next(line for line in lines if line.startswith("stability_ratio"))
    assert ratio.split()[2:4] == ["-", "-"]


def test_the_machine_is_described_without_naming_it():
    found = machine()
    assert set(found) == {"cpu", "cores", "memory_gib", "system"}
    assert found["cores"] >= 1


def test_the_picture_marks_the_worst_pair():
    source = texture_clip(4, 0)
    painted = 255 - source
    painted[2, 10:20, 10:30] ^= 64
    meter, rows = ClipMeter((1,)), picture.RowSlice()
    for pair in zip(source, painted, strict=True):
        meter.update(*pair)
        rows.update(*pair)
    canvas = picture.draw_clip(meter, rows, "title", "subtitle")
    assert canvas.dtype == np.uint8
    assert canvas.shape[1:] == (picture.WIDTH_PX, 3)
    assert (canvas == picture.OUTPUT).all(axis=-1).sum() > 500  # the line is drawn
    row_source, row_output = rows.images()
    np.testing.assert_array_equal(row_source, source[:, SIZE[0] // 2])
    np.testing.assert_array_equal(row_output, painted[:, SIZE[0] // 2])


def test_one_frame_makes_no_picture():
    meter, rows = ClipMeter(), picture.RowSlice()
    frame = texture_clip(1)[0]
    meter.update(frame, frame)
    rows.update(frame, frame)
    with pytest.raises(ValueError, match="two frames at least"):
        picture.draw_clip(meter, rows, "title", "subtitle")
