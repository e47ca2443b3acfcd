"""Charts as SVG: lines over linear or logarithmic axes, and bars. No library is needed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH_PX, HEIGHT_PX = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 84, 56
LEGEND_ROW_PX, LETTER_PX = 18, 7.2
BAR_PX, BAR_LEFT = 34, 190
# Okabe and Ito's colours, which colour-blind people tell apart; the pale ones are left out.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, FAINT, RULE, PAPER = "#212529", "#5c636a", "#dee2e6", "#ffffff"


@dataclass(frozen=True)
class Axis:
    """What is along an axis.

    Attributes:
        label: quantity and unit.
        log: logarithmic; all values must be above 0.
    """

    label: str
    log: bool = False


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: for the legend.
        points: (x, y), in the order in which they are joined.
        notes: text beside each point, or nothing.
    """

    name: str
    points: Sequence[tuple[float, float]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """One bar: its value, and the range that it was seen in."""

    name: str
    value: float
    low: float
    high: float
    note: str


def line_chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """A chart with a legend.

    Raises:
        ValueError: if there is no point, or a logarithmic axis has one that is not above 0.
    """
    legend = _legend([s.name for s in series])
    top = TOP + (max((row for _, row in legend), default=47) - 47)
    across = _scale(x, [p[0] for s in series for p in s.points], LEFT, WIDTH_PX - RIGHT)
    upward = _scale(y, [p[1] for s in series for p in s.points], HEIGHT_PX - BOTTOM, top)
    parts = [_text(LEFT, 28, title, size=17, color=INK)]
    for value in upward.ticks:
        height = upward(value)
        parts.append(_line(LEFT, height, WIDTH_PX - RIGHT, height, RULE))
        parts.append(_text(LEFT - 8, height + 4, _tick_text(value), anchor="end"))
    for value in across.ticks:
        place = across(value)
        parts.append(_line(place, HEIGHT_PX - BOTTOM, place, HEIGHT_PX - BOTTOM + 5, FAINT))
        parts.append(_text(place, HEIGHT_PX - BOTTOM + 20, _tick_text(value), anchor="middle"))
    parts.append(_text((LEFT + WIDTH_PX - RIGHT) / 2, HEIGHT_PX - 12, x.label, anchor="middle"))
    parts.append(_text(LEFT, top - 14, y.label))
    for index, (one, (left, row)) in enumerate(zip(series, legend, strict=True)):
        color = COLORS[index % len(COLORS)]
        dashes = ' stroke-dasharray="6 4"' if index >= len(COLORS) else ""
        places = [(across(a), upward(b)) for a, b in one.points]
        joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>'
        )
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>' for a, b in places]
        for (a, b), note in zip(places, one.notes, strict=False):
            parts.append(_text(a + 7, b - 7, note, size=11, color=color))
        parts.append(f'<circle cx="{left + 5:.1f}" cy="{row}" r="5" fill="{color}"/>')
        parts.append(_text(left + 15, row + 4, one.name, color=color))
    return _document(parts, HEIGHT_PX)


def bar_chart(title: str, axis: Axis, bars: Sequence[Bar]) -> str:
    """Horizontal bars with their ranges as whiskers, in the order given.

    Raises:
        ValueError: see `line_chart`.
    """
    values = [v for bar in bars for v in (bar.low, bar.value, bar.high)]
    bottom = TOP + BAR_PX * len(bars)
    scale = _scale(axis, values, BAR_LEFT, WIDTH_PX - 110, from_zero=True)
    parts = [_text(20, 28, title, size=17, color=INK), _text(20, 52, axis.label)]
    for value in scale.ticks:
        place = scale(value)
        parts.append(_line(place, TOP - 8, place, bottom, RULE))
        parts.append(_text(place, TOP - 14, _tick_text(value), anchor="middle", size=11))
    for index, bar in enumerate(bars):
        top, color = TOP + BAR_PX * index, COLORS[index % len(COLORS)]
        middle, end = top + BAR_PX / 2, scale(bar.value)
        parts.append(_text(BAR_LEFT - 10, middle + 4, bar.name, anchor="end", color=INK))
        parts.append(
            f'<rect x="{BAR_LEFT}" y="{top + 6}" width="{max(end - BAR_LEFT, 1):.1f}" '
            f'height="{BAR_PX - 12}" fill="{color}"/>'
        )
        parts.append(_line(scale(bar.low), middle, scale(bar.high), middle, INK))
        parts.append(_text(scale(bar.high) + 8, middle + 4, bar.note, color=INK))
    return _document(parts, bottom + 20)


def _legend(names: Sequence[str]) -> list[tuple[float, int]]:
    """Where the names stand: left edge and middle of the row; a full row is followed by another."""
    places = []
    left, row = float(LEFT), 47
    for name in names:
        width = 15 + LETTER_PX * len(name)
        if left > LEFT and left + width > WIDTH_PX - RIGHT:
            left, row = float(LEFT), row + LEGEND_ROW_PX
        places.append((left, row))
        left += width + 18
    return places


@dataclass(frozen=True)
class _Scale:
    """Places of values along an axis."""

    to_px: Callable[[float], float]
    ticks: Sequence[float]

    def __call__(self, value: float) -> float:
        return self.to_px(value)


def _scale(
    axis: Axis, values: Sequence[float], start: float, end: float, from_zero: bool = False
) -> _Scale:
    if not values:
        raise ValueError(f"chart: nothing to draw along {axis.label!r}")
    low, high = min(values), max(values)
    if axis.log and low <= 0:
        raise ValueError(f"chart: {axis.label!r} is logarithmic, found {low:g}")
    if axis.log:
        ticks = log_ticks(low, high)
        bend: Callable[[float], float] = math.log10
    else:
        ticks = linear_ticks(0.0 if from_zero else low, high)
        bend = float
    first, last = bend(ticks[0]), bend(ticks[-1])

    def to_px(value: float) -> float:
        return start + (end - start) * (bend(value) - first) / (last - first)

    return _Scale(to_px, ticks)


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose a range, four to seven of them."""
    span = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(span))
    step = next(f * unit for f in (0.2, 0.25, 0.5, 1.0, 2.0) if span / (f * unit) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * i, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade, or the decades alone where there are many, around a range."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    factors = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    every = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    first = max(i for i, tick in enumerate(every) if tick <= low * (1 + 1e-9))
    last = min(i for i, tick in enumerate(every) if tick >= high * (1 - 1e-9))
    return every[first : max(last, first + 1) + 1]


def _tick_text(value: float) -> str:
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, color: str = FAINT
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _document(parts: Sequence[str], height: float) -> str:
    size = f'width="{WIDTH_PX}" height="{height:.0f}" viewBox="0 0 {WIDTH_PX} {height:.0f}"'
    background = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
