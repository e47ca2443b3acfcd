import importlib.util
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.runtime.engines import choice, onnx_cpu, onnx_int8
from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.onnx_cpu import NAME as ONNX_CPU
from fastvid.runtime.engines.onnx_gpu import CUDA, OnnxGpu, why_not
from fastvid.runtime.engines.openvino import OpenVino
from fastvid.runtime.engines.protocol import Unavailable
from fastvid.runtime.graph.quantizing import FULL_WEIGHT
from fastvid.runtime.stylizer import OnnxStylizer

has_openvino = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not has_openvino, reason="OpenVINO is not installed")


def noise(n=1, h=37, w=53):
    return np.random.default_rng(0).integers(0, 256, (n, h, w, 3), dtype=np.uint8)


@needs_openvino
def test_openvino_paints_as_onnx_runtime_does():
    frames = noise(2)
    painted = []
    for engine in ("openvino", "onnxruntime"):
        stylizer = OnnxStylizer(norm_net(), "net", "cpu", engine)
        stylizer.adapt(frames)
        painted.append(stylizer(frames))
        assert stylizer.device == "cpu"
    assert psnr(*painted) >= MIN_PSNR_DB


@needs_openvino
def test_openvino_says_its_precision():
    assert OnnxStylizer(invert_net(), "net", "cpu", "openvino").engine.split()[2] in (
        "fp32",
        "bf16",
    )


def test_a_missing_openvino_is_named_and_auto_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)  # importing it fails from now on
    with pytest.raises(RuntimeError, match=r"engine openvino: OpenVINO is not installed; pip"):
        OnnxStylizer(invert_net(), "net", "cpu", "openvino")
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert OnnxStylizer(invert_net(), "net", "cpu").engine == ONNX_CPU


def test_auto_says_which_engine_is_faster(caplog, monkeypatch):
    class Slow:
        name, device = "Slow 1.0", "cpu"

        def __init__(self, model, probe, lanes=1):
            self.calls = 0

        def __call__(self, frames):
            return frames

    speeds = iter([[2.0, 5.0], [5.0, 2.0]])
    monkeypatch.setattr(choice, "OpenVino", Slow)
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(choice, "race", lambda paints, probe: next(speeds))
    with caplog.at_level(logging.INFO):
        first, second = (OnnxStylizer(invert_net(), "net", "cpu").engine for _ in range(2))
    assert (first, second) == (ONNX_CPU, "Slow 1.0")
    assert f"engine auto: {ONNX_CPU}, on a small frame {ONNX_CPU} 2.0 ms, Slow 1.0 5.0 ms" in (
        caplog.text
    )
    assert "engine auto: Slow 1.0, on a small frame" in caplog.text


def test_an_engine_that_fails_in_the_race_is_not_taken(monkeypatch, caplog):
    class Broken:
        def __init__(self, model, probe, lanes=1):
            raise Unavailable("no such instruction")

    monkeypatch.setattr(choice, "OpenVino", Broken)
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: True)
    with caplog.at_level(logging.INFO):
        assert OnnxStylizer(invert_net(), "net", "cpu").engine == ONNX_CPU
    assert "no such instruction" in caplog.text


@pytest.mark.parametrize(
    ("device", "engine", "expected"),
    [
        ("cuda", "openvino", "engine openvino does not run on device cuda"),
        ("cuda", "int8", "engine int8 does not run on device cuda"),
        ("cpu", "tensorrt", "engine tensorrt does not run on device cpu"),
        ("cpu", "torch", "engine is 'torch'; choices: auto, onnxruntime, int8, openvino, tensorrt"),
    ],
)
def test_names_that_contradict_are_refused(device, engine, expected):
    with pytest.raises(ValueError, match=expected):
        OnnxStylizer(invert_net(), "net", device, engine)


def test_tensorrt_is_an_error_where_it_does_not_run():
    if why_not(CUDA) is None:
        pytest.skip("this machine has an NVIDIA card")
    with pytest.raises(RuntimeError, match=r"engine tensorrt: .*; --engine auto takes another"):
        OnnxStylizer(invert_net(), "net", "auto", "tensorrt")
    with pytest.raises(Unavailable):
        OnnxGpu(invert_net(), noise())


def test_openvino_refuses_what_is_no_network():
    with pytest.raises(Unavailable, match="OpenVINO"):
        OpenVino(b"no graph", noise())


def test_psnr_of_equal_pictures_is_infinite_and_of_one_level_known():
    assert psnr(noise(), noise()) == float("inf")
    zero = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr(zero, zero + 1) == pytest.approx(48.13, abs=0.01)  # 20 log10 255


@needs_openvino
def test_openvino_paints_in_as_many_threads_as_it_was_made_for():
    frames = np.concatenate([noise(), 255 - noise(), noise() // 2, noise()])
    stylizer = OnnxStylizer(invert_net(), "net", "cpu", "openvino")
    paint = stylizer.frozen(frames[0], 2)
    with ThreadPoolExecutor(2) as pool:
        painted = np.concatenate(list(pool.map(paint, frames[:, None])))
    assert np.abs(painted.astype(int) - (255 - frames)).max() <= 1


def test_hardware_threads_of_one_core_count_once(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_cpu, "_max_threads", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 9}, raising=False)
    topology = tmp_path / "cpu{}"
    for processor, siblings in enumerate(("0,2", "1,3", "0,2")):
        folder = Path(str(topology).format(processor))
        folder.mkdir()
        (folder / "siblings").write_text(siblings)
    monkeypatch.setattr(onnx_cpu, "SIBLINGS", str(topology / "siblings"))
    assert onnx_cpu.cores() == 3  # 0 with 2, 1, and 9, of which nothing is known
    monkeypatch.setattr(onnx_cpu, "_max_threads", 5)
    assert onnx_cpu.cores() == 5


def test_lanes_share_the_cores(monkeypatch):
    monkeypatch.setattr(onnx_cpu, "cores", lambda: 7)
    threads = [
        onnx_cpu.open_session(invert_net(), lanes=lanes).get_session_options().intra_op_num_threads
        for lanes in (2, 3, 9)
    ]
    assert threads == [3, 2, 1]


@pytest.fixture
def _exact_sums(monkeypatch):
    """A processor with VNNI, and an int8 that never declines random weights for their contrast."""
    monkeypatch.setattr(choice, "largest_weight", lambda: FULL_WEIGHT)
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 20.0)


@pytest.mark.usefixtures("_exact_sums")
@pytest.mark.parametrize(
    ("float_ms", "int8_ms", "taken"), [(4.0, 1.9, True), (4.0, 2.1, False), (4.0, 9.0, False)]
)
def test_auto_takes_int8_where_it_is_worth_its_ranges(
    exported, monkeypatch, caplog, float_ms, int8_ms, taken
):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(choice, "race", lambda paints, probe: [float_ms, int8_ms])
    with caplog.at_level(logging.INFO):
        stylizer = OnnxStylizer(exported("base"), "net", "cpu")
    assert stylizer.chosen == ("int8" if taken else "onnxruntime")
    assert f"{ONNX_CPU} {float_ms} ms, {ONNX_CPU} int8 {int8_ms} ms" in caplog.text
    stylizer.adapt(noise(2))
    stylizer(noise())
    assert stylizer.engine == (f"{ONNX_CPU} int8" if taken else ONNX_CPU)


@pytest.mark.usefixtures("_exact_sums")
def test_auto_leaves_int8_out_where_it_would_change_the_painting(exported, monkeypatch):
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 90.0)
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(choice, "race", lambda paints, probe: [1.0] * len(paints))
    assert OnnxStylizer(exported("base"), "net", "cpu").chosen == "onnxruntime"


@pytest.mark.usefixtures("_exact_sums")
def test_auto_paints_tiles_in_float32(exported, monkeypatch):
    monkeypatch.setattr(choice, "race", lambda paints, probe: [9.0] * (len(paints) - 1) + [1.0])
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert OnnxStylizer(exported("base"), "net", "cpu", tile_px=32).chosen == "onnxruntime"
    assert OnnxStylizer(exported("base"), "net", "cpu").chosen == "int8"
