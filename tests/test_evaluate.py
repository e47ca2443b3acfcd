import argparse
import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_nets import invert_net, norm_net, write

from fastvid.evaluation import evaluate, picture
from fastvid.evaluation.clips import HOLDOUT, Clip, expand, frame_pairs, scene_motion
from fastvid.evaluation.metrics import ClipMeter
from fastvid.evaluation.report import clip_table, machine
from fastvid.evaluation.table import Table, format_table
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


def test_held_out_films_lie_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(tmp_path))
    films = [str(tmp_path / "video" / f"{name}.mp4") for name in HOLDOUT]
    assert expand(["holdout:all", "scene:pan"]) == [*films, "scene:pan"]
    assert expand([f"holdout:{HOLDOUT[1]}"]) == [films[1]]
    with pytest.raises(ValueError, match="held out are coffee_pour"):
        expand(["holdout:matrix"])


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


def test_clips_are_read_side_by_side(tmp_path):
    source = Clip(write_frames(tmp_path / "in", texture_clip(2)))
    negative = Clip(write_frames(tmp_path / "out", 255 - texture_clip(2)))
    for frame, painted in frame_pairs(source, negative):
        np.testing.assert_array_equal(painted, 255 - frame)


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


def without_clock(path):
    """A report as text, less the one key in which two runs may differ."""
    report = json.loads(path.read_text())
    assert set(report.pop("run")) == {"began_utc", "wall_s"}
    return json.dumps(report)


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


# the command on a network


def test_a_network_is_probed_and_measured_on_generated_scenes(tmp_path, capsys):
    net = negative_net(tmp_path / "negative.onnx")
    report_file = tmp_path / "net.json"
    words = ("--net", net, "--frames", 5, "--height", 90)
    assert command("scene:pan", "scene:static", *words, "--json", report_file) == 0
    report = json.loads(report_file.read_text())
    (probed,), (result,) = report["nets"], report["results"]
    assert probed["net"] == result["net"] == "negative"
    assert probed["probes"]["shift_rmse"] == 0.0
    assert probed["probes_adapted"]["far_leakage"] == 0.0
    assert [clip["source"] for clip in result["clips"]] == ["scene:pan", "scene:static"]
    for clip in result["clips"]:
        assert clip["flow_method"] == "exact"
        # the negative adds nothing: e / (e + 0.001)
        error = clip["e_warp_source_gap1"]
        assert clip["stability_ratio_gap1"] == pytest.approx(error / (error + 0.001), rel=1e-4)
    mean = np.mean([clip["stability_ratio_gap1"] for clip in result["clips"]])
    assert result["mean"]["stability_ratio_gap1"] == pytest.approx(mean)
    shown = capsys.readouterr().out
    assert "noise_flicker" in shown
    assert "Means over 2 scenes" in shown


@pytest.fixture
def two_nets(tmp_path):
    """Networks of one name in two folders, one with instance norms, one without."""
    for folder, model in (("a", norm_net()), ("b", invert_net())):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "tiny.onnx", model)
    return [tmp_path / folder / "tiny.onnx" for folder in "ab"]


def write_probe(folder):
    """A picture that is large enough for the probes."""
    write_image(folder / "probe.png", np.tile(texture_clip(1)[0], (2, 4, 1)))
    return folder / "probe.png"


def test_several_networks_are_measured_in_one_run_and_again_exactly(two_nets, tmp_path):
    film = write_frames(tmp_path / "film", texture_clip(6))
    probe = write_probe(tmp_path)
    for run in ("1", "2"):
        code = command(
            *(film, "scene:pan", "--net", *two_nets, "--statistics", "shot", "frame"),
            *("--strengths", 0.5, 1, "--frames", 5, "--height", 48, "--image", probe),
            *("--json", tmp_path / f"{run}.json", "--markdown", tmp_path / f"{run}.md"),
        )
        assert code == 0
    assert without_clock(tmp_path / "1.json") == without_clock(tmp_path / "2.json")
    assert (tmp_path / "1.md").read_bytes() == (tmp_path / "2.md").read_bytes()
    report = json.loads((tmp_path / "1.json").read_text())
    results = {(r["net"], r["statistics"], r["strength"]): r for r in report["results"]}
    assert len(results) == 8
    assert {net for net, _, _ in results} == {"a/tiny", "b/tiny"}
    for strength in (0.5, 1):
        # a network without norms is one function, whatever the statistics
        plain = [results["b/tiny", way, strength]["mean"] for way in ("shot", "frame")]
        assert plain[0] == plain[1]
        normed = [results["a/tiny", way, strength]["mean"] for way in ("shot", "frame")]
        assert normed[0] != normed[1]
    for result in results.values():
        film, scene = result["clips"]
        assert result["mean"]["e_warp_gap1"] == film["e_warp_gap1"]
        assert result["mean_scenes"]["e_warp_gap1"] == scene["e_warp_gap1"]
    table = (tmp_path / "1.md").read_text()
    assert "| a/tiny, per shot, strength 0.5 |" in table
    assert "Means over 1 films" in table


def test_a_blend_with_the_source_is_steadier(two_nets, tmp_path):
    # The negative of a clip with its own noise: half of it and half of the source are grey.
    noise = np.random.default_rng(0).normal(0, 6, (5, *SIZE, 3))
    film = write_frames(tmp_path / "film", (texture_clip(5) + noise).clip(0, 255).astype(np.uint8))
    target = tmp_path / "net.json"
    command(film, "--net", two_nets[1], "--strengths", 0.25, 0.5, 0.75, 1, "--json", target,
            "--image", write_probe(tmp_path))  # fmt: skip
    errors = {
        r["strength"]: r["mean"]["e_warp_gap1"] for r in json.loads(target.read_text())["results"]
    }
    assert errors[0.5] < 0.1 * errors[1]  # y = 255 - x, so the blend is constant
    assert errors[0.25] == pytest.approx(errors[0.75], rel=0.05)
    assert errors[0.25] == pytest.approx(errors[1] / 2, rel=0.05)


def test_a_picture_of_several_clips_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        command("scene:pan", "scene:zoom", "--net", "x.onnx", "--picture", tmp_path / "p.png")


@pytest.mark.parametrize(
    "words",
    [
        ("--strengths", "0"),
        ("--strengths", "1.5"),
        ("--strengths", "0.5", "1", "--picture", "p.png"),
        ("--plots", "."),
        ("--statistics", "clip"),
    ],
)
def test_wrong_usage_with_a_network_exits_with_two(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command("scene:pan", "--net", "x.onnx", *words)
    assert "error:" in capsys.readouterr().err


# tables and the picture


def test_tables_are_aligned():
    table = format_table(["net", "ms"], [["base", "9.1"], ["johnson", "100.0"]])
    assert table.splitlines() == ["net         ms", "base       9.1", "johnson  100.0"]
    assert Table("Speed", ["net", "ms"], [["base", "9.1"]]).markdown().splitlines() == [
        "Speed",
        "",
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
    canvas = picture.draw_clip(meter.stability, rows, "title", "subtitle")
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
        picture.draw_clip(meter.stability, rows, "title", "subtitle")
