"""Which engine paints: what was asked for, or the fastest that really works on this machine."""

import importlib.util
import logging
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fastvid.runtime.engines.onnx_cpu import make_float32
from fastvid.runtime.engines.onnx_gpu import OnnxGpu
from fastvid.runtime.engines.onnx_int8 import OnnxInt8, largest_weight, make_int8
from fastvid.runtime.engines.openvino import OpenVino
from fastvid.runtime.engines.protocol import Engine, Graph
from fastvid.runtime.engines.racing import race
from fastvid.runtime.graph.quantizing import FULL_WEIGHT

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
EngineName = Literal["auto", "onnxruntime", "int8", "openvino", "tensorrt"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
ENGINES: tuple[EngineName, ...] = ("auto", "onnxruntime", "int8", "openvino", "tensorrt")


class Maker(Protocol):
    """Makes an engine."""

    def __call__(self, graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
        """An engine for frames of one size.

        Args:
            graph: gives the network for each size.
            probe: uint8 RGB (N, H, W, 3), frames of the size wanted to try it on.
            lanes: threads that will call the engine at once.
        """


@dataclass(frozen=True)
class Choice:
    """What paints.

    Attributes:
        name: asks for just this.
        held: of a network that is held at a shot's statistics, with frames of the shot as probe.
        passing: of one that paints only a frame or two as it is.
    """

    name: EngineName
    held: Maker
    passing: Maker


_LARGE_PIXELS = 2**21  # more than 1920x1080: memory matters more than the last percent of speed
# int8 is taken where it needs at most this part of float32's time: its ranges cost 0.3 s a shot.
# With VNNI `base` needs 0.28 to 0.44 and `small`, fast as it is, 0.51 to 0.75.
_WORTH_INT8 = 0.48


def choose(
    graph: Graph, probe: np.ndarray, device: Device, engine: EngineName, whole_frames: bool = True
) -> tuple[Choice, Engine]:
    """What paints from now on, and its engine for `probe`, a held one.

    On the CPU `auto` lets the engines run against each other for a moment; nothing of that is kept
    on disk. int8 is among them where the processor adds products of 8 bits exactly, and is then
    for held networks. TensorRT is never chosen by itself: its engines take minutes to build.

    Args:
        graph: of a network with its statistics folded, as films have it.
        probe: uint8 RGB (N, H, W, 3).
        device: `auto` falls back to the CPU and says why; `cuda` fails instead.
        engine: `auto`, or the one to use.
        whole_frames: whether pictures are painted whole; int8 takes its ranges from those.

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
        if not whole_frames:
            raise ValueError(
                "engine int8 takes its ranges from whole frames and paints no tiles; "
                "leave out one of the two"
            )
        return _INT8, _INT8.held(graph, probe)
    if engine in ("openvino", "tensorrt"):
        try:
            return _try(_OPENVINO if engine == "openvino" else _TENSORRT, graph, probe)
        except RuntimeError as error:
            raise RuntimeError(f"engine {engine}: {error}; --engine auto takes another") from error
    if device != "cpu":
        try:
            return _try(_CUDA, graph, probe)
        except RuntimeError as error:
            if device == "cuda":
                raise RuntimeError(
                    f"device cuda: {error}; install the driver and onnxruntime-gpu[cuda,cudnn], "
                    "or use device cpu"
                ) from error
            log.info("device auto: running on the CPU (%s)", error)
    if engine == "onnxruntime":
        return _ONNX_CPU, _ONNX_CPU.held(graph, probe)
    return _fastest_on_cpu(graph, probe, whole_frames)


def _try(choice: Choice, graph: Graph, probe: np.ndarray) -> tuple[Choice, Engine]:
    """The choice and its engine, which has painted; RuntimeError if it cannot."""
    engine = choice.held(graph, probe)
    engine(probe)
    return choice, engine


def _fastest_on_cpu(graph: Graph, probe: np.ndarray, whole_frames: bool) -> tuple[Choice, Engine]:
    running = [_try(_ONNX_CPU, graph, probe)]
    rivals = []
    if importlib.util.find_spec("openvino") is not None:
        rivals.append(_OPENVINO)
    if whole_frames and largest_weight() == FULL_WEIGHT:
        rivals.append(_INT8)
    for rival in rivals:
        try:
            choice, engine = _try(rival, graph, probe)
        except RuntimeError as error:
            log.info("engine auto: without %s (%s)", rival.name, error)
            continue
        if choice is not _INT8 or isinstance(engine, OnnxInt8):  # else it has declined
            running.append((choice, engine))
    if len(running) == 1:
        return running[0]
    times = race([engine for _, engine in running], probe)
    fastest = [
        (ms, choice, engine)
        for (choice, engine), ms in zip(running, times, strict=True)
        if choice is not _INT8 or ms <= _WORTH_INT8 * times[0]
    ]
    _, taken, engine = min(fastest, key=lambda each: each[0])
    figures = (f"{each.name} {ms:.1f} ms" for (_, each), ms in zip(running, times, strict=True))
    remedy = "; --engine onnxruntime paints without rounding" if taken is _INT8 else ""
    log.info("engine auto: %s, on a small frame %s%s", engine.name, ", ".join(figures), remedy)
    return taken, engine


def _make_cpu(graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
    return make_float32(graph(probe.shape[1:3]), _is_large(probe), lanes)


def _make_int8(graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
    return make_int8(graph, probe, _is_large(probe), lanes)


def _is_large(frames: np.ndarray) -> bool:
    h, w = frames.shape[1:3]
    return bool(h * w > _LARGE_PIXELS)


def _make_openvino(graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OpenVino(graph(probe.shape[1:3]), probe, lanes)


def _make_cuda(graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OnnxGpu(graph(probe.shape[1:3]), probe)


def _make_tensorrt(graph: Graph, probe: np.ndarray, lanes: int = 1) -> Engine:
    return OnnxGpu(graph(probe.shape[1:3]), probe, tensorrt=True)


_ONNX_CPU = Choice("onnxruntime", _make_cpu, _make_cpu)
_INT8 = Choice("int8", _make_int8, _make_cpu)
_OPENVINO = Choice("openvino", _make_openvino, _make_openvino)
_CUDA = Choice("onnxruntime", _make_cuda, _make_cuda)
_TENSORRT = Choice("tensorrt", _make_tensorrt, _make_tensorrt)
