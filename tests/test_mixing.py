import numpy as np
import onnxruntime as ort
import pytest
from onnx_nets import invert_net, norm_net

from fastvid.runtime.mixing import Transition, mix_networks, parse_style


def test_one_name_is_one_style():
    found = parse_style("starry_night")
    assert found.at(0) == found.at(99) == {"starry_night": 1.0}


def test_shares_are_scaled_to_one():
    assert parse_style("a:3, b:1").at(0) == {"a": 0.75, "b": 0.25}
    assert parse_style("a:1,b:0").names == ("a",)
    assert parse_style("a:0.5,a:0.5").at(0) == {"a": 1.0}


def test_transition_changes_evenly_between_its_moments():
    found = parse_style("a@1,b@3,c@4")
    assert found.names == ("a", "b", "c")
    assert found.at(0) == found.at(1) == {"a": 1.0}
    assert found.at(1.5) == {"a": 0.75, "b": 0.25}
    assert found.at(3) == {"b": 1.0}
    assert found.at(3.75) == {"b": 0.25, "c": 0.75}
    assert found.at(4) == found.at(1e9) == {"c": 1.0}


@pytest.mark.parametrize("seconds", np.linspace(-1, 9, 41))
def test_shares_always_sum_to_one(seconds):
    shares = Transition(((0.0, {"a": 0.3, "b": 0.7}), (8.0, {"b": 0.2, "c": 0.8}))).at(seconds)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:x,b:1", "a:x"),
        ("a,b", "'a'"),
        ("a:0,b:0", "above 0"),
        ("a:-1,b:2", "a:-1"),
        ("a@0,b", "every style a time"),
        ("a@4,b@4", "rise"),
        ("a@nan,b@4", "a@nan"),
        (":1", ":1"),
    ],
)
def test_anything_else_is_refused_and_named(text, says):
    with pytest.raises(ValueError, match=says):
        parse_style(text)


def run(model: bytes, frames: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["stylized"], {"frames": frames})[0]


def test_mixture_is_the_network_of_the_mean_weights():
    frames = np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), dtype=np.uint8)
    first, second = norm_net(0), norm_net(1)
    assert np.array_equal(run(mix_networks([first, second], [1, 0]), frames), run(first, frames))
    assert np.array_equal(run(mix_networks([first, second], [0, 1]), frames), run(second, frames))
    halfway = run(mix_networks([first, second], [0.5, 0.5]), frames)
    assert not np.array_equal(halfway, run(first, frames))
    # the norms make it another function than the mean of the two pictures
    faded = (run(first, frames).astype(float) + run(second, frames)) / 2
    assert np.abs(halfway - faded).max() > 2


def test_networks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix_networks([norm_net(0), invert_net()], [0.5, 0.5])
