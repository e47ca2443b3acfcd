"""ONNX Runtime on the processor in whole numbers of 8 bits, where the painting stays the same."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from fastvid.runtime.engines.distance import MIN_PSNR_DB, psnr
from fastvid.runtime.engines.onnx_cpu import NAME, OnnxCpu, open_session
from fastvid.runtime.engines.protocol import Engine
from fastvid.runtime.graph.network import Network
from fastvid.runtime.graph.quantizing import (
    FULL_WEIGHT,
    SAFE_WEIGHT,
    activations,
    quantize,
    ranges_of,
)
from fastvid.runtime.graph.saturation import extreme_sum

log = logging.getLogger(__name__)

_LEAN_VALUES = 4  # whose ranges are found in one pass where memory is short


class OnnxInt8(OnnxCpu):
    """A network in 8 bits in ONNX Runtime on the CPU; see `Engine`.

    Args:
        model: ONNX file, fixed to a size and held at statistics.
        probe: uint8 RGB (N, H, W, 3), frames of a shot in order. The ranges of its values are those
            of the first and the last: a fade or a pan has its extremes there, and all of them gave
            no other painting (within 0.3 dB on five films) for 0.25 s a shot more.
        lean: see `open_session`.
        lanes: see `OnnxCpu`.

    Attributes:
        psnr_db: between its paintings of these two and float32's, the worse of them.
    """

    name = f"{NAME} int8"

    def __init__(self, model: bytes, probe: np.ndarray, lean: bool = False, lanes: int = 1) -> None:
        probe = probe[:: max(1, len(probe) - 1)]
        exact, ranges = _paint_and_measure(model, probe, lean)
        super().__init__(quantize(model, ranges, largest_weight()), lean, lanes)
        with ThreadPoolExecutor(lanes) as pool:
            paintings = pool.map(self, probe[:, None])
            self.psnr_db = min(map(psnr, exact, paintings))


def _paint_and_measure(
    model: bytes, frames: np.ndarray, lean: bool
) -> tuple[list[np.ndarray], dict[str, tuple[float, float]]]:
    """Paintings of the frames in float32, each (1, H, W, 3), and the ranges of all activations.

    Lean, the ranges come a few at a time: 4.7 -> 2.8 GB at 3840x2160, for three paintings more of
    each frame.
    """
    names = activations(model)
    step = _LEAN_VALUES if lean else len(names)
    parts = [names[i : i + step] for i in range(0, len(names), step)]
    ranges: dict[str, tuple[float, float]] = {}
    paintings: list[np.ndarray] = []
    for part in parts:
        is_last = part is parts[-1]
        session = open_session(ranges_of(model, part, painting=is_last), lean)
        found = [session.run(None, {"frames": frame[None]}) for frame in frames]
        del session  # what it took is needed for the next one
        if is_last:
            paintings = [values.pop(0) for values in found]
        lowest, highest = np.min(found, axis=0)[::2], np.max(found, axis=0)[1::2]
        ends = zip(part, lowest, highest, strict=True)
        ranges |= {name: (float(low), float(high)) for name, low, high in ends}
    return paintings, ranges


@cache
def largest_weight() -> int:
    """Of int8's codes, the largest that this processor multiplies without saturating."""
    model, frames = extreme_sum(FULL_WEIGHT)
    (sums,) = open_session(model).run(None, {"frames": frames})
    return FULL_WEIGHT if (sums == 255).all() else SAFE_WEIGHT


def make_int8(model: bytes, probe: np.ndarray, lean: bool = False, lanes: int = 1) -> Engine:
    """The network in 8 bits, or in float32 where that would change the painting.

    The paintings of the probe's ends have to stay within `MIN_PSNR_DB` of float32's. A network that
    still normalises each frame by itself has no fixed ranges: it runs in float32.
    """
    if any(node.op_type == "InstanceNormalization" for node in Network(model).nodes):
        log.debug("int8: statistics are not held, painting in float32")
    elif not activations(model):
        log.debug("int8: no convolution between the first and the last, painting in float32")
    else:
        coded = OnnxInt8(model, probe, lean, lanes)
        log.debug("int8 against float32: %.1f dB", coded.psnr_db)
        if coded.psnr_db >= MIN_PSNR_DB:
            return coded
        log.info("int8 would change the painting (%.1f dB): float32 for this shot", coded.psnr_db)
    return OnnxCpu(model, lean, lanes)
