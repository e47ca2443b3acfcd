"""Style weights over time: one painting turns into another between two time stamps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StyleKey:
    """Weights of the paintings at one moment.

    Attributes:
        time_s: seconds from the beginning of the film.
        weights: one per painting.
    """

    time_s: float
    weights: tuple[float, ...]


class StyleSchedule:
    """Weights that run linearly from key to key, and stand still before the first and the last.

    Not in the program: there the weights are constant. With one key this is the same.
    """

    def __init__(self, keys: Sequence[StyleKey]) -> None:
        """Check and sort the keys.

        Raises:
            ValueError: no key, two at one time, or weights that differ in number, are negative or
                all zero.
        """
        self.keys = sorted(keys, key=lambda key: key.time_s)
        if not self.keys:
            raise ValueError("style schedule: expected at least one key")
        times = [key.time_s for key in self.keys]
        if len(set(times)) < len(times):
            raise ValueError(f"style schedule: two keys at one time, found times {times}")
        numbers = {len(key.weights) for key in self.keys}
        if len(numbers) > 1:
            raise ValueError(
                f"style schedule: expected one number of weights, found {sorted(numbers)}"
            )
        for key in self.keys:
            if min(key.weights, default=0) < 0 or sum(key.weights) <= 0:
                raise ValueError(
                    f"style schedule: weights must be >= 0 with a sum > 0, found {key.weights}"
                )
        self._times = times

    def __call__(self, time_s: float) -> tuple[float, ...]:
        """Weights at a moment, sum 1."""
        after = bisect_right(self._times, time_s)
        if after in (0, len(self.keys)):
            return _normalized(self.keys[max(after - 1, 0)].weights)
        first, second = self.keys[after - 1], self.keys[after]
        share = (time_s - first.time_s) / (second.time_s - first.time_s)
        before, behind = _normalized(first.weights), _normalized(second.weights)
        return tuple((1 - share) * a + share * b for a, b in zip(before, behind, strict=True))


def constant(weights: Sequence[float]) -> StyleSchedule:
    """A schedule that never changes."""
    return StyleSchedule([StyleKey(0.0, tuple(weights))])


def _normalized(weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    return tuple(weight / total for weight in weights)
