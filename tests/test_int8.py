import logging

import media
import numpy as np
import onnx
import pytest
from onnx_nets import invert_net, norm_net, write

from fastvid.runtime.bulk.piece import Network as WorkersNetwork
from fastvid.runtime.engines import onnx_int8
from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.engines.onnx_cpu import NAME as ONNX_CPU
from fastvid.runtime.engines.onnx_int8 import OnnxInt8, make_int8
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.quantizing import activations, quantize
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import OnnxStylizer

SIZE = (48, 64)
FRAMES = np.stack([media.texture(SIZE, seed) for seed in range(3)])
INT8 = f"{ONNX_CPU} int8"


def held(model, frames=FRAMES, engine="onnxruntime"):
    stylizer = OnnxStylizer(model, "net", "cpu", engine)
    stylizer.adapt(frames)
    return stylizer


@pytest.mark.parametrize("name", ["base", pytest.param("nano", marks=pytest.mark.slow)])
def test_all_but_the_ends_are_in_8_bits_and_the_picture_is_the_same(exported, name):
    plain = held(exported(name))
    graph = plain.graph(SIZE)
    # random weights paint with far more contrast than trained ones, and lose more
    assert (
        psnr(plain(FRAMES), np.concatenate([OnnxInt8(graph, FRAMES)(f[None]) for f in FRAMES])) > 25
    )
    network = Network(quantize(graph, dict.fromkeys(activations(graph), (-1.0, 1.0))))
    layers = [node for node in network.nodes if node.op_type == "Conv"]
    assert len(layers) >= 5
    for node in layers[1:-1]:
        made_by = [network.producer(value) for value in node.input]
        assert {maker.op_type for maker in made_by} == {"DequantizeLinear"}
    for node in (layers[0], layers[-1]):
        assert node.input[1] in network.constants


@pytest.fixture
def any_distance(monkeypatch):
    """Random weights paint with more contrast than trained ones, and lose more."""
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 25.0)


def test_a_stylizer_says_that_it_paints_in_8_bits(exported, any_distance):
    plain, coded = held(exported("base")), held(exported("base"), engine="int8")
    difference = psnr(plain(FRAMES), coded(FRAMES))
    assert 25 < difference < float("inf")
    assert (plain.engine, coded.engine) == (ONNX_CPU, INT8)


def test_a_painting_that_would_change_is_left_in_float32(exported, monkeypatch, caplog):
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 60.0)
    plain, coded = held(exported("base")), held(exported("base"), engine="int8")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(coded(FRAMES), plain(FRAMES))
    assert coded.engine == ONNX_CPU
    assert "int8 would change the painting" in caplog.text


def test_ranges_come_from_all_frames_of_the_shot(exported, any_distance):
    dark, bright = (FRAMES[:1] * 0.2).astype(np.uint8), FRAMES[:1]
    shot = np.concatenate([dark, bright])
    plain, coded = held(exported("base"), shot), held(exported("base"), shot, "int8")
    narrow = OnnxInt8(plain.graph(SIZE), dark)  # clipped at what the dark frame needed
    coded(dark)
    assert coded.engine == INT8
    assert psnr(plain(bright), coded(bright)) > psnr(plain(bright), narrow(bright)) + 3


def test_the_worst_frame_of_the_shot_decides(caplog):
    coded = held(norm_net(), engine="int8")
    with caplog.at_level(logging.INFO):
        coded(FRAMES)
    assert coded.engine == ONNX_CPU  # the last one alone would be near enough
    assert "float32 for this shot" in caplog.text


def test_zero_is_exact_and_weights_keep_to_seven_bits():
    graph = held(norm_net()).graph(SIZE)
    names = activations(graph)
    network = Network(quantize(graph, {name: (0.3, 0.9) for name in names}))
    coders = [node for node in network.nodes if node.op_type == "QuantizeLinear"]
    for scale, zero in ([network.constants[n] for n in node.input[1:]] for node in coders):
        if scale != np.float32(1 / 255):  # the network's own last step
            assert zero == 0
            assert scale == pytest.approx(0.9 / 255)
    stored = onnx.load_from_string(network.to_bytes()).graph.initializer
    weights = [
        onnx.numpy_helper.to_array(t) for t in stored if t.data_type == onnx.TensorProto.INT8
    ]
    assert max(abs(w.astype(int)).max() for w in weights if w.ndim == 4) == 63


def test_a_network_of_one_convolution_is_left_alone():
    graph = held(invert_net()).graph(SIZE)
    assert activations(graph) == []
    assert make_int8(graph, FRAMES).name == ONNX_CPU


def test_a_constant_value_has_a_code():
    graph = held(norm_net()).graph(SIZE)
    quantize(graph, dict.fromkeys(activations(graph), (0.0, 0.0)))  # no division by zero


def test_the_same_shot_gives_the_same_pixels_again():
    first, second = (held(norm_net(), engine="int8") for _ in range(2))
    np.testing.assert_array_equal(first(FRAMES), second(FRAMES))
    first.adapt(FRAMES[:1])
    first.adapt(FRAMES)
    np.testing.assert_array_equal(first(FRAMES), second(FRAMES))


def test_a_frame_of_its_own_statistics_is_painted_in_float32():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu", "int8")
    plain = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")
    np.testing.assert_array_equal(stylizer(FRAMES), plain(FRAMES))
    assert stylizer.engine == ONNX_CPU


def test_tiles_have_no_ranges():
    with pytest.raises(ValueError, match="int8 takes its ranges from whole frames"):
        OnnxStylizer(norm_net(), "net", "cpu", "int8", tile_px=32)


def test_workers_paint_in_8_bits_where_the_program_was_asked_to(tmp_path):
    path = write(tmp_path / "net.onnx", norm_net())
    network = WorkersNetwork(path, engine="int8")
    assert network.settled(load(path, "cpu", "int8")).engine == "int8"
