import argparse
import json
import subprocess
import sys

import media
import numpy as np
import pytest
from onnx_nets import invert_net, write
from tiny import data_root

from fastvid.evaluation import apart, benchmark, sections, speed
from fastvid.evaluation.apart import measure_cores, paint_apart
from fastvid.evaluation.throughput import (
    STAGES,
    length_table,
    measure_lengths,
    measure_program,
    write_demo_clip,
)
from fastvid.evaluation.timing import span, speed_ups, spread, take_turns, timing_figures
from fastvid.runtime.engines import onnx_int8
from fastvid.runtime.loading import load
from fastvid.video import VideoReader

HEIGHT_PX = 64


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
    assert found["yardstick"].median == found["yardstick"].least == 1.0
    assert found["fast"].median == pytest.approx(4.0)
    assert found["fast"].most == pytest.approx(5.0)


def test_spread_is_a_median_and_a_range():
    found = spread([9, 5, 1, 4, 6])
    assert (found.least, found.median, found.most) == (1.0, 5.0, 9.0)
    row = found.as_dict("ratio")
    assert row == {"ratio": 5.0, "ratio_min": 1.0, "ratio_max": 9.0}
    assert span(row, "ratio") == "5.00 (1.00-9.00)"


def test_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def test_timing_figures_are_milliseconds_with_the_unit_in_the_name():
    assert timing_figures([0.010, 0.020, 0.030], "net") == {
        "net_ms_p50": 20.0,
        "net_ms_p95": 29.0,
    }


# a process of its own


def test_peak_memory_grows_with_the_picture(tmp_path):
    net = write(tmp_path / "negative.onnx", invert_net())
    small, large = (paint_apart(net, (side, side), "cpu") for side in (64, 3072))
    assert large["peak_memory_mib"] - small["peak_memory_mib"] > 20  # frame and painting: 27 each
    assert len(small["net_ms"]) == apart.FRAMES


def test_a_net_that_does_not_run_has_no_figures(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    assert paint_apart(broken, (64, 64), "cpu") is None


def test_a_process_that_does_not_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "TIMEOUT_S", 0.05)  # less than Python takes to start
    assert paint_apart(write(tmp_path / "negative.onnx", invert_net()), (64, 64), "cpu") is None


def test_measuring_apart_never_loads_torch():
    code = "import sys, fastvid.evaluation.apart; sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, timeout=120).returncode == 0


def test_cores_are_compared_with_one_of_them(tmp_path, monkeypatch):
    asked = []

    def paint(model, size, device, engine, cores):
        asked.append(cores)
        return {"peak_memory_mib": 1.0, "net_ms": [12.0 / cores] * 3}

    monkeypatch.setattr(apart, "paint_apart", paint)
    monkeypatch.setattr(apart.os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    monkeypatch.setattr(apart, "THREADS", tmp_path)
    rows = measure_cores({"net": tmp_path / "net.onnx"}, (16, 32), rounds=2)
    assert asked == [1, 2, 3] * 2
    assert [(row["cores"], row["net_ms_p50"]) for row in rows] == [(1, 12.0), (2, 6.0), (3, 4.0)]
    assert [row["speed_up"] for row in rows] == [1.0, 2.0, 3.0]


@pytest.mark.skipif(not apart.THREADS.is_dir(), reason="only Linux lets a process choose cores")
def test_a_process_keeps_to_its_cores():
    code = (
        "import os, threading, fastvid.evaluation.apart as apart\n"
        "done = threading.Event()\n"
        "thread = threading.Thread(target=done.wait, args=(60,)); thread.start()\n"
        "apart._confine(1)\n"
        "print([len(os.sched_getaffinity(int(t.name))) for t in apart.THREADS.iterdir()])\n"
        "done.set(); thread.join(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    counts = json.loads(done.stdout)
    assert len(counts) >= 2
    assert set(counts) == {1}


# throughput


def test_the_demo_clip_has_as_many_frames_as_asked_for(tmp_path):
    write_demo_clip(tmp_path / "demo.mp4", 5, HEIGHT_PX)
    with VideoReader(tmp_path / "demo.mp4") as reader:
        assert len(list(reader)) == 5


def test_the_program_is_compared_with_its_slowest_stage(tmp_path):
    write_demo_clip(tmp_path / "demo.mp4", 8, HEIGHT_PX)
    stylizer = load(write(tmp_path / "negative.onnx", invert_net()), "cpu")
    found = measure_program(tmp_path / "demo.mp4", stylizer, num_frames=6, rounds=2)
    assert found["frames"] == 6
    alone = {stage: found[f"{stage}_alone_fps"] for stage in STAGES}
    assert found["slowest_stage"] == min(alone, key=alone.get)
    assert found["share_of_slowest_min"] <= found["share_of_slowest"]
    assert found["share_of_slowest"] <= found["share_of_slowest_max"]
    assert 0 < found["share_of_cores_min"] <= found["share_of_cores"]
    assert 0 < found["bottleneck_busy_min"] <= found["bottleneck_busy"] <= 1
    for name in (*STAGES, "program"):
        assert found[f"{name}_cpu_ms_per_frame"] > 0
    assert found["frames_at_once"] == stylizer.lanes((found["height_px"], found["width_px"]))
    assert found["program_fps"] > 0
    assert "CPU" in found["engine"]


def test_films_of_several_lengths_are_painted_whole(tmp_path):
    write_demo_clip(tmp_path / "demo.mp4", 6, HEIGHT_PX)
    stylizer = load(write(tmp_path / "negative.onnx", invert_net()), "cpu")
    rows = measure_lengths(tmp_path / "demo.mp4", stylizer, [1, 4, 99], rounds=1)
    assert [row["frames"] for row in rows] == [1, 4, 6]  # no longer than the film is
    for row in rows:
        assert row["s_per_frame"] == pytest.approx(row["program_s"] / row["frames"], rel=0.02)


def test_a_further_frame_costs_what_the_longer_film_took_more():
    times = {1: 1.0, 11: 3.0}
    rows = [
        {"frames": n, **spread([s]).as_dict("program_s"), "s_per_frame": s / n}
        for n, s in times.items()
    ]
    assert [row[-1] for row in length_table("net", rows).rows] == ["-", "0.2000"]


# the nets


def test_nets_are_compared_with_the_yardstick_on_the_same_frames(tmp_path):
    net = write(tmp_path / "negative.onnx", invert_net())
    images = np.zeros((4, 32, 48, 3), dtype=np.uint8)
    rows = speed.measure_nets(
        {"fast": net, speed.YARDSTICK: net}, images, rounds=3, batch=2, device="cpu"
    )
    assert [row["net"] for row in rows] == [speed.YARDSTICK, "fast"]
    first = rows[0]
    assert (first["width_px"], first["height_px"], first["batch"]) == (48, 32, 2)
    assert first["speed_up"] == first["speed_up_min"] == first["speed_up_max"] == 1.0
    for row in rows:
        assert row["net_ms_p50"] <= row["net_ms_p95"]
        assert row["fps"] == pytest.approx(1000 / row["net_ms_p50"], rel=0.01)
        assert row["engine"].startswith("ONNX Runtime")


def test_engines_are_compared_with_the_first_one(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 20.0)
    net = write(tmp_path / "base.onnx", exported("base"))
    images = np.stack([media.texture((32, 48), seed) for seed in range(2)])
    rows = speed.measure_nets(
        {"base": net, speed.YARDSTICK: net},
        images, rounds=2, device="cpu", engines=("onnxruntime", "int8"),
    )  # fmt: skip
    assert [row["net"] for row in rows] == [speed.YARDSTICK, "base", "base, int8"]
    assert [row["engine"].split()[-1] for row in rows] == ["CPU", "CPU", "int8"]
    assert [row["psnr_db"] for row in rows[:2]] == [None, None]
    assert 20 < rows[2]["psnr_db"] < 100
    table = speed.net_table([row | {"peak_memory_mib": None} for row in rows])
    assert table.header[-1] == "dB"
    assert table.rows[1][-1] == "-"
    alone = speed.net_table([row | {"peak_memory_mib": None} for row in rows[:2]])
    assert "dB" not in alone.header
    assert {len(row) for row in alone.rows} == {len(alone.header)}


def test_files_keep_their_name_and_may_be_the_yardstick(tmp_path):
    mine, yardstick = (
        write(tmp_path / "mine.onnx", invert_net()),
        write(tmp_path / "x.johnson.onnx", invert_net()),
    )
    models = speed.collect_models([str(mine), str(yardstick)], tmp_path / "nothing")
    assert list(models) == [speed.YARDSTICK, "mine"]
    assert models["mine"].path == mine
    assert models[speed.YARDSTICK].path == yardstick


def test_a_trained_net_knows_its_painting(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    net = write(tmp_path / "tiny.small.onnx", invert_net())
    yardstick = write(tmp_path / "johnson.onnx", invert_net())
    models = speed.collect_models([str(net), str(yardstick)], tmp_path)
    assert models["tiny.small"].painting == tmp_path / "data" / "styles" / "tiny.png"
    assert models[speed.YARDSTICK].painting is None
    (tmp_path / "johnson.json").write_text('{"name": "tiny"}')
    models = speed.collect_models([str(yardstick)], tmp_path)
    assert models[speed.YARDSTICK].painting.name == "tiny.png"


@pytest.mark.slow
def test_architectures_run_with_random_weights_and_the_yardstick_is_added(tmp_path):
    models = speed.collect_models(["nano"], tmp_path)
    assert list(models) == [speed.YARDSTICK, "nano"]
    for model in models.values():
        assert load(model.path, "cpu").metadata["title"] == "random weights"
        assert model.painting is None


def test_an_unknown_net_names_the_choices(tmp_path):
    with pytest.raises(ValueError, match="choices"):
        speed.collect_models(["bsae"], tmp_path)


# the command


def test_one_command_gives_tables_json_markdown_and_plots(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    net, yardstick = (
        write(tmp_path / "tiny.onnx", invert_net()),
        write(tmp_path / "johnson.onnx", invert_net()),
    )
    write_demo_clip(tmp_path / "demo.mp4", 6, HEIGHT_PX)
    code = command(
        *(tmp_path / "demo.mp4", "--nets", net, yardstick, "--device", "cpu"),
        *("--sizes", "48x32", "96x64", "--batches", 1, 2, "--rounds", 2, "--frames", 1, 4),
        *("--iterations", 2, "--limit", 3, "--optimizer-frames", 2, "--optimizer-pixels", 2000),
        *("--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md", "--plots", tmp_path),
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "48x32, batch 1, ONNX Runtime" in shown
    assert "Whole program, tiny, 114x64, 4 frames" in shown
    report = json.loads((tmp_path / "b.json").read_text())
    assert len(report["nets"]) == 8  # two nets at two sizes and two batches
    assert report["program"]["frames"] == 4
    assert [row["frames"] for row in report["lengths"]] == [1, 4]
    assert report["random_weights"] == ["johnson"]
    assert report["optimizer"]["style_image"] == "tiny.png"
    rows = {row["net"]: row for row in report["optimizer"]["rows"]}
    assert list(rows) == ["optimiser", "johnson", "tiny"]
    assert "style_distance" in rows["optimiser"]
    assert "style_distance" in rows["tiny"]
    assert "style_distance" not in rows["johnson"]  # not trained on this painting
    assert rows["tiny"]["limit_iterations"] == 3
    sizes = [(row["width_px"], row["height_px"]) for row in report["optimizer"]["costs"]]
    assert sizes == [(48, 32)]  # the other one has too many pixels
    assert report["machine"]["cores"] >= 1
    assert "onnxruntime" in " ".join(report["versions"])
    assert str(tmp_path) not in json.dumps(report)
    assert "| net | ms p50 |" in (tmp_path / "b.md").read_text()
    for name in sections.PLOTS:
        assert (tmp_path / name).read_text().startswith("<svg")


@pytest.mark.parametrize("option", ["--json", "--markdown"])
def test_an_existing_report_is_refused_before_anything_is_timed(tmp_path, option):
    target = tmp_path / "report"
    target.write_text("precious")
    with pytest.raises(RuntimeError, match="exists already; --overwrite"):
        command(tmp_path / "no_such_film.mp4", option, target)
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    "words",
    [
        ("--sizes", "640"),
        ("--sizes", "8x8"),
        ("--rounds", "0"),
        ("--frames", "-1"),
        ("--optimizer-frames", "1"),
    ],
)
def test_wrong_usage_exits_with_two(words):
    with pytest.raises(SystemExit, match="2"):
        command(*words)
