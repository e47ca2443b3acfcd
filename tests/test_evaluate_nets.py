import json

import numpy as np
import pytest
from evaluate_command import (
    SIZE,
    command,
    texture_clip,
    without_clock,
    write_frames,
    write_probe,
)
from onnx_nets import invert_net, norm_net, write


@pytest.fixture(autouse=True)
def _no_weights(tmp_path, monkeypatch):
    """Without VGG weights, found or cached: what every machine can do."""
    monkeypatch.setenv("FASTVID_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


def test_a_network_is_probed_and_measured_on_generated_scenes(tmp_path, capsys):
    net = write(tmp_path / "negative.onnx", invert_net())
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
