import numpy as np
import pytest
import torch
from evaluate_command import texture_clip, write_frames

from fastvid.evaluation.clips import HOLDOUT, Clip, expand, frame_pairs, scene_motion
from fastvid.motion import scenes
from fastvid.motion.warp import warp


def test_a_file_clip_stops_at_the_number_of_frames(tmp_path):
    folder = write_frames(tmp_path / "in", texture_clip(5))
    assert len(list(Clip(folder).frames())) == 5
    frames = list(Clip(folder, num_frames=3).frames())
    np.testing.assert_array_equal(np.stack(frames), texture_clip(5)[:3])


def test_spread_frames_come_from_all_over_the_clip(tmp_path):
    clip = Clip(write_frames(tmp_path / "in", texture_clip(8)))
    np.testing.assert_array_equal(clip.spread_frames(4), texture_clip(8)[::2])


def test_scene_all_stands_for_every_generated_scene():
    assert expand(["a.mp4", "scene:all"]) == ["a.mp4", *(f"scene:{n}" for n in scenes.NAMES)]


def test_held_out_films_lie_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTVID_DATA", str(tmp_path))
    films = [str(tmp_path / "video" / f"{name}.mp4") for name in HOLDOUT]
    assert expand(["holdout:all", "scene:pan"]) == [*films, "scene:pan"]
    assert expand([f"holdout:{HOLDOUT[1]}"]) == [films[1]]
    with pytest.raises(ValueError, match="held out are coffee_pour"):
        expand(["holdout:matrix"])


def test_an_unknown_scene_names_the_choices():
    with pytest.raises(ValueError, match="pan"):
        next(Clip("scene:nowhere").frames())


def test_the_motion_of_a_scene_takes_its_frames_onto_each_other():
    clip = Clip("scene:pan", num_frames=5, height_px=90)
    frames = [torch.from_numpy(f).permute(2, 0, 1)[None] / 255 for f in clip.frames()]
    flow, visible = scene_motion(clip.scene)(0, 4, frames[0], frames[4])
    error = ((frames[4] - warp(frames[0], flow)).abs() * visible).sum() / visible.sum() / 3
    unmoved = ((frames[4] - frames[0]).abs() * visible).sum() / visible.sum() / 3
    assert error < 0.3 * unmoved


def test_clips_are_read_side_by_side(tmp_path):
    source = Clip(write_frames(tmp_path / "in", texture_clip(2)))
    negative = Clip(write_frames(tmp_path / "out", 255 - texture_clip(2)))
    for frame, painted in frame_pairs(source, negative):
        np.testing.assert_array_equal(painted, 255 - frame)
