import logging

import numpy as np
import pytest
from onnx_nets import invert_net

from fastvid.runtime.engines import racing
from fastvid.runtime.engines.onnx_cpu import open_session
from fastvid.runtime.engines.racing import if_better, race

FIRST = np.random.default_rng(0).integers(0, 256, (1, 16, 18, 3), dtype=np.uint8)
FRAMES = [FIRST, FIRST ^ 128]
EXPECTED = [255 - frame for frame in FRAMES]


@pytest.fixture
def inverting():
    session = open_session(invert_net())
    return lambda frames: session.run(None, {"frames": frames})[0]


def stuck(paint):
    """Paints the first frame again and again, as a recorded graph does with other buffers."""
    seen = []

    def again(frames):
        seen.append(frames)
        return paint(seen[0])

    return again


def test_a_race_gives_everyones_time(inverting):
    def slowly(frames):
        return [inverting(frames) for _ in range(20)][-1]

    fast_ms, slow_ms = race([inverting, slowly], FIRST)
    assert 0 < fast_ms < slow_ms


def test_what_paints_as_expected_is_taken(inverting, caplog):
    with caplog.at_level(logging.DEBUG):
        assert if_better("other", lambda: inverting, FRAMES, EXPECTED, 60.0) is inverting
    assert "other: inf dB" in caplog.text


def test_what_paints_otherwise_is_not_taken(inverting):
    def off(frames):
        return inverting(frames) ^ 1  # every value off by one level: 48.1 dB

    assert if_better("off", lambda: off, FRAMES, EXPECTED, 48.0) is off
    assert if_better("off", lambda: off, FRAMES, EXPECTED, 48.2) is None


def test_a_repeated_painting_is_found_out(inverting):
    assert if_better("stuck", lambda: stuck(inverting), FRAMES, EXPECTED, 10.0) is None
    assert if_better("stuck", lambda: stuck(inverting), FRAMES[:1], EXPECTED[:1], 10.0)


@pytest.mark.parametrize(("mine_ms", "taken"), [(1.0, True), (2.0, False), (3.0, False)])
def test_only_what_is_faster_is_taken(inverting, monkeypatch, mine_ms, taken):
    monkeypatch.setattr(racing, "race", lambda paints, probe: [mine_ms, 2.0])
    found = if_better("other", lambda: inverting, FRAMES, EXPECTED, 60.0, than=stuck(inverting))
    assert (found is inverting) == taken


def test_what_fails_is_not_taken_and_the_log_says_why(inverting, caplog):
    def broken():
        return open_session(b"no network")

    session = open_session(invert_net())
    with caplog.at_level(logging.DEBUG):
        assert if_better("broken", broken, FRAMES, EXPECTED, 60.0, than=inverting) is None
        wrong = [frame[0] for frame in FRAMES]
        failing = lambda frames: session.run(None, {"frames": frames})[0]  # noqa: E731
        assert if_better("failing", lambda: failing, wrong, EXPECTED, 60.0) is None
    assert "broken does not run (" in caplog.text
    assert "failing does not run (" in caplog.text
