"""One live frame after the other to its finished picture."""

from concurrent.futures import Executor

import numpy as np

from fastvid.runtime.film import Painter, Statistics
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.statistics import SlowStatistics
from fastvid.runtime.shots import ShotFrame
from fastvid.runtime.steady import Steady
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import Frame


class Brush:
    """Network, statistics, smoothing and finish; network and finish may change on the way.

    Args:
        stylizer: the network, see `ready`.
        finish: what happens to a painted frame.
        executor: gathers the statistics.
        statistics: see `paint_live`.
        steady: whether to smooth over time.

    Attributes:
        painter: paints, and counts failing frames and shots.
        finish: see above.
        statistics: `slow` or `frame`, for the report.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        finish: Finish,
        executor: Executor,
        statistics: Statistics,
        steady: bool,
    ) -> None:
        self.painter = Painter(stylizer)
        self.finish = finish
        self.statistics = "slow" if statistics == "shot" else "frame"
        self._executor = executor
        self._steady = Steady() if steady else None
        self.take(stylizer)

    def take(self, stylizer: Stylizer) -> None:
        """Go on with another network."""
        self.painter.stylizer = stylizer
        self._slow = SlowStatistics(stylizer, self._executor) if self.statistics == "slow" else None
        if self._steady is not None:
            self._steady.forget()

    def __call__(self, frame: Frame) -> np.ndarray:
        """The picture, uint8 (H, W, 3) or twice as wide; RuntimeError as `Painter`."""
        if self._slow is not None:
            self.painter.stylizer = self._slow(frame)
            self.painter.num_shots = self._slow.num_shots
        frame, painted = self.painter(ShotFrame(frame))
        if self._steady is not None:
            painted = self._steady(frame.image, painted)
        return self.finish(frame.image, painted)


def ready(stylizer: Stylizer, size: tuple[int, int]) -> Stylizer:
    """The stylizer without statistics of its own, its engine made for frames of this (H, W)."""
    stylizer.adapt(None)
    stylizer(np.zeros((1, *size, 3), np.uint8))
    return stylizer
