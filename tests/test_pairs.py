import numpy as np
import pytest
from media import write_video

from fastvid.motion.scenes import make
from fastvid.training.pairs import PairSettings, clip_pairs, list_clips, load_pairs, plan_pairs

SETTINGS = PairSettings(height_px=48, gaps=(1, 2), anchor_every=4)


def two_shots(index: int) -> np.ndarray:
    """Six frames of one scene, six of another."""
    scene = make("pan", (48, 64))
    frame = scene.frame(index)
    return frame if index < 6 else 255 - frame // 3


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "video").mkdir()
    return write_video(tmp_path / "video" / "a.mp4", 12, (48, 64), picture=two_shots)


def test_no_pair_crosses_a_cut(clip):
    pairs, shots = plan_pairs(clip, PairSettings(height_px=48, gaps=(1, 2, 4, 8), anchor_every=1))
    assert shots == 2
    assert {cur - prev for prev, cur in pairs} == {1, 2, 4}  # eight frames fit no shot
    assert all((prev < 6) == (cur < 6) for prev, cur in pairs)


def test_cached_arrays_hold_what_they_promise(clip, tmp_path):
    pairs = clip_pairs(clip, SETTINGS, tmp_path / "cache")
    count = len(pairs)
    assert count > 2
    assert pairs.frames.shape[1:] == (48, 64, 3)
    assert pairs.flow.shape == (count, 2, 48, 64)
    assert pairs.certainty.shape == (count, 48, 64)
    assert pairs.certainty.max() > 250


def test_second_run_reads_the_cache(clip, tmp_path):
    first = clip_pairs(clip, SETTINGS, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    stamp = (folder / "flow.npy").stat().st_mtime_ns
    again = clip_pairs(clip, SETTINGS, tmp_path / "cache")
    assert (folder / "flow.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.flow, again.flow)


def test_other_settings_get_a_cache_of_their_own(clip, tmp_path):
    clip_pairs(clip, SETTINGS, tmp_path / "cache")
    clip_pairs(clip, PairSettings(height_px=40, anchor_every=4), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_unreadable_clip_is_named_and_skipped(clip, tmp_path, caplog):
    (clip.parent / "broken.mp4").write_bytes(b"not a film")
    found = load_pairs(list_clips(clip.parent), SETTINGS, tmp_path / "cache")
    assert [pairs.name for pairs in found] == ["a"]
    assert "broken.mp4" in caplog.text


def test_held_out_clips_are_left_out(clip):
    write_video(clip.parent / "b.mp4")
    assert [path.stem for path in list_clips(clip.parent, holdout=["a"])] == ["b"]


def test_missing_and_empty_folders_name_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="data=synthetic"):
        list_clips(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no clips"):
        list_clips(tmp_path)
