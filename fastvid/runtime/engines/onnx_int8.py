"""ONNX Runtime on the processor in whole numbers of 8 bits, where the painting stays the same."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.engines.onnx_cpu import NAME, OnnxCpu, make_float32, open_session
from fastvid.runtime.engines.protocol import Engine, Graph
from fastvid.runtime.graph.quantizing import (
    FULL_WEIGHT,
    SAFE_WEIGHT,
    activations,
    quantize,
    ranges_of,
)
from fastvid.runtime.graph.saturation import extreme_sum

log = logging.getLogger(__name__)

# An error of 2.5 levels, which does not show in strokes; much more would, as grain on a calm sky.
MIN_PSNR_DB = 40.0
# All values of a picture are kept until their ranges are known, some 600 bytes a pixel: larger
# frames are measured in parts of this size.
_PART_PIXELS = 2**20


class OnnxInt8(OnnxCpu):
    """A network in 8 bits in ONNX Runtime on the CPU; see `Engine`.

    Args:
        graph: of a network held at statistics.
        probe: uint8 RGB (N, H, W, 3), frames of a shot in order. The ranges of its values are those
            of the first and the last: a fade or a pan has its extremes there, and all of them gave
            no other painting (within 0.3 dB on five films) for 0.25 s a shot more.
        lean: see `open_session`.
        lanes: see `OnnxCpu`.

    Attributes:
        psnr_db: between its paintings of these two and float32's, the worse of them.
    """

    name = f"{NAME} int8"

    def __init__(self, graph: Graph, probe: np.ndarray, lean: bool = False, lanes: int = 1) -> None:
        parts = _parts(probe[:: max(1, len(probe) - 1)])
        ranges, self.psnr_db = _try_out(graph(parts.shape[2:4]), parts, lanes)
        super().__init__(quantize(graph(probe.shape[1:3]), ranges, largest_weight()), lean, lanes)


def _parts(frames: np.ndarray) -> np.ndarray:
    """Frames (N, H, W, 3) cut into equal parts that cover them, (N, P, h, w, 3).

    A network that is held sees the same in a part as in the whole, but for its border.
    """
    height, width = h, w = frames.shape[1:3]
    while h * w > _PART_PIXELS:
        h, w = (-(-h // 2), w) if h > w else (h, -(-w // 2))
    rows, columns = (
        np.linspace(0, side - part, -(-side // part)).astype(int)
        for side, part in ((height, h), (width, w))
    )
    return np.stack([frames[:, y : y + h, x : x + w] for y in rows for x in columns], axis=1)


def _try_out(
    model: bytes, parts: np.ndarray, lanes: int
) -> tuple[dict[str, tuple[float, float]], float]:
    """The ranges of all activations, and how near the paintings in 8 bits then are.

    Args:
        model: the graph for the size of the parts.
        parts: uint8 RGB (N, P, h, w, 3), of N frames.
        lanes: threads to paint in.

    Returns:
        The ranges by name, and the PSNR of the worst frame in dB.
    """
    names = activations(model)
    singles = parts.reshape(-1, 1, *parts.shape[2:])
    session = open_session(ranges_of(model, names), lean=True)
    found = [session.run(None, {"frames": part}) for part in singles]
    del session  # what it took is needed next
    exact = np.reshape([values.pop(0) for values in found], parts.shape)
    lowest, highest = np.min(found, axis=0)[::2], np.max(found, axis=0)[1::2]
    ends = zip(names, lowest, highest, strict=True)
    ranges = {name: (float(low), float(high)) for name, low, high in ends}
    paint = OnnxCpu(quantize(model, ranges, largest_weight()), lanes=lanes)
    with ThreadPoolExecutor(lanes) as pool:
        painted = np.reshape(list(pool.map(paint, singles)), parts.shape)
    return ranges, min(map(psnr, exact, painted))


@cache
def largest_weight() -> int:
    """Of int8's codes, the largest that this processor multiplies without saturating."""
    model, frames = extreme_sum(FULL_WEIGHT)
    (sums,) = open_session(model).run(None, {"frames": frames})
    return FULL_WEIGHT if (sums == 255).all() else SAFE_WEIGHT


def make_int8(graph: Graph, probe: np.ndarray, lean: bool = False, lanes: int = 1) -> Engine:
    """The network in 8 bits, or in float32 where that would change the painting.

    The paintings of the probe's ends have to stay within `MIN_PSNR_DB` of float32's.

    Args:
        graph: of a network held at statistics; else no range would hold for the next frame.
        probe: see `OnnxInt8`.
        lean: see `open_session`.
        lanes: see `OnnxCpu`.
    """
    model = graph(probe.shape[1:3])
    if not activations(model):
        log.debug("int8: no convolution between the first and the last, painting in float32")
    else:
        coded = OnnxInt8(graph, probe, lean, lanes)
        log.debug("int8 against float32: %.1f dB", coded.psnr_db)
        if coded.psnr_db >= MIN_PSNR_DB:
            return coded
        log.info("int8 would change the painting (%.1f dB): float32 for this shot", coded.psnr_db)
    return make_float32(model, lean, lanes)
