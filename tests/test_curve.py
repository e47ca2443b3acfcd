"""Stability against style, and the charts as SVG."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from evaluate_command import command, texture_clip, write_frames, write_probe
from onnx_nets import invert_net, write
from tiny import data_root

from fastvid.evaluation import curve, svg
from fastvid.evaluation.svg import Axis, Bar, Series, bar_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def result(strength, style, ratio, net="a"):
    mean = {"style_distance": style, "stability_ratio_gap1": ratio, "content_distance": 1.0}
    return {"net": net, "statistics": "shot", "strength": strength, "mean": mean}


POINTS = [result(1, 0.2, 2.0), result(0.5, 0.6, 1.2), result(0.75, 0.4, 1.6)]


def test_a_curve_goes_from_weak_to_strong():
    found = curve.curves([*POINTS, result(1, 0.3, 1.0, "alone")])
    assert list(found) == ["a, per shot"]  # one point is no curve
    assert [point["strength"] for point in found["a, per shot"]] == [0.5, 0.75, 1]


def test_nothing_is_drawn_of_networks_without_a_painting():
    assert curve.curves([{**p, "mean": {"stability_ratio_gap1": 1.0}} for p in POINTS]) == {}


def test_stability_is_read_between_the_points():
    (points,) = curve.curves(POINTS).values()
    assert curve.at_style(points, 0.3) == pytest.approx(1.8)
    assert curve.at_style(points, 0.2) == pytest.approx(2.0)
    assert curve.at_style(points, 0.6) == pytest.approx(1.2)
    assert curve.at_style(points, 0.1) is None


def test_networks_are_compared_where_all_of_them_paint_as_much():
    others = [result(1, 0.3, 1.5, "b"), result(0.5, 0.7, 1.1, "b")]
    found = curve.curves([*POINTS, *others])
    assert curve.common_style(found) == 0.3
    table = curve.curve_table(found)
    assert table.header[-1] == "at style_distance 0.300"
    last = {row[0]: row[-1] for row in table.rows if row[-1]}
    assert last == {"a, per shot": "1.80", "b, per shot": "1.50"}


def test_the_command_draws_the_curve(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    net = write(tmp_path / "tiny.onnx", invert_net())
    film = write_frames(tmp_path / "film", texture_clip(3))
    words = (film, "--net", net, "--strengths", 0.25, 1, "--plots", tmp_path)
    assert command(*words, "--image", write_probe(tmp_path)) == 0
    texts = texts_of((tmp_path / curve_file()).read_text())
    assert {"tiny, per shot", "0.25", "1"} <= set(texts)


def curve_file():
    from fastvid.evaluation.evaluate import PLOT

    return PLOT


# charts


def texts_of(chart):
    return [text.text for text in ET.fromstring(chart).iter(f"{SVG}text")]


def circles_of(chart, radius):
    found = ET.fromstring(chart).iter(f"{SVG}circle")
    return [(float(c.get("cx")), float(c.get("cy"))) for c in found if c.get("r") == radius]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.21, 0.62, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (0.4, 7.3, [0, 2, 4, 6, 8]),
        (0, 9.99, [0, 2, 4, 6, 8, 10]),
        (3, 3, []),
        (0, 0, []),
    ],
)
def test_linear_ticks_are_round_and_enclose(low, high, expected):
    ticks = svg.linear_ticks(low, high)
    if expected:
        assert ticks == pytest.approx(expected)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) >= 2


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.9), (1, 1), (7e-3, 4e4), (2, 5), (230400, 8e6)])
def test_logarithmic_ticks_enclose(low, high):
    ticks = svg.log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 12
    assert all(np.diff(ticks) > 0)


def test_points_stand_where_they_belong():
    points = [(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]
    chart = line_chart("t", Axis("x", log=True), Axis("y", log=True), [Series("s", points)])
    (x0, y0), (x1, y1), (x2, y2) = circles_of(chart, "4")
    assert math.isclose(x1 - x0, x2 - x1, abs_tol=0.2)  # equal factors are equal distances
    assert math.isclose(y0 - y1, y1 - y2, abs_tol=0.2)
    assert y2 < y0  # up is more
    assert x0 == svg.LEFT
    assert x2 == svg.WIDTH_PX - svg.RIGHT


def test_many_names_take_several_rows_and_leave_the_points_below():
    series = [Series(f"network number {i}", [(0, 1), (1, 2)]) for i in range(9)]
    chart = line_chart("t", Axis("x"), Axis("y"), series)
    names = circles_of(chart, "5")
    assert len({row for _, row in names}) > 1
    assert max(left for left, _ in names) < svg.WIDTH_PX - svg.RIGHT - 100
    lowest_name, highest_point = max(y for _, y in names), min(y for _, y in circles_of(chart, "4"))
    assert lowest_name + 20 < highest_point
    assert chart.count("stroke-dasharray") == 2  # there are seven colours


def test_text_is_escaped():
    chart = line_chart("a < b & c", Axis("x"), Axis("y"), [Series("<s>", [(0, 1), (1, 2)])])
    assert {"a < b & c", "<s>"} <= set(texts_of(chart))


def test_bars_are_as_long_as_their_values():
    bars = [Bar("slow", 2.0, 1.8, 2.2, "2 s"), Bar("fast", 1.0, 1.0, 1.0, "1 s")]
    chart = bar_chart("t", Axis("s"), bars)
    slow, fast = [r for r in ET.fromstring(chart).iter(f"{SVG}rect") if r.get("fill") != svg.PAPER]
    assert float(slow.get("width")) == pytest.approx(2 * float(fast.get("width")), abs=0.2)
    assert {"slow", "fast", "2 s", "1 s"} <= set(texts_of(chart))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart("t", Axis("x"), Axis("y"), [])
    with pytest.raises(ValueError, match="'y' is logarithmic, found 0"):
        line_chart("t", Axis("x"), Axis("y", log=True), [Series("s", [(1, 0)])])
