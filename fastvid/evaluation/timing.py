"""Timing that a noisy machine does not decide: contestants take turns, ratios are per turn."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WARM_UP_CALLS = 2


@dataclass(frozen=True)
class Spread:
    """Median of a figure over the turns, and the range of all of them.

    The whole range, and no percentiles: a second run's median shall lie inside, and bursts of
    other people's work on a shared machine are few and long.
    """

    median: float
    least: float
    most: float

    def as_dict(self, name: str) -> dict[str, float]:
        """`<name>`, `<name>_min` and `<name>_max`, each to five digits."""
        figures = {name: self.median, f"{name}_min": self.least, f"{name}_max": self.most}
        return {key: float(f"{value:.5g}") for key, value in figures.items()}


def spread(values: Iterable[float]) -> Spread:
    """Median, smallest and largest value.

    Raises:
        ValueError: if there is no value.
    """
    found = np.asarray(list(values), dtype=np.float64)
    if found.size == 0:
        raise ValueError("spread: expected at least one value, found none")
    return Spread(float(np.median(found)), float(found.min()), float(found.max()))


def take_turns(
    calls: Mapping[str, Callable[[int], object]], rounds: int, warm_up: int = WARM_UP_CALLS
) -> dict[str, list[float]]:
    """Seconds that each call took in each round, all of them once per round.

    The order is rotated from round to round, so that nobody always follows the same other (caches
    and clock rates remember). A call has to return only when its result is there: on a GPU that
    means copied back.

    Args:
        calls: by name; called with the number of the round, negative while warming up.
        rounds: turns that count.
        warm_up: calls of each before that.
    """
    for turn in range(-warm_up, 0):
        for call in calls.values():
            call(turn)
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            begin = time.perf_counter()
            calls[name](turn)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def speed_ups(seconds: Mapping[str, Sequence[float]], yardstick: str) -> dict[str, Spread]:
    """How many times faster than the yardstick each one was, within the same round."""
    base = seconds[yardstick]
    return {
        name: spread(slow / own for slow, own in zip(base, values, strict=True))
        for name, values in seconds.items()
    }


def span(row: Mapping[str, float], name: str, digits: int = 2) -> str:
    """What `Spread.as_dict` put into a row, for a table: median and range."""
    median, least, most = (row[f"{name}{end}"] for end in ("", "_min", "_max"))
    return f"{median:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def timing_figures(seconds: Sequence[float], prefix: str) -> dict[str, float]:
    """`<prefix>_ms_p50` and `<prefix>_ms_p95`."""
    p50, p95 = np.percentile(seconds, (50, 95))
    return {f"{prefix}_ms_p50": round(p50 * 1e3, 3), f"{prefix}_ms_p95": round(p95 * 1e3, 3)}
