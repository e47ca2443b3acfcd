"""Smoothing of a painted film over time: each picture takes in the one before, moved along.

The motion is the source's, estimated small by DIS (Kroeger et al. 2016, OpenCV's, preset medium).
It is trusted where going along it and back returns home (the rule of Sundaram et al. 2010), and
where the source's luma agrees with what the motion says. Needs OpenCV.
"""

from dataclasses import dataclass

import numpy as np

from fastvid.image import load_cv2
from fastvid.motion.cuts import CUT_THRESHOLD, color_histogram, histogram_distance

# Share of the past where it is fully trusted: independent flicker falls to half, its standard
# deviation by sqrt((1 - w) / (1 + w)), and a change of the painting is there after three frames.
WEIGHT = 0.6
_FLOW_HEIGHT_PX = 180  # motion is estimated at this height
_MIN_SIDE_PX = 32  # of what DIS takes
_WINDOW_PX = 5  # luma is compared in windows of this side, against noise
_LUMA_TOLERANCE = 10.0  # of 255; mean difference at which the trust has come down to 0
# With less of the picture trusted it is taken for a cut that the histogram does not show.
_LEAST_TRUSTED = 0.3


@dataclass(frozen=True)
class _Past:
    """The frame before: its luma (h, w), its histogram, and what was given out for it."""

    luma: np.ndarray
    histogram: np.ndarray
    painted: np.ndarray


class Steady:
    """Smooths the paintings of a film, to be called with all its frames in order.

    Args:
        weight: share of the past where it is trusted, in [0, 1).

    Raises:
        RuntimeError: if OpenCV cannot be loaded.
    """

    def __init__(self, weight: float = WEIGHT) -> None:
        self._cv2 = load_cv2()
        self._weight = weight
        self._dis = self._cv2.DISOpticalFlow.create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._past: _Past | None = None

    def __call__(self, source: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """The painting with what is left of the one before, uint8 (H, W, 3).

        The first frame, and the first one after a cut or a change of size, comes back as it is.

        Args:
            source: uint8 RGB (H, W, 3), what was painted.
            painted: same shape and type.
        """
        luma, histogram = self._look(source)
        past = self._past
        continues = (
            past is not None
            and past.painted.shape == painted.shape
            and histogram_distance(past.histogram, histogram) <= CUT_THRESHOLD
        )
        steadied = self._blend(past, luma, painted) if past is not None and continues else painted
        self._past = _Past(luma, histogram, steadied)
        return steadied

    def forget(self) -> None:
        """Take the next frame for the first one."""
        self._past = None

    def _look(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, w = source.shape[:2]
        scale = min(1.0, _FLOW_HEIGHT_PX / h)
        size = max(_MIN_SIDE_PX, round(w * scale)), max(_MIN_SIDE_PX, round(h * scale))
        small = self._cv2.resize(source, size, interpolation=self._cv2.INTER_AREA)
        return self._cv2.cvtColor(small, self._cv2.COLOR_RGB2GRAY), color_histogram(source)

    def _blend(self, past: _Past, luma: np.ndarray, painted: np.ndarray) -> np.ndarray:
        cv2 = self._cv2
        flow = self._dis.calc(luma, past.luma, None)  # (h, w, 2) dx, dy: where it was before
        trust = self._trust(past.luma, luma, flow)
        if np.mean(trust > 0.5) < _LEAST_TRUSTED:
            return painted
        h, w = painted.shape[:2]
        scale = np.array([w / luma.shape[1], h / luma.shape[0]], np.float32)
        place = self._follow(cv2.resize(flow, (w, h)) * scale)
        moved = cv2.remap(
            past.painted, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        share = cv2.resize(trust, (w, h)) * np.float32(self._weight)
        return cv2.blendLinear(moved, painted, share, 1 - share)

    def _trust(self, before: np.ndarray, now: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Float (h, w) in [0, 1] on the grid of the frame now."""
        cv2 = self._cv2
        place = self._follow(flow)
        back = cv2.remap(self._dis.calc(before, now, None), place, None, cv2.INTER_LINEAR)
        squares = (flow**2).sum(2) + (back**2).sum(2)
        consistent = ((flow + back) ** 2).sum(2) < 0.01 * squares + 0.5
        h, w = now.shape
        inside = ((place >= 0) & (place <= (w - 1, h - 1))).all(2)
        expected = cv2.remap(before, place, None, cv2.INTER_LINEAR)
        window = (_WINDOW_PX, _WINDOW_PX)
        error = cv2.blur(cv2.absdiff(now, expected).astype(np.float32), window)
        trust = np.maximum(1 - (error / _LUMA_TOLERANCE) ** 2, 0) * (consistent & inside)
        return cv2.blur(cv2.erode(trust, np.ones((3, 3))), (3, 3))

    def _follow(self, flow: np.ndarray) -> np.ndarray:
        """Positions (h, w, 2) that a flow leads to."""
        h, w = flow.shape[:2]
        grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), 2).astype(np.float32)
        return grid + flow
