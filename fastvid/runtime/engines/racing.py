"""Trying out a way of painting: whether it paints the same, and whether in less time."""

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.engines.protocol import Paint, first_line

log = logging.getLogger(__name__)

_RUNS = 5


def race(paints: Sequence[Paint], probe: np.ndarray) -> list[float]:
    """Milliseconds of the best of a few runs of each, in turns."""
    best = [float("inf")] * len(paints)
    for turn in range(_RUNS + 1):
        for i, paint in enumerate(paints):
            begin = time.perf_counter()
            paint(probe)
            if turn:  # the first run warms up
                best[i] = min(best[i], (time.perf_counter() - begin) * 1e3)
    return best


def if_better(
    what: str,
    make: Callable[[], Paint],
    frames: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    min_psnr_db: float,
    than: Paint | None = None,
) -> Paint | None:
    """What `make` gives, if it paints as expected and faster than another; else None.

    The reason goes into the log; nothing that fails in here is an error.

    Args:
        what: for the log.
        make: builds it; called once.
        frames: to paint one after the other, each uint8 RGB (N, H, W, 3). Where it might repeat a
            painting they have to differ.
        expected: their paintings.
        min_psnr_db: that each painting has to reach.
        than: what it has to outrun on the first frame, if given.
    """
    try:
        painter = make()
        psnr_db = min(
            psnr(painting, painter(frame)) for frame, painting in zip(frames, expected, strict=True)
        )
        times = None if than is None else race([painter, than], frames[0])
    except Exception as error:  # the runtimes' own errors share no narrower base
        log.debug("%s does not run (%s)", what, first_line(error))
        return None
    shown = "" if times is None else f", {times[0]:.2f} ms against {times[1]:.2f}"
    log.debug("%s: %.1f dB%s", what, psnr_db, shown)
    taken = psnr_db >= min_psnr_db and (times is None or times[0] < times[1])
    return painter if taken else None
