"""IO binding, on the processor; the tests of CUDA graphs and page-locked memory need a card."""

import threading

import numpy as np
import pytest
from onnx_nets import norm_net

from fastvid.runtime.engines import onnx_gpu
from fastvid.runtime.engines.binding import FixedBuffers, paint
from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.engines.onnx_gpu import CUDA, OnnxGpu, why_not
from fastvid.runtime.graph.cuda import fit_cuda
from fastvid.runtime.graph.rewriting import rewrite

SIZE = (37, 53)
FRAMES = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
SINGLE = FRAMES[:1].shape
MODEL = rewrite(norm_net(), SIZE)


@pytest.fixture(scope="module")
def expected():
    session = open_session(MODEL)
    return [session.run(None, {"frames": frame[None]})[0] for frame in FRAMES]


@pytest.fixture
def _card():
    reason = why_not(CUDA)
    if reason is not None:
        pytest.skip(f"no CUDA: {reason}")


def recorded():
    session = onnx_gpu._open_session(fit_cuda(MODEL, batch=1), CUDA, enable_cuda_graph="1")
    return FixedBuffers(session, SINGLE)


def assert_paints(painter, expected, most=0):
    for i in (0, 1, 2, 0):
        difference = painter(FRAMES[i : i + 1]).astype(int) - expected[i]
        assert abs(difference).max() <= most


def test_new_buffers_take_any_batch(expected):
    painted = paint(open_session(MODEL), FRAMES[:, ::-1][:, ::-1], "cpu")
    assert np.array_equal(painted, np.concatenate(expected))


def test_each_frame_through_fixed_buffers_has_its_own_painting(expected):
    buffers = FixedBuffers(open_session(fit_cuda(MODEL, batch=1)), SINGLE, "cpu")
    assert_paints(buffers, expected)


def test_a_painting_outlives_the_next_call(expected):
    buffers = FixedBuffers(open_session(MODEL), SINGLE, "cpu")
    painted = [buffers(frame[None]) for frame in FRAMES]
    assert all(np.array_equal(*pair) for pair in zip(painted, expected, strict=True))
    painted[0][:] = 0  # nor does the next one see what becomes of it
    assert np.array_equal(buffers(FRAMES[:1]), expected[0])


def test_frames_that_do_not_fit_the_buffers_are_refused():
    buffers = FixedBuffers(open_session(MODEL), SINGLE, "cpu")
    for frames in (FRAMES, FRAMES[:1, 1:], FRAMES[0], FRAMES[:1].astype(np.float32)):
        with pytest.raises(ValueError, match=r"buffers: expected uint8 frames \(1, 37, 53, 3\), "):
            buffers(frames)


def test_page_locked_memory_is_an_error_without_a_card():
    if why_not(CUDA) is None:
        pytest.skip("this machine has an NVIDIA card")
    buffers = FixedBuffers(open_session(MODEL), SINGLE, "cpu")
    with pytest.raises((RuntimeError, TypeError)):
        buffers.page_locked()


@pytest.mark.gpu
@pytest.mark.usefixtures("_card")
def test_a_cuda_graph_paints_each_frame_in_every_thread(expected):
    buffers = recorded()
    assert_paints(buffers, expected, most=3)
    found = []

    def elsewhere():
        found.extend(buffers(frame[None]) for frame in FRAMES)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    for painting, right in zip(found, expected, strict=True):
        assert abs(painting.astype(int) - right).max() <= 3
    assert_paints(buffers, expected, most=3)


@pytest.mark.gpu
@pytest.mark.usefixtures("_card")
def test_page_locked_memory_gives_the_same_paintings(expected):
    assert_paints(recorded().page_locked(), expected, most=3)


@pytest.mark.gpu
@pytest.mark.usefixtures("_card")
def test_engines_paint_while_others_are_built(expected):
    engine = OnnxGpu(MODEL, FRAMES)
    builder = threading.Thread(target=OnnxGpu, args=(MODEL, FRAMES))
    builder.start()
    while builder.is_alive():
        assert_paints(engine, expected, most=3)
    builder.join()
    assert abs(engine(FRAMES).astype(int) - np.concatenate(expected)).max() <= 3


@pytest.mark.gpu
@pytest.mark.usefixtures("_card")
@pytest.mark.parametrize("name", ["enable_cuda_graph", "prefer_nhwc"])
def test_a_card_takes_the_option(name, expected):
    session = onnx_gpu._open_session(fit_cuda(MODEL, batch=1), CUDA, **{name: "1"})
    assert session.get_provider_options()[CUDA][name] == "1"
