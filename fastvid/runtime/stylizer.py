"""One interface to a trained network, whatever runs it; today ONNX Runtime on the CPU or CUDA."""

import contextlib
import ctypes
import io
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime as ort

from fastvid.runtime.gallery import DEFAULT_STYLE, find_model

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
MIN_SIDE_PX = 16  # the smallest height and width that the exported networks promise to take

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class Stylizer(Protocol):
    """What the pipeline needs from an engine."""

    name: str
    engine: str
    device: str
    metadata: Mapping[str, str]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint uint8 RGB frames (N, H, W, 3); same shape and type out."""

    def adapt(self, frames: np.ndarray) -> None:
        """Hold the normalisation at the statistics of these frames until the next call."""


class OnnxStylizer:
    """A network of the fastvid contract in ONNX Runtime.

    Attributes:
        name: of the style, `starry_night`.
        engine: what really runs, for people: `ONNX Runtime 1.31.1 CPU`.
        device: `cpu` or `cuda`, what really runs.
        metadata: title, artist, net, licence and the rest of what the file says about itself.
    """

    def __init__(self, model: bytes, name: str, device: Device = "auto") -> None:
        """Build the session and paint one small frame with it.

        Args:
            model: the ONNX file's bytes.
            name: of the style.
            device: `auto` falls back to the CPU and says why; `cuda` fails instead.

        Raises:
            ValueError: if the bytes are no network of the contract.
            RuntimeError: if `cuda` is asked for and the network would not run there.
        """
        if device not in DEVICES:
            raise ValueError(f"device is {device!r}; choices: {', '.join(DEVICES)}")
        self._model = model
        self.name = name
        self._session, where = _open_session(model, name, device)
        self.device: str = where
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.engine = f"ONNX Runtime {ort.__version__} {self.device.upper()}"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint frames.

        Args:
            frames: uint8 RGB (N, H, W, 3), H and W at least 16.

        Raises:
            ValueError: if the frames have another type or shape, or are too small.
            RuntimeError: if the engine fails, out of memory for example.
        """
        check_frames(frames)
        if len(frames) == 0:
            return frames.copy()
        try:
            return self._session.run(None, {"frames": np.ascontiguousarray(frames)})[0]
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            raise RuntimeError(f"{self.engine} failed: {_first_line(error)}") from error

    def adapt(self, frames: np.ndarray) -> None:
        """Fold the statistics of these frames into the network, until the next `adapt`.

        Every frame is then painted by one fixed function: equal input gives equal output, and no
        part of a picture changes another through the normalisation. Adapted on one frame, the
        network paints that frame as it did before.

        Args:
            frames: uint8 RGB (N, H, W, 3), a few frames of the shot; they pass one at a time.
        """
        from fastvid.runtime import folding  # onnx loads here only: a plain run does without it

        check_frames(frames)
        if len(frames) == 0:
            raise ValueError("adapt: expected at least one frame, got none")
        measuring = folding.add_statistics(self._model)
        if measuring is None:
            log.debug("%s has no instance norm: it is a fixed function already", self.name)
            return
        session = _build(measuring, [CUDA, CPU] if self.device == "cuda" else [CPU])
        names = [output.name for output in session.get_outputs()]
        measured = [
            dict(zip(names, session.run(names, {"frames": frames[i : i + 1]}), strict=True))
            for i in range(len(frames))
        ]
        folded = folding.fold_statistics(self._model, measured)
        self._session, _ = _open_session(
            folded, self.name, "cuda" if self.device == "cuda" else "cpu"
        )


def load(style: str | Path = DEFAULT_STYLE, device: Device = "auto") -> OnnxStylizer:
    """The stylizer of a shipped style or of an ONNX file.

    Args:
        style: a name of `fastvid.list_styles()`, or the path of an ONNX file.
        device: `auto`, `cpu` or `cuda`; see `OnnxStylizer`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the style is unknown or the file is no network of the contract.
        RuntimeError: if `cuda` is asked for and the network would not run there.
    """
    path = find_model(style)
    return OnnxStylizer(path.read_bytes(), path.name.removesuffix(".onnx"), device)


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless the frames are uint8 (N, H, W, 3) of at least 16x16."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"stylizer: expected uint8 frames (N, H, W, 3), got {frames.dtype} {frames.shape}"
        )
    h, w = frames.shape[1:3]
    if min(h, w) < MIN_SIDE_PX:
        raise ValueError(
            f"picture is {w}x{h} pixels, smaller than {MIN_SIDE_PX}x{MIN_SIDE_PX}; "
            "the networks need a larger one"
        )


def _open_session(
    model: bytes, name: str, device: Device
) -> tuple[ort.InferenceSession, Literal["cpu", "cuda"]]:
    """A session that has painted a small frame, and where it runs.

    ONNX Runtime drops a provider that fails to load without an error, so what runs is read back
    from the session instead of being taken from the wish. The CPU comes first in any case: what
    fails there is the file's fault, what fails only on CUDA is not.
    """
    try:
        session = _build(model, [CPU])
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        raise ValueError(
            f"{name} is no usable ONNX file ({_first_line(error)}); export or download it again"
        ) from error
    _check_contract(session, name)
    if device == "cpu":
        return session, "cpu"
    missing = _why_no_cuda()
    if missing is None:
        try:
            on_cuda = _build(model, [CUDA, CPU])
            missing = _why_not_on_cuda(on_cuda)
            if missing is None:
                _check_contract(on_cuda, name)
                return on_cuda, "cuda"
        except Exception as error:  # ONNX Runtime's own errors share no narrower base
            missing = _first_line(error)
    if device == "cuda":
        raise RuntimeError(
            f"device cuda: {missing}; install the driver and onnxruntime-gpu[cuda,cudnn], "
            "or use device cpu"
        )
    log.info("device auto: running on the CPU (%s)", missing)
    return session, "cpu"


def _build(model: bytes, providers: list[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # our own message says it in one line
    # Threads that wait by spinning take the cores from decoder and encoder: 155 against 120 ms of
    # processor time a frame, and no faster by themselves (640x360, 2 cores).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if CUDA in providers:
        ort.set_default_logger_severity(4)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not load
            ort.preload_dlls()
    session = ort.InferenceSession(model, options, providers=providers)
    session.disable_fallback()  # a failing run must not restart on the CPU behind our back
    return session


def _check_contract(session: ort.InferenceSession, name: str) -> None:
    """Raise ValueError unless the session takes `frames` and gives `stylized` as promised."""
    found_in = [(arg.name, arg.type, arg.shape) for arg in session.get_inputs()]
    found_out = [(arg.name, arg.type, arg.shape) for arg in session.get_outputs()]
    for wanted, found in (("frames", found_in), ("stylized", found_out)):
        if len(found) != 1 or found[0][:2] != (wanted, "tensor(uint8)"):
            shown = ", ".join(f"{n} {t}" for n, t, _ in found) or "nothing"
            raise ValueError(
                f"{name} is not a fastvid network: expected {wanted} tensor(uint8), found {shown}"
            )
        shape = found[0][2]
        free = len(shape) == 4 and not any(isinstance(side, int) for side in shape[:3])
        if not free or shape[3] != 3:
            raise ValueError(
                f"{name} is not a fastvid network: expected {wanted} of shape (N, H, W, 3) with "
                f"N, H, W free, found {tuple(shape)}"
            )
    probe = np.zeros((1, MIN_SIDE_PX + 1, MIN_SIDE_PX + 3, 3), np.uint8)
    try:
        painted = session.run(["stylized"], {"frames": probe})[0]
    except Exception as error:
        raise RuntimeError(f"{name} does not run: {_first_line(error)}") from error
    if painted.shape != probe.shape:
        raise ValueError(
            f"{name} is not a fastvid network: {probe.shape} went in, {painted.shape} came out"
        )


def _why_no_cuda() -> str | None:
    """Why CUDA cannot run here, found without loading its libraries; None if it may."""
    if CUDA not in ort.get_available_providers():
        return "the installed onnxruntime is built without CUDA"
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


def _why_not_on_cuda(session: ort.InferenceSession) -> str | None:
    """Why this session does not really run on CUDA; None if its convolutions do."""
    if session.get_providers()[0] != CUDA:
        return "CUDA 13 or cuDNN 9 could not be loaded"
    assignment: Any = session.get_provider_graph_assignment_info()
    # Shape arithmetic belongs on the CPU, so session.disable_cpu_ep_fallback would refuse every
    # network with free sizes; what counts is where the convolutions are.
    strays = [
        node.name
        for subgraph in assignment
        if subgraph.ep_name != CUDA
        for node in subgraph.get_nodes()
        if node.op_type in ("Conv", "ConvTranspose", "InstanceNormalization")
    ]
    return f"{len(strays)} of its layers would run on the CPU" if strays else None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line.removeprefix("[ONNXRuntimeError] : ").strip()[:200]
