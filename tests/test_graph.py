"""The rewritten graph against the exporter's own, through ONNX Runtime; no training."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.export import export_onnx
from fastvid.nets import build_net
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.rewriting import (
    merge_input,
    merge_output,
    pad_once,
    rewrite,
    split_upsampling,
)
from fastvid.runtime.graph.statistics import add_statistics, fold_statistics

SIZES = [(37, 53), (48, 64), (16, 16)]
TINY = {
    "base": {"stem_channels": 8, "channels": 16, "dilations": (1, 2), "tail_channels": (16, 8)},
    "nano": {"channels": 16, "dilations": (2,), "tail_channels": (8,)},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Small nets with random weights, through the real exporter, by name."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("nets")
    models = {}
    for name, settings in TINY.items():
        torch.manual_seed(0)
        path = export_onnx(build_net(name, settings), folder / f"{name}.onnx", {})
        models[name] = path.read_bytes()
    return models


def run(model, **inputs):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def noise(size=(37, 53), n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def folded(model, frames):
    measuring = add_statistics(model)
    return fold_statistics(model, [run(measuring, frames=frame[None]) for frame in frames])


def largest_difference(first, second, frames):
    a, b = (run(model, frames=frames)["stylized"].astype(int) for model in (first, second))
    assert a.shape == b.shape
    assert a.std() > 10  # a picture, not one grey
    return abs(a - b).max()


def ops(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TINY)
def test_a_rewritten_network_paints_the_same(exported, name, size):
    frames = noise(size)
    plain, held = exported[name], folded(exported[name], frames)
    assert largest_difference(plain, rewrite(plain, size), frames) <= 1
    assert largest_difference(held, rewrite(held, size), frames) <= 1


@pytest.mark.parametrize("name", ["base", "nano"])
def test_every_rewriting_finds_its_place_in_the_fast_networks(exported, name):
    network = Network(folded(exported[name], noise()))
    network.fix_size((37, 53))
    assert pad_once(network, (37, 53))
    assert merge_input(network)
    assert split_upsampling(network) == 1
    assert merge_output(network)
    found = ops(network.to_bytes())
    gone = {"Gather", "Clip", "Round", "Resize", "DepthToSpace", "InstanceNormalization", "Div"}
    assert not gone & set(found)


@pytest.mark.parametrize("model", [invert_net(), norm_net(), norm_net(shared=True)], ids=len)
def test_networks_of_another_make_stay_equal(model):
    size = (37, 53)
    assert largest_difference(model, rewrite(model, size), noise(size)) <= 1


def test_a_grey_border_stays_grey_when_the_scaling_is_merged(exported):
    # Zero padding after (x / 255 - 0.5) * 4 means mid-grey; on the bytes themselves, black.
    frames = np.full((1, 32, 32, 3), 255, np.uint8)
    frames[:, 8:24, 8:24] = noise((16, 16), 1)
    model = folded(exported["base"], frames)
    assert largest_difference(model, rewrite(model, (32, 32)), frames) <= 1


def test_statistics_come_before_the_last_layers_run(exported):
    found = ops(add_statistics(exported["base"]))
    assert "Resize" not in found
    assert "Cast" in found


def test_pooled_statistics_are_those_of_one_large_picture(exported):
    frames = noise((32, 32), 2)
    measuring = add_statistics(norm_net())
    measured = [run(measuring, frames=frame[None]) for frame in frames]
    one, other = measured[0], measured[1]
    mean = (one["fastvid_mean_0"] + other["fastvid_mean_0"]) / 2
    variance = (
        one["fastvid_variance_0"]
        + other["fastvid_variance_0"]
        + (one["fastvid_mean_0"] - mean) ** 2
        + (other["fastvid_mean_0"] - mean) ** 2
    ) / 2
    pooled = [{**one, "fastvid_mean_0": mean, "fastvid_variance_0": variance}]
    second = ("fastvid_mean_1", "fastvid_variance_1")
    same = [{**m, **{k: one[k] for k in second}} for m in measured]
    assert (
        largest_difference(
            fold_statistics(norm_net(), pooled), fold_statistics(norm_net(), same), frames
        )
        <= 0
    )


def test_a_value_that_nothing_makes_is_named():
    network = Network(invert_net())
    network.set_outputs(["nowhere"])
    with pytest.raises(ValueError, match="nothing makes the value 'nowhere'"):
        network.to_bytes()


def test_a_norm_with_a_computed_scale_is_refused():
    network = Network(norm_net())
    norm = next(n for n in network.nodes if n.op_type == "InstanceNormalization")
    norm.input[1] = network.add("Relu", [norm.input[1]])
    with pytest.raises(ValueError, match="computes its scale while running"):
        add_statistics(network.to_bytes())
