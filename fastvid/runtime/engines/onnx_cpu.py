"""ONNX Runtime on the processor: always there, and what the other engines are measured against."""

import os

import numpy as np
import onnxruntime as ort

from fastvid.runtime.engines.protocol import first_line

PROVIDER = "CPUExecutionProvider"
_max_threads: int | None = None  # see `limit_threads`
NAME = f"ONNX Runtime {ort.__version__} CPU"


class OnnxCpu:
    """A network in ONNX Runtime on the CPU; see `Engine`."""

    name = NAME
    device = "cpu"

    def __init__(self, model: bytes, lean: bool = False) -> None:
        self._session = open_session(model, lean)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        try:
            return self._session.run(None, {"frames": frames})[0]
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error


def open_session(model: bytes, lean: bool = False) -> ort.InferenceSession:
    """A session on the CPU with the settings that suit a pipeline.

    Args:
        model: the ONNX file's bytes.
        lean: plan no memory ahead. The plan is made in the first run and laid out beside what that
            run took, so that a session needs almost twice as much (3840x2160: 1.8 for 1.0 GB).
    """
    options = session_options()
    options.enable_mem_pattern = not lean
    session = ort.InferenceSession(model, options, providers=[PROVIDER])
    session.disable_fallback()  # a failing run must not restart behind our back
    return session


def limit_threads(count: int) -> None:
    """Give the sessions that are made from now on so many threads; others share the machine."""
    global _max_threads
    _max_threads = count


def session_options() -> ort.SessionOptions:
    """Options for sessions on every device."""
    options = ort.SessionOptions()
    if _max_threads is not None:
        options.intra_op_num_threads = _max_threads
    elif hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
        # by itself it makes a thread for every core, those that we may not use too
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 4  # our own message says it in one line
    # Threads that wait by spinning take the cores from decoder and encoder: 155 against 120 ms of
    # processor time a frame, and no faster by themselves (640x360, 2 cores).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
