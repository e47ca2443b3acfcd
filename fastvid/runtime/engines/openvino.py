"""OpenVINO on the processor, where the extra `openvino` is installed."""

import logging
from queue import SimpleQueue
from typing import Any

import numpy as np

from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.onnx_cpu import cores
from fastvid.runtime.engines.protocol import Unavailable, first_line

log = logging.getLogger(__name__)


class OpenVino:
    """A network in OpenVINO on the CPU; see `Engine`.

    Where the processor calculates in bfloat16, that is tried on the frames of `probe` and kept if
    it stays close to float32.

    Args:
        model: the ONNX file's bytes.
        probe: uint8 RGB (N, H, W, 3).
        lanes: threads that will call it at once; they share the cores.

    Raises:
        Unavailable: OpenVINO is missing or cannot run the network.
    """

    device = "cpu"

    def __init__(self, model: bytes, probe: np.ndarray, lanes: int = 1) -> None:
        try:
            import openvino
        except ImportError as error:
            raise Unavailable(
                f'OpenVINO is not installed; pip install "fastvid[openvino]" ({error})'
            ) from None
        core = openvino.Core()
        try:
            self._compiled = _compile(core, model, "f32", lanes)
            precision = "fp32"
            if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                faster = _compile(core, model, "bf16", lanes)
                exact, rounded = (
                    _infer(each.create_infer_request(), probe[-1:])
                    for each in (self._compiled, faster)
                )
                psnr_db = psnr(exact, rounded)
                if psnr_db >= MIN_PSNR_DB:
                    self._compiled, precision = faster, "bf16"
                log.debug("OpenVINO bf16 against fp32: %.1f dB", psnr_db)
        except Exception as error:  # OpenVINO's own errors share no narrower base
            raise Unavailable(f"OpenVINO: {first_line(error)}") from error
        self._idle: SimpleQueue[Any] = SimpleQueue()  # requests, each for one frame at a time
        for _ in range(lanes):
            self._idle.put(self._compiled.create_infer_request())
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} {precision} CPU"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        request = self._idle.get()
        try:
            return _infer(request, frames)
        except Exception as error:  # OpenVINO's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error
        finally:
            self._idle.put(request)


def _compile(core: Any, model: bytes, precision: str, lanes: int) -> Any:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if lanes > 1:
        hints |= {"NUM_STREAMS": str(lanes), "INFERENCE_NUM_THREADS": str(max(lanes, cores()))}
    return core.compile_model(core.read_model(model), "CPU", hints)


def _infer(request: Any, frames: np.ndarray) -> np.ndarray:
    return request.infer({"frames": np.ascontiguousarray(frames)})["stylized"]
