"""ONNX Runtime on an NVIDIA card, through CUDA or TensorRT. Written without a card at hand."""

import contextlib
import ctypes
import hashlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.onnx_cpu import PROVIDER as CPU
from fastvid.runtime.engines.onnx_cpu import session_options
from fastvid.runtime.engines.protocol import Unavailable, first_line
from fastvid.runtime.graph.halving import halve

log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_CUDA_OPTIONS = {
    # Every algorithm is tried once per size, which pays after a few frames of a film.
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "do_copy_in_default_stream": "1",
}


class OnnxGpu:
    """A network in ONNX Runtime on an NVIDIA card; see `Engine`.

    Half precision is tried on the last frame of `probe` and kept if it stays close to float32.

    Args:
        model: the ONNX file's bytes.
        probe: uint8 RGB (N, H, W, 3).
        tensorrt: through TensorRT instead of CUDA.

    Raises:
        Unavailable: it would not really run there.
    """

    device = "cuda"

    def __init__(self, model: bytes, probe: np.ndarray, tensorrt: bool = False) -> None:
        wanted = TENSORRT if tensorrt else CUDA
        why = why_not(wanted)
        if why is not None:
            raise Unavailable(why)
        exact = _open_session(model, CUDA)
        halved = _open_halved(model, wanted, exact, probe[-1:])
        if halved is None and tensorrt:
            exact = _open_session(model, wanted)
        self._session = halved or exact
        kind = "TensorRT" if tensorrt else "CUDA"
        self.name = f"ONNX Runtime {ort.__version__} {kind} {'fp16' if halved else 'fp32'}"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        try:
            return _paint(self._session, frames)
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error


def why_not(provider: str = CUDA) -> str | None:
    """Why the card cannot be used here, found without loading its libraries; None if it may."""
    if provider not in ort.get_available_providers():
        kind = "TensorRT" if provider == TENSORRT else "CUDA"
        return f"the installed onnxruntime is built without {kind}"
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return "no NVIDIA driver found"
    count = ctypes.c_int(0)
    if (
        driver.cuInit(0) != 0
        or driver.cuDeviceGetCount(ctypes.byref(count)) != 0
        or not count.value
    ):
        return "the NVIDIA driver shows no usable GPU"
    return None


def _open_halved(
    model: bytes, wanted: str, exact: ort.InferenceSession, probe: np.ndarray
) -> ort.InferenceSession | None:
    """A session in float16, or None where it does not run or would change the painting."""
    try:
        halved = _open_session(halve(model), wanted)
        psnr_db = psnr(_paint(exact, probe), _paint(halved, probe))
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        log.debug("fp16 does not run (%s)", first_line(error))
        return None
    log.debug("fp16 against fp32: %.1f dB", psnr_db)
    return halved if psnr_db >= MIN_PSNR_DB else None


def _open_session(model: bytes, wanted: str) -> ort.InferenceSession:
    """A session whose convolutions run where they should.

    Raises:
        Unavailable: they would not, or there is no session at all.
    """
    providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU]
    if wanted == TENSORRT:
        providers.insert(0, (TENSORRT, _tensorrt_options(model)))
    ort.set_default_logger_severity(4)
    options = session_options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not load
            ort.preload_dlls()
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        raise Unavailable(first_line(error)) from error
    session.disable_fallback()  # a failing run must not restart on the CPU behind our back
    why = _why_elsewhere(session, wanted)
    if why is not None:
        raise Unavailable(why)
    return session


def _paint(session: ort.InferenceSession, frames: np.ndarray) -> np.ndarray:
    """Input and output are bound, so that each crosses the bus once."""
    binding = session.io_binding()
    on_card = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(frames), "cuda", 0)
    binding.bind_ortvalue_input("frames", on_card)
    binding.bind_output("stylized", "cuda", 0)
    session.run_with_iobinding(binding)
    return binding.copy_outputs_to_cpu()[0]


def _tensorrt_options(model: bytes) -> dict[str, str]:
    """Engines are kept, because building one takes minutes; the folder's name says what for."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(model + ort.__version__.encode()).hexdigest()[:16]
    folder = root / "fastvid" / "tensorrt" / key
    folder.mkdir(parents=True, exist_ok=True)
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}


def _why_elsewhere(session: ort.InferenceSession, wanted: str) -> str | None:
    """Why this session does not really run on the card; None if its convolutions do.

    ONNX Runtime drops a provider that fails to load without an error, so what runs is read back.
    """
    if session.get_providers()[0] != wanted:
        return "CUDA 13, cuDNN 9 or TensorRT could not be loaded"
    assignment: Any = session.get_provider_graph_assignment_info()
    # Shape arithmetic belongs on the CPU, so session.disable_cpu_ep_fallback would refuse every
    # network with free sizes; what counts is where the convolutions are.
    strays = [
        node.name
        for subgraph in assignment
        if subgraph.ep_name == CPU
        for node in subgraph.get_nodes()
        if node.op_type in ("Conv", "ConvTranspose", "InstanceNormalization")
    ]
    return f"{len(strays)} of its layers would run on the CPU" if strays else None
