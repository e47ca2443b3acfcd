"""From one style to the next over time: the networks in between, each a painting of its own."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from fastvid.runtime.contract import check_frames
from fastvid.runtime.engines.protocol import Paint
from fastvid.runtime.graph.mixing import mix_networks
from fastvid.runtime.graph.statistics import Moments
from fastvid.runtime.stylizer import EngineName, OnnxStylizer

# Statistics of a shot are measured at so many shares between two styles, and drawn out straight
# between those; the weights themselves follow the clock frame by frame.
KNOTS = 8


class TransitionStylizer:
    """A stylizer whose style depends on the second of the film, see `Stylizer`.

    Between two moments every weight of the network moves evenly from the one style's to the
    other's, and so do the statistics that the shot holds it at. A frame on the way costs a new
    engine in addition (0.1 s on a CPU); before, after and outside of transitions nothing.

    Attributes:
        name: of the styles, `starry_night-the_scream`.
    """

    def __init__(self, stylizer: OnnxStylizer, moments: Mapping[float, bytes]) -> None:
        """Start at the first style.

        Args:
            stylizer: made with the network of the first moment; paints, and belongs to this one.
            moments: rising seconds of the film, and the ONNX file of the style at each.

        Raises:
            ValueError: the networks differ in shape, so that there is none in between.
        """
        self.name = stylizer.name
        self._stylizer = stylizer
        self._seconds = list(moments)
        self._models = list(moments.values())
        self._place: tuple[int, float] = (0, 0.0)  # which style, and how far from it to the next
        self._keys: np.ndarray | None = None
        self._measured: dict[tuple[int, int], Sequence[Moments]] = {}
        mix_networks(self._models, [1 / len(self._models)] * len(self._models))

    @property
    def engine(self) -> str:
        """See `Stylizer`."""
        return self._stylizer.engine

    @property
    def device(self) -> str:
        """See `Stylizer`."""
        return self._stylizer.device

    @property
    def chosen(self) -> EngineName:
        """See `Stylizer`."""
        return self._stylizer.chosen

    @property
    def metadata(self) -> Mapping[str, str]:
        """That of the first style."""
        return self._stylizer.metadata

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint frames as the style is at the moment last given to `at`."""
        return self._stylizer(frames)

    def at(self, seconds: float) -> None:
        """Set the moment of the film that the next frames belong to."""
        i = bisect_right(self._seconds, seconds) - 1
        if i < 0:
            place = (0, 0.0)
        elif i + 1 == len(self._seconds):
            place = (i, 0.0)
        else:
            begin, end = self._seconds[i : i + 2]
            place = (i, (seconds - begin) / (end - begin))
        if place != self._place:
            self._place = place
            self._move()

    def lanes(self, size: tuple[int, int]) -> int:
        """One: on the way nearly every frame has a network of its own."""
        return 1

    def frozen(self, frame: np.ndarray, lanes: int) -> Paint:
        """See `Stylizer`."""
        return self._stylizer.frozen(frame, lanes)

    def adapt(self, frames: np.ndarray | None) -> None:
        """Hold the statistics of these frames through all styles on the way."""
        if frames is not None:
            check_frames(frames)
            frames = np.array(frames)
        self._keys = frames
        self._measured.clear()
        self._move()

    def measure(self, frame: np.ndarray) -> Moments | None:
        """See `Stylizer`; of the style as it is now."""
        return self._stylizer.measure(frame)

    def held_at(self, moments: Moments, frame: np.ndarray) -> OnnxStylizer:
        """See `Stylizer`; the style stays as it is now."""
        return self._stylizer.held_at(moments, frame)

    def _move(self) -> None:
        i, share = self._place
        keys = self._keys if share == 0 else None
        self._stylizer.become(self._mixed(i, share), self._statistics(i, share), keys)

    def _mixed(self, i: int, share: float) -> bytes:
        if share == 0:
            return self._models[i]
        return mix_networks(self._models[i : i + 2], [1 - share, share])

    def _statistics(self, i: int, share: float) -> Sequence[Moments] | None:
        """Of the key frames, between those of the two knots around."""
        if self._keys is None:
            return None
        knot = int(share * KNOTS)
        beyond = share * KNOTS - knot
        before = self._at_knot(i, knot)
        if beyond == 0:
            return before
        after = self._at_knot(i, knot + 1)
        return [
            {name: (1 - beyond) * one[name] + beyond * other[name] for name in one}
            for one, other in zip(before, after, strict=True)
        ]

    def _at_knot(self, i: int, knot: int) -> Sequence[Moments]:
        if knot == KNOTS:
            i, knot = i + 1, 0
        if (i, knot) not in self._measured:
            assert self._keys is not None
            self._stylizer.become(self._mixed(i, knot / KNOTS))
            found = [self._stylizer.measure(key) for key in self._keys]
            self._measured[i, knot] = [moments for moments in found if moments is not None]
        return self._measured[i, knot]
