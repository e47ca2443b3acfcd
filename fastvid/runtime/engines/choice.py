"""Which engine paints: what was asked for, or the fastest that really works on this machine."""

import importlib.util
import logging
from typing import Literal, Protocol

import numpy as np

from fastvid.runtime.engines.onnx_cpu import OnnxCpu
from fastvid.runtime.engines.onnx_gpu import OnnxGpu
from fastvid.runtime.engines.onnx_int8 import largest_weight, make_int8
from fastvid.runtime.engines.openvino import OpenVino
from fastvid.runtime.engines.protocol import Engine
from fastvid.runtime.engines.racing import race
from fastvid.runtime.graph.quantizing import FULL_WEIGHT

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
EngineName = Literal["auto", "onnxruntime", "int8", "openvino", "tensorrt"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
ENGINES: tuple[EngineName, ...] = ("auto", "onnxruntime", "int8", "openvino", "tensorrt")


class Maker(Protocol):
    """Makes an engine."""

    def __call__(self, model: bytes, probe: np.ndarray, lanes: int = 1) -> Engine:
        """An engine for frames of one size.

        Args:
            model: ONNX file fixed to that size.
            probe: uint8 RGB (N, H, W, 3), frames of that size to try it on.
            lanes: threads that will call the engine at once.
        """


_LARGE_PIXELS = 2**21  # more than 1920x1080: memory matters more than the last percent of speed


def choose(model: bytes, probe: np.ndarray, device: Device, engine: EngineName) -> Maker:
    """The maker of the engine to use; it has painted `probe`.

    On the CPU `auto` lets the installed engines run against each other for a moment; nothing of
    that is kept on disk. TensorRT is never chosen by itself: its engines take minutes to build.
    Nor is int8, whose pixels are not those of the other engines; where it would be much faster, the
    log says so.

    Args:
        model: a network fixed to the probe's size, with its statistics folded, as films have it.
        probe: uint8 RGB (N, H, W, 3).
        device: `auto` falls back to the CPU and says why; `cuda` fails instead.
        engine: `auto`, or the one to use.

    Raises:
        ValueError: unknown or contradictory names.
        RuntimeError: what was asked for does not run here.
    """
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}; choices: {', '.join(DEVICES)}")
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; choices: {', '.join(ENGINES)}")
    if (device, engine) in (("cuda", "openvino"), ("cuda", "int8"), ("cpu", "tensorrt")):
        raise ValueError(f"engine {engine} does not run on device {device}")
    if engine == "int8":
        return _make_int8
    if engine in ("openvino", "tensorrt"):
        maker: Maker = OpenVino if engine == "openvino" else _make_tensorrt
        try:
            maker(model, probe)(probe)
        except RuntimeError as error:
            raise RuntimeError(f"engine {engine}: {error}; --engine auto takes another") from error
        return maker
    if device != "cpu":
        try:
            _make_cuda(model, probe)(probe)
            return _make_cuda
        except RuntimeError as error:
            if device == "cuda":
                raise RuntimeError(
                    f"device cuda: {error}; install the driver and onnxruntime-gpu[cuda,cudnn], "
                    "or use device cpu"
                ) from error
            log.info("device auto: running on the CPU (%s)", error)
    if engine == "onnxruntime":
        return _make_cpu
    if largest_weight() == FULL_WEIGHT:
        log.info("this processor is fast in whole numbers of 8 bits: --engine int8 for films")
    if importlib.util.find_spec("openvino") is None:
        return _make_cpu
    return _faster_on_cpu(model, probe)


def _faster_on_cpu(model: bytes, probe: np.ndarray) -> Maker:
    ours = _make_cpu(model, probe)
    try:
        other = OpenVino(model, probe)
        ours_ms, other_ms = race(ours, other, probe)
    except RuntimeError as error:
        log.info("engine auto: %s (%s)", ours.name, error)
        return _make_cpu
    faster = _make_cpu if ours_ms <= other_ms else OpenVino
    log.info(
        "engine auto: %s, the faster one on a small frame (%s %.1f ms, %s %.1f ms)",
        ours.name if ours_ms <= other_ms else other.name,
        *(ours.name, ours_ms, other.name, other_ms),
    )
    return faster


def _make_cpu(model: bytes, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OnnxCpu(model, _is_large(probe), lanes)


def _make_int8(model: bytes, probe: np.ndarray, lanes: int = 1) -> Engine:
    return make_int8(model, probe, _is_large(probe), lanes)


def _is_large(frames: np.ndarray) -> bool:
    h, w = frames.shape[1:3]
    return bool(h * w > _LARGE_PIXELS)


def _make_cuda(model: bytes, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OnnxGpu(model, probe)


def _make_tensorrt(model: bytes, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OnnxGpu(model, probe, tensorrt=True)
