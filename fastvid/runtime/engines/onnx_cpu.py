"""ONNX Runtime on the processor: always there, and what the other engines are measured against."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fastvid.runtime.engines.protocol import first_line
from fastvid.runtime.graph.winograd import save_products

PROVIDER = "CPUExecutionProvider"
_max_threads: int | None = None  # see `limit_threads`
# Of the frames that are painted at once: they take some 480 MB.
LANES_PIXELS = 2**22
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
NAME = f"ONNX Runtime {ort.__version__} CPU"


class OnnxCpu:
    """A network in ONNX Runtime on the CPU; see `Engine`.

    Args:
        model: the ONNX file's bytes.
        lean: see `open_session`.
        lanes: threads that will call it at once; they share the cores.
    """

    name = NAME
    device = "cpu"

    def __init__(self, model: bytes, lean: bool = False, lanes: int = 1) -> None:
        self._session = open_session(model, lean, lanes)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        try:
            return self._session.run(None, {"frames": frames})[0]
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error


def make_float32(model: bytes, lean: bool = False, lanes: int = 1) -> OnnxCpu:
    """The engine for a network from `rewrite`, calculated as it is; arguments of `OnnxCpu`."""
    return OnnxCpu(save_products(model), lean, lanes)


def open_session(model: bytes, lean: bool = False, lanes: int = 1) -> ort.InferenceSession:
    """A session on the CPU with the settings that suit a pipeline.

    Args:
        model: the ONNX file's bytes.
        lean: plan no memory ahead. The plan is made in the first run and laid out beside what that
            run took, so that a session needs almost twice as much (3840x2160: 1.8 for 1.0 GB).
        lanes: threads that will run it at once, each with its part of the cores.
    """
    options = session_options()
    if lanes > 1:
        options.intra_op_num_threads = max(1, cores() // lanes)
    options.enable_mem_pattern = not lean
    session = ort.InferenceSession(model, options, providers=[PROVIDER])
    session.disable_fallback()  # a failing run must not restart behind our back
    return session


def limit_threads(count: int) -> None:
    """Give the sessions that are made from now on so many threads; others share the machine."""
    global _max_threads
    _max_threads = count


def cores() -> int:
    """Cores that sessions may use; the hardware threads of one share its units and count once."""
    if _max_threads is not None:
        return _max_threads
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    found = set()
    for processor in os.sched_getaffinity(0):
        try:
            found.add(Path(SIBLINGS.format(processor)).read_text(encoding="ascii"))
        except OSError:  # some sandboxes hide it
            found.add(str(processor))
    return len(found)


def lanes_for(size: tuple[int, int]) -> int:
    """How many frames of this (H, W) are best painted side by side, for a film.

    A core that paints a frame by itself waits for no other one: it takes 39 ms where two together
    take 23 (starry_night, 640x360, int8), 126 where they take 69 (float32). Large frames would take
    too much memory, and keep all cores busy anyway.
    """
    return max(1, min(cores(), LANES_PIXELS // (size[0] * size[1])))


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
