"""OpenVINO on the processor, where the extra `openvino` is installed."""

import logging
from typing import Any

import numpy as np

from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.protocol import Unavailable, first_line

log = logging.getLogger(__name__)


class OpenVino:
    """A network in OpenVINO on the CPU; see `Engine`.

    Where the processor calculates in bfloat16, that is tried on the frames of `probe` and kept if
    it stays close to float32.

    Args:
        model: the ONNX file's bytes.
        probe: uint8 RGB (N, H, W, 3).

    Raises:
        Unavailable: OpenVINO is missing or cannot run the network.
    """

    device = "cpu"

    def __init__(self, model: bytes, probe: np.ndarray) -> None:
        try:
            import openvino
        except ImportError as error:
            raise Unavailable(
                f'OpenVINO is not installed; pip install "fastvid[openvino]" ({error})'
            ) from None
        core = openvino.Core()
        try:
            self._request = _compile(core, model, "f32")
            precision = "fp32"
            if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                faster = _compile(core, model, "bf16")
                psnr_db = psnr(_infer(self._request, probe[-1:]), _infer(faster, probe[-1:]))
                if psnr_db >= MIN_PSNR_DB:
                    self._request, precision = faster, "bf16"
                log.debug("OpenVINO bf16 against fp32: %.1f dB", psnr_db)
        except Exception as error:  # OpenVINO's own errors share no narrower base
            raise Unavailable(f"OpenVINO: {first_line(error)}") from error
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} {precision} CPU"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        try:
            return _infer(self._request, frames)
        except Exception as error:  # OpenVINO's own errors share no narrower base
            raise RuntimeError(f"{self.name} failed: {first_line(error)}") from error


def _compile(core: Any, model: bytes, precision: str) -> Any:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    return core.compile_model(core.read_model(model), "CPU", hints).create_infer_request()


def _infer(request: Any, frames: np.ndarray) -> np.ndarray:
    return request.infer({"frames": np.ascontiguousarray(frames)})["stylized"]
