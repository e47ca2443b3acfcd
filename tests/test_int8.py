import logging

import media
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net, write

from fastvid.runtime.bulk.piece import Network as WorkersNetwork
from fastvid.runtime.engines import onnx_cpu, onnx_int8
from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.engines.onnx_cpu import NAME as ONNX_CPU
from fastvid.runtime.engines.onnx_int8 import OnnxInt8, largest_weight, make_int8
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.quantizing import FULL_WEIGHT, SAFE_WEIGHT, activations, quantize
from fastvid.runtime.graph.saturation import extreme_sum
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.runtime.transition import TransitionStylizer

SIZE = (48, 64)
FRAMES = np.stack([media.texture(SIZE, seed) for seed in range(3)])
INT8 = f"{ONNX_CPU} int8"


def held(model, frames=FRAMES, engine="onnxruntime"):
    stylizer = OnnxStylizer(model, "net", "cpu", engine)
    stylizer.adapt(frames)
    return stylizer


def always(graph):
    """The graph, whatever size is asked for."""
    return lambda size: graph


def in_8_bits(graph, **options):
    """The graph in 8 bits, its ranges not those of any frame."""
    return Network(quantize(graph, dict.fromkeys(activations(graph), (-1.0, 1.0)), **options))


@pytest.mark.parametrize("name", ["base", pytest.param("nano", marks=pytest.mark.slow)])
def test_all_convolutions_are_in_8_bits_and_the_picture_is_the_same(exported, name):
    plain = held(exported(name))
    graph = plain.graph(SIZE)
    # random weights paint with far more contrast than trained ones, and lose more
    assert (
        psnr(
            plain(FRAMES),
            np.concatenate([OnnxInt8(always(graph), FRAMES)(f[None]) for f in FRAMES]),
        )
        > 25
    )
    network = in_8_bits(graph)
    layers = [node for node in network.nodes if node.op_type == "Conv"]
    assert len(layers) >= 5
    for node in layers:
        made_by = [network.producer(value) for value in node.input]
        assert {maker.op_type for maker in made_by} == {"DequantizeLinear"}


@pytest.mark.parametrize("name", ["base", "nano"])
def test_what_only_moves_moves_bytes(exported, name):
    network = in_8_bits(held(exported(name)).graph(SIZE))
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(network.to_bytes())).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    moving = {"Transpose", "Concat", "Reshape", "Split", "Slice"}
    moved = [kinds.get(n.output[0]) for n in inferred.node if n.op_type in moving]
    assert onnx.TensorProto.FLOAT not in moved
    assert moved.count(onnx.TensorProto.UINT8) >= 8


def test_sums_go_on_in_float32_and_are_coded_for_the_convolutions_alone(exported):
    graph = held(exported("base")).graph(SIZE)
    before, network = Network(graph), in_8_bits(graph)
    blocks = [
        n.output[0]
        for n in before.nodes
        if n.op_type == "Add" and not any(i in before.constants for i in n.input)
    ]
    assert len(blocks) == 2
    assert blocks[0] in network.producer(blocks[1]).input
    for name in blocks:
        assert "Conv" not in {user.op_type for user in network.consumers(name)}


def test_the_first_convolution_takes_the_bytes_in_blocks(exported):
    network = in_8_bits(held(exported("base")).graph(SIZE))
    first = next(n for n in network.nodes if n.op_type == "Conv")
    weights, source = (network.producer(first.input[i]) for i in (1, 0))
    assert network.constants[weights.input[0]].shape[1:] == (12, 3, 3)  # was 3 channels, 6x6
    assert network.scalar(source.input[1]) == 1
    assert network.scalar(source.input[2]) == 128  # what the zeros around a picture mean
    assert not [n for n in network.nodes if n.op_type == "Cast"]


@pytest.mark.parametrize("size", [(52, 84), (45, 67)])
def test_any_size_is_cut_into_blocks(exported, size):
    frames = np.stack([media.texture(size, seed) for seed in range(2)])
    graph = held(exported("base"), frames).graph(size)
    network = in_8_bits(graph)
    assert [n for n in network.nodes if n.op_type == "Slice" and n.input[0] == "index_select_1"]
    assert OnnxInt8(always(graph), frames).psnr_db > 25


def test_a_summand_for_each_channel_leaves_the_first_convolution_in_float32(exported):
    network = Network(held(exported("base")).graph(SIZE))
    first = next(n for n in network.nodes if n.op_type == "Conv")
    shift = network.producer(first.input[0])
    shift.input[1] = network.constant(np.array([-100, -110, -120], np.float32)[:, None, None])
    graph = network.to_bytes()
    coded = in_8_bits(graph)
    first = next(n for n in coded.nodes if n.op_type == "Conv")
    assert first.input[1] in coded.constants
    assert OnnxInt8(always(graph), FRAMES).psnr_db > 25


def test_channels_are_filled_up_to_sixteen_and_cut_off_as_bytes(exported):
    network = in_8_bits(held(exported("base")).graph(SIZE))
    last = [n for n in network.nodes if n.op_type == "Conv"][-1]
    kernel = network.constants[network.producer(last.input[1]).input[0]]
    assert len(kernel) == 16
    assert not kernel[12:].any()
    assert network.only_consumer(network.only_consumer(last.output[0]).output[0], "Slice")


@pytest.fixture
def _processor_is_asked_again():
    largest_weight.cache_clear()
    yield
    largest_weight.cache_clear()


@pytest.mark.usefixtures("_processor_is_asked_again")
def test_a_processor_that_saturates_gets_smaller_weights(monkeypatch):
    for weight in (SAFE_WEIGHT, FULL_WEIGHT):
        model, frames = extreme_sum(weight)
        plain = ort.SessionOptions()
        plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model, plain, providers=["CPUExecutionProvider"])
        assert (session.run(None, {"frames": frames})[0] == 255).all()
    model, frames = extreme_sum(SAFE_WEIGHT)
    assert (onnx_cpu.open_session(model).run(None, {"frames": frames})[0] == 255).all()
    model, frames = extreme_sum(FULL_WEIGHT)
    monkeypatch.setattr(onnx_int8, "extreme_sum", lambda weight: (model, frames // 2))
    assert largest_weight() == SAFE_WEIGHT


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


def test_ranges_come_from_both_ends_of_the_shot(exported, any_distance):
    dark, bright = (FRAMES[:1] * 0.2).astype(np.uint8), FRAMES[:1]
    shot = np.concatenate([dark, dark, bright])
    plain, coded = held(exported("base"), shot), held(exported("base"), shot, "int8")
    narrow = OnnxInt8(plain.graph, dark)  # clipped at what the dark frame needed
    coded(dark)
    assert coded.engine == INT8
    assert psnr(plain(bright), coded(bright)) > psnr(plain(bright), narrow(bright)) + 3


@pytest.mark.parametrize(
    ("size", "limit", "shape"),
    [((48, 64), 48 * 64, (1, 48, 64)), ((48, 64), 1600, (2, 48, 32)), ((45, 70), 999, (4, 23, 35))],
)
def test_large_frames_are_cut_into_parts_that_cover_them(monkeypatch, size, limit, shape):
    monkeypatch.setattr(onnx_int8, "_PART_PIXELS", limit)
    numbered = np.arange(2 * size[0] * size[1]).reshape(2, *size, 1).repeat(3, axis=3)
    parts = onnx_int8._parts(numbered)
    assert parts.shape == (2, *shape, 3)
    for frame, cut in zip(numbered, parts, strict=True):
        assert set(cut.ravel()) == set(frame.ravel())


@pytest.mark.parametrize("size", [(64, 96), (61, 90)])
def test_ranges_from_parts_paint_as_those_of_the_whole_frame(exported, monkeypatch, size):
    frames = np.stack([media.texture(size, seed) for seed in range(2)])
    plain = held(exported("base"), frames)
    whole = OnnxInt8(plain.graph, frames)
    monkeypatch.setattr(onnx_int8, "_PART_PIXELS", size[0] * size[1] // 3)
    in_parts = OnnxInt8(plain.graph, frames)
    assert in_parts(frames[:1]).shape == (1, *size, 3)
    assert in_parts.psnr_db == pytest.approx(whole.psnr_db, abs=1)
    painted = [psnr(plain(frames[:1]), engine(frames[:1])) for engine in (whole, in_parts)]
    assert painted[1] == pytest.approx(painted[0], abs=1)


def test_the_worse_end_of_the_shot_decides(caplog):
    coded = held(norm_net(), engine="int8")
    with caplog.at_level(logging.INFO):
        coded(FRAMES)
    assert coded.engine == ONNX_CPU  # the last one alone would be near enough
    assert "float32 for this shot" in caplog.text


@pytest.mark.parametrize("largest", [SAFE_WEIGHT, FULL_WEIGHT])
def test_zero_is_exact_and_weights_keep_to_what_does_not_saturate(largest):
    graph = held(norm_net()).graph(SIZE)
    names = activations(graph)
    network = Network(quantize(graph, {name: (0.3, 0.9) for name in names}, largest))
    coders = [node for node in network.nodes if node.op_type == "QuantizeLinear"]
    for scale, zero in ([network.constants[n] for n in node.input[1:]] for node in coders):
        if scale != np.float32(1 / 255):  # the network's own last step
            assert zero == 0
            assert scale == pytest.approx(0.9 * 0.9 / 255)  # the upper end is cut
    stored = onnx.load_from_string(network.to_bytes()).graph.initializer
    weights = [
        onnx.numpy_helper.to_array(t) for t in stored if t.data_type == onnx.TensorProto.INT8
    ]
    assert max(abs(w.astype(int)).max() for w in weights if w.ndim == 4) == largest


def test_a_network_of_one_convolution_is_left_alone():
    graph = held(invert_net()).graph(SIZE)
    assert activations(graph) == []
    assert make_int8(always(graph), FRAMES).name == ONNX_CPU


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


@pytest.mark.parametrize("bare", [False, True])
def test_what_is_held_for_no_shot_is_painted_in_float32(exported, any_distance, bare):
    model = invert_net() if bare else exported("base")
    plain, coded = (OnnxStylizer(model, "net", "cpu", name) for name in ("onnxruntime", "int8"))
    moments = [m for frame in FRAMES if (m := plain.measure(frame)) is not None]
    for stylizer in (plain, coded):
        stylizer.adapt(FRAMES)
        stylizer(FRAMES)
    for prepare in (
        lambda stylizer: stylizer.adapt(None),
        lambda stylizer: stylizer.become(model, moments),
    ):
        prepare(plain)
        prepare(coded)
        np.testing.assert_array_equal(coded(FRAMES), plain(FRAMES))
        assert coded.engine == ONNX_CPU


def test_between_two_styles_over_time_frames_are_painted_in_float32(exported, any_distance):
    first = exported("base")
    moments = {0.0: first, 1.0: first, 2.0: first}
    stylizer = TransitionStylizer(OnnxStylizer(first, "net", "cpu", "int8"), moments)
    stylizer.adapt(FRAMES)
    found = []
    for seconds in (-1.0, 0.5, 1.0, 1.5, 3.0):
        stylizer.at(seconds)
        stylizer(FRAMES[:1])
        found.append(stylizer.engine)
    assert found == [INT8, ONNX_CPU, INT8, ONNX_CPU, INT8]


def test_workers_paint_in_8_bits_where_the_program_does(tmp_path):
    path = write(tmp_path / "net.onnx", norm_net())
    network = WorkersNetwork(path, engine="int8")
    assert network.settled(load(path, "cpu", "int8")).engine == "int8"
