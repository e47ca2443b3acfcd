import argparse
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_nets import foreign_net, invert_net

from fastvid.evaluation import benchmark, roofline
from fastvid.evaluation.roofline import count_work, measure_roofline, roofline_table

HEIGHT, WIDTH = 20, 32
FRAMES = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def small_peaks(monkeypatch):
    monkeypatch.setattr(roofline, "MATRIX_SIDE", 64)
    monkeypatch.setattr(roofline, "ARRAY_BYTES", 1 << 16)


def layers_net(nodes, weights):
    """Frames as float (N, 3, H, W) called x into the nodes, their y out as it is."""
    shape = ["n", "h", "w", 3]
    before = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
    ]
    graph = helper.make_graph(
        [*before, *nodes],
        "layers",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(s, np.float32), name) for name, s in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def test_a_convolution_costs_two_operations_for_each_weight_and_pixel():
    operations, moved = count_work(invert_net(), FRAMES)
    assert operations == 2 * 9 * HEIGHT * WIDTH
    assert moved == 4 * (3 * HEIGHT * WIDTH + 9 + 3 * HEIGHT * WIDTH)


@pytest.mark.parametrize(
    ("node", "weights", "wanted"),
    [
        pytest.param(
            helper.make_node("Conv", ["x", "w"], ["y"], group=3, pads=[1, 1, 1, 1]),
            {"w": (6, 1, 3, 3)},
            2 * 6 * 9 * HEIGHT * WIDTH,
            id="each group sees its own channels alone",
        ),
        pytest.param(
            helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2]),
            {"w": (8, 3, 2, 2)},
            2 * 8 * 3 * 4 * HEIGHT // 2 * WIDTH // 2,
            id="strides leave pixels out",
        ),
        pytest.param(
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            {"w": (3, 5, 2, 2)},
            2 * 3 * 5 * 4 * HEIGHT * WIDTH,
            id="transposed, every input pixel meets every weight",
        ),
        pytest.param(
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            {"w": (WIDTH, 7)},
            2 * 3 * HEIGHT * WIDTH * 7,
            id="matrix product",
        ),
    ],
)
def test_operations_of_a_layer(node, weights, wanted):
    assert count_work(layers_net([node], weights), FRAMES)[0] == wanted


def test_layers_add_up():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"]),
    ]
    assert count_work(layers_net(nodes, {"w": (3, 3, 1, 1)}), FRAMES)[0] == 2 * 18 * HEIGHT * WIDTH


def test_shares_lie_between_their_ranges_and_compare_with_the_same_peak(tmp_path, small_peaks):
    path = tmp_path / "invert.onnx"
    path.write_bytes(invert_net())
    (row,) = measure_roofline({"invert": path}, FRAMES, rounds=3, engine="onnxruntime")
    assert (row["net"], row["width_px"], row["height_px"]) == ("invert", WIDTH, HEIGHT)
    assert min(row["peak_gflop_per_s"], row["peak_gib_per_s"]) > 0
    for name in ("share_of_peak", "share_of_roofline"):
        assert 0 < row[f"{name}_min"] <= row[name] <= row[f"{name}_max"]
    # what the memory allows is less than what the arithmetic does, and never more
    assert row["share_of_roofline"] >= row["share_of_peak"]
    assert "invert" in roofline_table([row]).text()


def test_benchmark_adds_the_table_and_the_figures(tmp_path, small_peaks, capsys):
    for name in ("invert", "johnson"):
        (tmp_path / f"{name}.onnx").write_bytes(invert_net())
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    words = ["--nets", tmp_path / "invert.onnx", tmp_path / "johnson.onnx", "--roofline"]
    words += ["--sizes", "32x20", "--rounds", 1, "--iterations", 0, "--frames", 0]
    words += ["--engine", "onnxruntime", "--json", tmp_path / "b.json"]
    assert benchmark.run(parser.parse_args([str(word) for word in words])) == 0
    assert "peaks of this machine" in capsys.readouterr().out
    rows = json.loads((tmp_path / "b.json").read_text())["roofline"]
    assert [row["net"] for row in rows] == ["johnson", "invert"]


def test_a_network_of_another_contract_is_refused(tmp_path, small_peaks):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(foreign_net())
    with pytest.raises(ValueError, match="not a fastvid network"):
        measure_roofline({"foreign": path}, FRAMES, rounds=1)
