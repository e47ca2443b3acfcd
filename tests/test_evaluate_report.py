import numpy as np
import pytest
from evaluate_command import SIZE, texture_clip

from fastvid.evaluation import picture
from fastvid.evaluation.metrics import ClipMeter
from fastvid.evaluation.report import clip_table, machine
from fastvid.evaluation.table import Table, format_table


def test_tables_are_aligned():
    table = format_table(["net", "ms"], [["base", "9.1"], ["johnson", "100.0"]])
    assert table.splitlines() == ["net         ms", "base       9.1", "johnson  100.0"]
    assert Table("Speed", ["net", "ms"], [["base", "9.1"]]).markdown().splitlines() == [
        "Speed",
        "",
        "| net | ms |",
        "| --- | ---: |",
        "| base | 9.1 |",
    ]


def test_a_short_clip_has_dashes_in_its_table():
    meter = ClipMeter()
    for frame in texture_clip(3):
        meter.update(frame, frame)
    lines = clip_table(meter.scores()).splitlines()
    ratio = next(line for line in lines if line.startswith("stability_ratio"))
    assert ratio.split()[2:4] == ["-", "-"]


def test_the_machine_is_described_without_naming_it():
    found = machine()
    assert set(found) == {"cpu", "cores", "memory_gib", "system"}
    assert found["cores"] >= 1


def test_the_picture_marks_the_worst_pair():
    source = texture_clip(4, 0)
    painted = 255 - source
    painted[2, 10:20, 10:30] ^= 64
    meter, rows = ClipMeter((1,)), picture.RowSlice()
    for pair in zip(source, painted, strict=True):
        meter.update(*pair)
        rows.update(*pair)
    canvas = picture.draw_clip(meter.stability, rows, "title", "subtitle")
    assert canvas.dtype == np.uint8
    assert canvas.shape[1:] == (picture.WIDTH_PX, 3)
    assert (canvas == picture.OUTPUT).all(axis=-1).sum() > 500  # the line is drawn
    row_source, row_output = rows.images()
    np.testing.assert_array_equal(row_source, source[:, SIZE[0] // 2])
    np.testing.assert_array_equal(row_output, painted[:, SIZE[0] // 2])


def test_one_frame_makes_no_picture():
    meter, rows = ClipMeter(), picture.RowSlice()
    frame = texture_clip(1)[0]
    meter.update(frame, frame)
    rows.update(frame, frame)
    with pytest.raises(ValueError, match="two frames at least"):
        picture.draw_clip(meter.stability, rows, "title", "subtitle")
