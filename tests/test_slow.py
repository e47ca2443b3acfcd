"""The slow optimiser beside the networks."""

import time

import numpy as np
import pytest
import torch
from tiny import data_root, texture

from fastvid.evaluation import slow
from fastvid.evaluation.slow import NAME, SlowPainter, compare, iterations_to
from fastvid.image import to_tensor
from fastvid.reference.image import paint_image

SIZE = (32, 48)


@pytest.fixture
def painter(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    wide = texture(SIZE[0], SIZE[1] + 4, seed=3)
    frames = np.stack([wide[:, t : t + SIZE[1]] for t in range(3)])
    folder = tmp_path / "work"
    folder.mkdir()
    config = slow.settings(tmp_path / "data" / "styles" / "tiny.png", iterations=4, init="image")
    return SlowPainter(config, frames, folder)


def test_frames_painted_one_by_one_are_those_of_a_whole_run(painter, tmp_path):
    for turn in range(3):
        painter(turn)
    apart = [painter.result(turn) for turn in range(3)]
    whole = tmp_path / "whole"
    whole.mkdir()
    other = SlowPainter(painter.config, painter.frames, whole)
    other(2)  # all frames that are not done
    for turn in range(3):
        np.testing.assert_array_equal(other.result(turn), apart[turn])
    assert np.abs(apart[0].astype(int) - painter.frames[0]).mean() > 1  # something was painted


def test_a_loss_is_reached_when_the_history_of_a_run_says_so(painter):
    objective, start = painter.objective()
    studio = painter._studio
    run = paint_image(
        studio.vgg, studio.recipe, studio.recipe.mode.encode(studio.frame(0)),
        studio.paintings[0].grams, start, 12,
    )  # fmt: skip
    history = [loss.content + loss.style for loss in (*run.history, run.after)]
    for done in (0, 5, 12):
        expected = next(i for i, loss in enumerate(history) if loss <= history[done])
        assert iterations_to(objective, start, {"net": history[done]}, 12) == {"net": expected}
    wanted = {"easy": history[3], "never": min(history) / 2}
    found = iterations_to(objective, start, wanted, 12)
    assert found["easy"] is not None
    assert found["never"] is None


def test_it_stops_as_soon_as_all_losses_are_reached(painter):
    objective, start = painter.objective()
    asked = []

    def counted(pixels):
        asked.append(1)
        return objective(pixels)

    iterations_to(counted, start, {"net": float("inf")}, 1000)
    assert len(asked) == 1


def test_the_loss_of_a_painting_is_that_of_its_pixels(painter):
    objective, start = painter.objective()
    painted = texture(*SIZE, seed=9)
    losses = objective.losses(painter._studio.recipe.mode.encode(to_tensor(painted)))
    assert painter.loss(objective, painted) == losses.content + losses.style
    # from the image itself, there is no content loss
    torch.testing.assert_close(start, painter._studio.recipe.mode.encode(painter._studio.frame(0)))


def test_optimiser_and_networks_paint_and_are_judged_on_the_same_frames(painter):
    seen = []

    def negative(frame):
        seen.append(frame)
        time.sleep(0.001)
        return 255 - frame

    rows = {
        row["net"]: row
        for row in compare(painter, {"negative": negative, "foreign": negative}, ["negative"], 2)
    }
    assert list(rows) == [NAME, "negative", "foreign"]
    assert len(seen) == 2 * (3 + 1)  # three frames each, and the warm-up
    assert rows[NAME]["speed_up"] == 1.0
    assert rows["negative"]["speed_up_min"] <= rows["negative"]["speed_up"]
    for name in (NAME, "negative"):
        assert rows[name]["style_distance"] > 0
        assert rows[name]["pairs_gap1"] == 2
    assert "style_distance" not in rows["foreign"]
    assert "worth_iterations" not in rows[NAME]
    table = slow.duel_table(painter, list(rows.values()))
    assert "4 iterations a frame from image" in table.title
    cells = {row[0]: row for row in table.rows}
    assert cells["foreign"][4:] == ["-"] * 5
    assert cells[NAME][-1] == "-"


def test_a_loss_that_is_not_reached_is_said_to_be_worth_more(painter):
    row = {
        "net": "good", "s_per_frame": 1.0, "s_per_frame_min": 1.0, "s_per_frame_max": 1.0,
        "fps": 1.0, "speed_up": 9.0, "speed_up_min": 9.0, "speed_up_max": 9.0,
        "worth_iterations": None, "limit_iterations": 40,
    }  # fmt: skip
    assert slow.duel_table(painter, [row]).rows[0][-1] == "> 40"
