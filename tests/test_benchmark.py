import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fastvid.evaluation import benchmark
from fastvid.evaluation.memory import peak_memory_of
from fastvid.evaluation.throughput import STAGES, measure_program, write_demo_clip
from fastvid.evaluation.timing import speed_ups, spread, take_turns, timing_figures
from fastvid.runtime.stylizer import load
from fastvid.video import VideoReader

HEIGHT_PX = 64


def tiny_net(path):
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
    return Path(path)


def command(*words):
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    return benchmark.run(parser.parse_args([str(word) for word in words]))


# timing


def test_everyone_has_a_turn_in_every_round_and_the_order_rotates():
    order = []
    calls = {name: lambda turn, n=name: order.append((turn, n)) for name in "abc"}
    seconds = take_turns(calls, rounds=3)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    warm_up, counted = order[:6], order[6:]
    assert [turn for turn, _ in warm_up] == [-2] * 3 + [-1] * 3
    assert "".join(name for _, name in counted) == "abcbcacab"


def test_speed_ups_are_ratios_within_a_round():
    # The machine was twice as slow in the second round; the ratio does not notice.
    seconds = {"yardstick": [4.0, 8.0, 4.0], "fast": [1.0, 2.0, 0.8]}
    found = speed_ups(seconds, "yardstick")
    assert found["yardstick"].median == found["yardstick"].p10 == 1.0
    assert found["fast"].median == pytest.approx(4.0)
    assert found["fast"].p90 == pytest.approx(4.8)  # between 4 and 5, at 80 % of the way


def test_spread_is_a_median_and_a_band():
    found = spread(range(11))
    assert (found.p10, found.median, found.p90) == (1.0, 5.0, 9.0)
    assert str(found) == "5.00 (1.00-9.00)"


def test_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def test_timing_figures_are_milliseconds_with_the_unit_in_the_name():
    assert timing_figures([0.010, 0.020, 0.030], "net") == {
        "net_ms_p50": 20.0,
        "net_ms_p95": 29.0,
    }


# memory


def test_peak_memory_grows_with_the_picture(tmp_path):
    net = tiny_net(tmp_path / "negative.onnx")
    small = peak_memory_of(net, (64, 64), "cpu")
    large = peak_memory_of(net, (2048, 2048), "cpu")
    assert large - small > 20  # at least frame and painting, 12 MiB each


def test_a_net_that_does_not_run_has_no_peak(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    assert peak_memory_of(broken, (64, 64), "cpu") is None


def test_measuring_memory_never_loads_torch():
    code = "import sys, fastvid.evaluation.memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# throughput


def test_the_demo_clip_has_as_many_frames_as_asked_for(tmp_path):
    write_demo_clip(tmp_path / "demo.mp4", 5, HEIGHT_PX)
    with VideoReader(tmp_path / "demo.mp4") as reader:
        assert len(list(reader)) == 5


def test_the_program_is_compared_with_its_slowest_stage(tmp_path):
    write_demo_clip(tmp_path / "demo.mp4", 8, HEIGHT_PX)
    stylizer = load(tiny_net(tmp_path / "negative.onnx"), "cpu")
    found = measure_program(tmp_path / "demo.mp4", stylizer, num_frames=6, rounds=2)
    assert found["frames"] == 6
    alone = {stage: found[f"{stage}_alone_fps"] for stage in STAGES}
    assert found["slowest_stage"] == min(alone, key=alone.get)
    assert found["share_of_slowest_p10"] <= found["share_of_slowest"]
    assert found["share_of_slowest"] <= found["share_of_slowest_p90"]
    assert found["program_fps"] > 0
    assert "CPU" in found["engine"]


# the nets


def test_nets_are_compared_with_the_yardstick_on_the_same_frames(tmp_path):
    net = tiny_net(tmp_path / "negative.onnx")
    images = np.zeros((4, 32, 48, 3), dtype=np.uint8)
    rows = benchmark.measure_nets(
        {"fast": net, benchmark.YARDSTICK: net}, images, rounds=3, batch=2, device="cpu"
    )
    assert [row["net"] for row in rows] == [benchmark.YARDSTICK, "fast"]
    first = rows[0]
    assert (first["width_px"], first["height_px"], first["batch"]) == (48, 32, 2)
    assert first["speed_up"] == first["speed_up_p10"] == first["speed_up_p90"] == 1.0
    for row in rows:
        assert row["net_ms_p50"] <= row["net_ms_p95"]
        assert row["fps"] == pytest.approx(1000 / row["net_ms_p50"], rel=0.01)
        assert row["engine"].startswith("ONNX Runtime")


def test_files_keep_their_name_and_may_be_the_yardstick(tmp_path):
    mine, yardstick = tiny_net(tmp_path / "mine.onnx"), tiny_net(tmp_path / "johnson.onnx")
    models = benchmark.collect_models([str(mine), str(yardstick)], tmp_path / "nothing")
    assert models == {"mine": mine, benchmark.YARDSTICK: yardstick}


@pytest.mark.slow
def test_architectures_run_with_random_weights_and_the_yardstick_is_added(tmp_path):
    models = benchmark.collect_models(["nano"], tmp_path)
    assert list(models) == ["nano", benchmark.YARDSTICK]
    for path in models.values():
        assert load(path, "cpu").metadata["title"] == "random weights"


def test_an_unknown_net_names_the_choices(tmp_path):
    with pytest.raises(ValueError, match="choices"):
        benchmark.collect_models(["bsae"], tmp_path)


# the command


def test_one_command_gives_tables_json_and_markdown(tmp_path, capsys):
    net, yardstick = tiny_net(tmp_path / "negative.onnx"), tiny_net(tmp_path / "johnson.onnx")
    write_demo_clip(tmp_path / "demo.mp4", 6, HEIGHT_PX)
    code = command(
        *(tmp_path / "demo.mp4", "--nets", net, yardstick, "--device", "cpu"),
        *("--sizes", "32x16", "--batches", 1, 2, "--rounds", 2, "--frames", 4),
        *("--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md"),
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "32x16, batch 1, ONNX Runtime" in shown
    assert "Whole program, negative, 114x64, 4 frames" in shown
    report = json.loads((tmp_path / "b.json").read_text())
    assert len(report["nets"]) == 4  # two nets at two batches
    assert report["program"]["frames"] == 4
    assert report["machine"]["cores"] >= 1
    assert "onnxruntime" in " ".join(report["versions"])
    assert str(tmp_path) not in json.dumps(report)
    assert "| net | ms p50 |" in (tmp_path / "b.md").read_text()


@pytest.mark.parametrize("option", ["--json", "--markdown"])
def test_an_existing_report_is_refused_before_anything_is_timed(tmp_path, option):
    target = tmp_path / "report"
    target.write_text("precious")
    with pytest.raises(RuntimeError, match="exists already; --overwrite"):
        command(tmp_path / "no_such_film.mp4", option, target)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("words", [("--sizes", "640"), ("--sizes", "8x8"), ("--rounds", "0")])
def test_wrong_usage_exits_with_two(words):
    with pytest.raises(SystemExit, match="2"):
        command(*words)
