"""Plots of `fastvid benchmark`."""

from collections.abc import Sequence
from typing import Any

from fastvid.evaluation.svg import Axis, Bar, Series, bar_chart, line_chart

Row = dict[str, Any]


def pixel_plot(nets: Sequence[Row], optimizer: Sequence[Row]) -> str:
    """Seconds a frame against pixels, both logarithmic: a slope of 1 is a cost per pixel.

    Args:
        nets: rows of `measure_nets` at several sizes, batch 1.
        optimizer: `width_px`, `height_px` and `s_per_frame` at those it was run at.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for row in optimizer:
        points.setdefault("optimiser", []).append((_pixels(row), row["s_per_frame"]))
    for row in nets:
        points.setdefault(row["net"], []).append((_pixels(row), row["net_ms_p50"] / 1e3))
    series = [Series(name, sorted(each)) for name, each in points.items()]
    return line_chart(
        "Cost against pixels", Axis("pixels a frame", log=True), Axis("s a frame", log=True), series
    )


def frame_plot(lengths: Sequence[Row], net: str) -> str:
    """Seconds of the whole program against the frames of the film."""
    points = [(float(row["frames"]), row["program_s"]) for row in lengths]
    return line_chart(f"Whole program with {net}", Axis("frames"), Axis("s"), [Series(net, points)])


def frame_time_plot(title: str, rows: Sequence[Row]) -> str:
    """Seconds a frame as bars: rows with `net`, `s_per_frame` and its band."""
    bars = [
        Bar(
            row["net"],
            row["s_per_frame"],
            row["s_per_frame_min"],
            row["s_per_frame_max"],
            f"{row['s_per_frame']:.3g} s",
        )
        for row in rows
    ]
    return bar_chart(title, Axis("s a frame, logarithmic", log=True), bars)


def _pixels(row: Row) -> float:
    return float(row["width_px"] * row["height_px"])
