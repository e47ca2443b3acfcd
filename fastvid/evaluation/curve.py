"""Stability against style: one network at several strengths, so that equals can be compared.

A grey frame is perfectly steady, and half a painting is steadier than a whole one. Two networks
compare fairly only where they paint as much: at one `style_distance`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastvid.evaluation.svg import Axis, Series, line_chart
from fastvid.evaluation.table import Table, number

STYLE, RATIO = "style_distance", "stability_ratio_gap1"
Point = tuple[float, float]


def curves(results: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Points of every network that ran at several strengths, the weakest first.

    Args:
        results: each with `net`, `statistics`, `strength` and `mean`.

    Returns:
        By network and statistics: `strength` and the means that it has of `style_distance`,
        `stability_ratio_gap1` and `content_distance`. Nothing for those without a painting.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda r: float(r["strength"])):
        mean = result["mean"]
        if STYLE in mean and RATIO in mean:
            names = (STYLE, RATIO, "content_distance")
            point = {"strength": result["strength"]} | {n: mean[n] for n in names if n in mean}
            found.setdefault(f"{result['net']}, per {result['statistics']}", []).append(point)
    return {name: points for name, points in found.items() if len(points) > 1}


def at_style(points: Sequence[Mapping[str, float]], style_distance: float) -> float | None:
    """`stability_ratio` where a curve has this `style_distance`, by linear interpolation.

    None where it does not reach it. Where it passes it more than once, the strongest counts.
    """
    for strong, weak in zip(points[::-1], points[-2::-1], strict=False):
        (x1, y1), (x0, y0) = _point(strong), _point(weak)
        if min(x0, x1) <= style_distance <= max(x0, x1):
            share = 0.0 if x1 == x0 else (style_distance - x1) / (x0 - x1)
            return y1 + share * (y0 - y1)
    return None


def common_style(found: Mapping[str, Sequence[Mapping[str, float]]]) -> float:
    """The `style_distance` nearest to the paintings that every curve reaches."""
    return max(min(point[STYLE] for point in points) for points in found.values())


def curve_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Every point of every curve, and each curve's stability at the style that all reach."""
    style = common_style(found)
    rows = []
    for name, points in found.items():
        equal = number(at_style(points, style), 2)
        rows += [
            [
                name,
                f"{point['strength']:g}",
                number(point[STYLE]),
                number(point.get("content_distance")),
                number(point[RATIO], 2),
                equal if point is points[-1] else "",
            ]
            for point in points
        ]
    header = ["network", "strength", "style_distance", "content_distance", "stability_ratio gap 1",
              f"at style_distance {style:.3f}"]  # fmt: skip
    return Table("Stability against style", header, rows)


def curve_plot(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The curves as SVG: down is steadier, left is nearer to the painting."""
    series = [
        Series(
            name,
            [_point(point) for point in points],
            [f"{point['strength']:g}" for point in points],
        )
        for name, points in found.items()
    ]
    return line_chart(
        "Stability against style, by strength",
        Axis("style_distance (0 = the painting)"),
        Axis("stability_ratio, gap 1 (1 = as steady as the source)"),
        series,
    )


def _point(point: Mapping[str, float]) -> Point:
    return point[STYLE], point[RATIO]
