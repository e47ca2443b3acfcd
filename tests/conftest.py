"""One thread per test process: the pictures are tiny, and waiting threads cost more."""

import os
import signal
from functools import cache

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that puts the tests into the background makes them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = {
    "base": {"stem_channels": 8, "channels": 16, "dilations": (1, 2), "tail_channels": (16, 8)},
    "nano": {"channels": 16, "dilations": (2,), "tail_channels": (8,)},
}


@pytest.fixture(autouse=True)
def _auto_is_float32(monkeypatch):
    """`auto` does not depend on the processor that runs the tests; tests of int8 ask for it."""
    from fastvid.runtime.engines import choice
    from fastvid.runtime.graph.quantizing import SAFE_WEIGHT

    monkeypatch.setattr(choice, "largest_weight", lambda: SAFE_WEIGHT)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Small nets with random weights, through the real exporter: called with their name."""
    import torch

    from fastvid.export import export_onnx
    from fastvid.nets import build_net

    @cache
    def export(name):
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("nets") / f"{name}.onnx"
        return export_onnx(build_net(name, TINY[name]), path, {}).read_bytes()

    return export


@pytest.fixture
def _cpu_as_card(monkeypatch):
    """The processor in the place of an NVIDIA card."""
    from fastvid.runtime.engines import onnx_gpu
    from fastvid.runtime.engines.onnx_cpu import open_session

    monkeypatch.setattr(
        onnx_gpu, "_open_session", lambda model, wanted, **options: open_session(model)
    )
    monkeypatch.setattr(onnx_gpu, "_DEVICE", "cpu")
    monkeypatch.setattr(onnx_gpu, "_layouts", {})
    monkeypatch.setattr(onnx_gpu, "why_not", lambda wanted: None)
