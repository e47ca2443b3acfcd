"""ONNX Runtime on an NVIDIA card, through CUDA or TensorRT. Written without a card at hand."""

import contextlib
import ctypes
import hashlib
import io
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from fastvid.runtime.engines.binding import CARD, FixedBuffers, paint
from fastvid.runtime.engines.distance import MIN_PSNR_DB
from fastvid.runtime.engines.onnx_cpu import PROVIDER as CPU
from fastvid.runtime.engines.onnx_cpu import session_options
from fastvid.runtime.engines.protocol import Paint, Unavailable, first_line
from fastvid.runtime.engines.racing import if_better
from fastvid.runtime.graph.cuda import fit_cuda
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
_CHANNELS_LAST = {"prefer_nhwc": "1"}  # what tensor cores calculate in
# The faster layout by the size of frames and of the network: every shot has a graph of its own,
# but the same work to do.
_layouts: dict[tuple[tuple[int, ...], int], dict[str, str]] = {}
# The same graph may still meet another algorithm for a convolution. Every pixel off by one level
# is 48 dB; another frame's painting is far below.
_SAME_PSNR_DB = 45.0
_DEVICE = "cuda"  # where frames are bound


class OnnxGpu:
    """A network in ONNX Runtime on an NVIDIA card; see `Engine`.

    Half precision is tried on the last frame of `probe` and kept if it stays close to float32.
    Through CUDA, so are channels in the last place, a CUDA graph for single frames and page-locked
    memory, each kept if it paints the same in less time.

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
        try:
            halved = self._build(fit_cuda(model), probe[-1:], wanted)
        except Unavailable:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise Unavailable(first_line(error)) from error
        kind = "TensorRT" if tensorrt else "CUDA"
        self.name = f"ONNX Runtime {ort.__version__} {kind} {'fp16' if halved else 'fp32'}"

    def _build(self, model: bytes, frame: np.ndarray, wanted: str) -> bool:
        """Make the painters of single frames and of batches; whether they are in half precision."""
        key = frame.shape, len(model)
        layout = _layouts.get(key) if wanted == CUDA else {}
        exact = _painter(model, CUDA)
        frames, expected = [frame], [exact(frame)]

        def better(what: str, graph: bytes, than: Paint | None, **options: str) -> Paint | None:
            make = partial(_painter, graph, wanted, **options)
            return if_better(what, make, frames, expected, MIN_PSNR_DB, than)

        coded = _halved(model)
        halved = None if coded is None else better("fp16", coded, None, **(layout or {}))
        graph = model if coded is None or halved is None else coded
        if wanted == TENSORRT:
            self._one = self._many = halved or _painter(model, wanted)
            return halved is not None
        many = halved or exact
        if layout is None:
            moved = better("channels last", graph, many, **_CHANNELS_LAST)
            layout = _layouts[key] = {} if moved is None else _CHANNELS_LAST
            many = moved or many
        self._many = many
        self._one = _recorded(graph, layout, frame, many) or many
        return halved is not None

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        try:
            return self._paint_one(frames) if len(frames) == 1 else self._many(frames)
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error

    def _paint_one(self, frame: np.ndarray) -> np.ndarray:
        if self._one is self._many:
            return self._many(frame)
        try:
            return self._one(frame)
        except Exception as error:  # as above
            # ONNX Runtime records a graph for each thread; a later one need not succeed.
            log.debug("painting without the CUDA graph (%s)", first_line(error))
            self._one = self._many
            return self._many(frame)


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


def _halved(model: bytes) -> bytes | None:
    """The network in float16, or None where it cannot be written so."""
    try:
        return halve(model)
    except Exception as error:  # the converter's errors share no narrower base
        log.debug("fp16 cannot be written (%s)", first_line(error))
        return None


def _recorded(
    graph: bytes, layout: dict[str, str], frame: np.ndarray, plain: Paint
) -> Paint | None:
    """A painter of single frames through a CUDA graph; None where that is wrong or no faster.

    Args:
        graph: ONNX file that `plain` runs.
        layout: options that it runs with.
        frame: uint8 RGB (1, H, W, 3).
        plain: paints without a CUDA graph.
    """
    frames = [frame, frame ^ 128]  # different in every byte: a painting repeated is found out
    expected = [plain(each) for each in frames]

    def make() -> FixedBuffers:
        options = layout | {"enable_cuda_graph": "1"}
        session = _open_session(fit_cuda(graph, batch=1), CUDA, **options)
        return FixedBuffers(session, frame.shape, _DEVICE)

    recorded = if_better("CUDA graph", make, frames, expected, _SAME_PSNR_DB, plain)
    if not isinstance(recorded, FixedBuffers):
        return None
    locked = if_better(
        "page-locked memory", recorded.page_locked, frames, expected, _SAME_PSNR_DB, recorded
    )
    return locked or recorded


def _painter(model: bytes, wanted: str, **options: str) -> Paint:
    session = _open_session(model, wanted, **options)
    return partial(paint, session, device=_DEVICE)


def _open_session(model: bytes, wanted: str, **options: str) -> ort.InferenceSession:
    """A session whose convolutions run where they should.

    Args:
        model: the ONNX file's bytes.
        wanted: the provider.
        options: of the CUDA provider, beside the usual ones.

    Raises:
        Unavailable: they would not, or there is no session at all.
    """
    providers: list[Any] = [(CUDA, _CUDA_OPTIONS | options), CPU]
    if wanted == TENSORRT:
        providers.insert(0, (TENSORRT, _tensorrt_options(model)))
    ort.set_default_logger_severity(4)
    settings = session_options()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not load
            ort.preload_dlls()
        with CARD:
            session = ort.InferenceSession(model, settings, providers=providers)
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        raise Unavailable(first_line(error)) from error
    session.disable_fallback()  # a failing run must not restart on the CPU behind our back
    why = _why_elsewhere(session, wanted)
    if why is not None:
        raise Unavailable(why)
    return session


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
