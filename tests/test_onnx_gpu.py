"""How the engine for cards chooses, with the processor in the place of the card."""

import logging

import numpy as np
import pytest
from onnx_nets import norm_net

from fastvid.runtime.engines import onnx_gpu, racing
from fastvid.runtime.engines.binding import FixedBuffers
from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.engines.onnx_gpu import OnnxGpu
from fastvid.runtime.engines.protocol import Unavailable
from fastvid.runtime.graph.rewriting import rewrite

SIZE = (37, 53)
FRAMES = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
MODEL = rewrite(norm_net(), SIZE)
pytestmark = pytest.mark.usefixtures("_cpu_as_card")


@pytest.fixture(scope="module")
def expected():
    return open_session(MODEL).run(None, {"frames": FRAMES})[0]


@pytest.fixture
def outcome(monkeypatch):
    """Who wins each race: called with whether the newcomer does."""

    def decide(newcomer):
        times = (1.0, 2.0) if newcomer else (2.0, 1.0)
        monkeypatch.setattr(racing, "race", lambda paints, probe: times)

    return decide


def assert_paints(engine, expected):
    for i in (0, 1, 0):
        assert psnr(engine(FRAMES[i : i + 1]), expected[i : i + 1]) > 45
    assert psnr(engine(FRAMES), expected) > 45


@pytest.mark.parametrize("newcomer", [True, False])
def test_single_frames_and_batches_are_painted_either_way(outcome, newcomer, expected):
    outcome(newcomer)
    engine = OnnxGpu(MODEL, FRAMES)
    assert isinstance(engine._one, FixedBuffers) == newcomer
    assert_paints(engine, expected)


def test_a_graph_that_repeats_a_frame_is_not_used(outcome, monkeypatch, expected, caplog):
    class Stuck(FixedBuffers):
        def __call__(self, frames):
            self.first = getattr(self, "first", frames)
            return super().__call__(self.first)

    outcome(newcomer=True)
    monkeypatch.setattr(onnx_gpu, "FixedBuffers", Stuck)
    with caplog.at_level(logging.DEBUG):
        engine = OnnxGpu(MODEL, FRAMES)
    assert "CUDA graph: " in caplog.text
    assert engine._one is engine._many
    assert_paints(engine, expected)


def test_a_session_that_cannot_be_recorded_is_done_without(outcome, monkeypatch, expected, caplog):
    def opened(model, wanted, **options):
        if options:
            raise Unavailable("not all nodes are on the card")
        return open_session(model)

    outcome(newcomer=True)
    monkeypatch.setattr(onnx_gpu, "_open_session", opened)
    with caplog.at_level(logging.DEBUG):
        engine = OnnxGpu(MODEL, FRAMES)
    for what in ("channels last", "CUDA graph"):
        assert f"{what} does not run (not all nodes are on the card)" in caplog.text
    assert_paints(engine, expected)


def test_a_graph_that_fails_later_is_left(outcome, monkeypatch, expected):
    outcome(newcomer=True)
    engine = OnnxGpu(MODEL, FRAMES)
    monkeypatch.setattr(engine._one, "_binding", None)
    assert_paints(engine, expected)
    assert engine._one is engine._many


@pytest.mark.parametrize("newcomer", [True, False])
def test_the_layout_is_chosen_once_for_a_size(outcome, monkeypatch, newcomer):
    opened = []

    def recording(model, wanted, **options):
        opened.append(options)
        return open_session(model)

    outcome(newcomer)
    monkeypatch.setattr(onnx_gpu, "_open_session", recording)
    layout = {"prefer_nhwc": "1"} if newcomer else {}
    OnnxGpu(MODEL, FRAMES)
    recorded = layout | {"enable_cuda_graph": "1"}
    assert opened == [{}, {}, {"prefer_nhwc": "1"}, recorded]
    opened.clear()
    OnnxGpu(rewrite(norm_net(seed=1), SIZE), FRAMES)
    assert opened == [{}, layout, recorded]


def test_what_does_not_paint_at_all_is_unavailable():
    with pytest.raises(Unavailable):
        OnnxGpu(rewrite(norm_net(), (16, 16)), FRAMES)
