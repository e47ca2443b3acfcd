import math

import numpy as np
import pytest
import torch
from metric_clips import SIZE, measure, pan, panning_clip, still, texture

from fastvid.evaluation.links import SourceLinks
from fastvid.evaluation.metrics import clip_scores


def test_whole_clip_equals_slicing_in_numpy():
    source = panning_clip()
    rng = np.random.default_rng(3)
    stylized = rng.integers(0, 256, source.shape, dtype=np.uint8)
    scores = measure(source, stylized, pan(2)).scores()
    for gap in (1, 4):
        mse = []
        for t in range(gap, len(source)):
            cur = stylized[t, :, : SIZE[1] - 2 * gap] / 255
            prev = stylized[t - gap, :, 2 * gap :] / 255
            mse.append(np.mean((cur - prev) ** 2))
        assert scores[f"e_warp_gap{gap}"] == pytest.approx(math.sqrt(np.mean(mse)), rel=1e-5)
        assert scores[f"pairs_gap{gap}"] == len(source) - gap
        assert scores[f"mask_coverage_gap{gap}"] == pytest.approx(1 - 2 * gap / SIZE[1])
    assert scores["e_stab_reconet"] == pytest.approx(scores["e_stab_huang"] * math.sqrt(3))
    assert scores["e_stab_huang"] == pytest.approx(
        scores["e_warp_gap1"] * math.sqrt(scores["mask_coverage_gap1"])
    )


def bilinear(image, x, y):
    """Look-up of (H, W, 3) at positions inside it, written out in numpy."""
    x0 = np.floor(x).astype(int).clip(0, image.shape[1] - 2)
    y0 = np.floor(y).astype(int).clip(0, image.shape[0] - 2)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = (1 - a) * image[y0, x0] + a * image[y0, x0 + 1]
    return (1 - b) * top + b * ((1 - a) * image[y0 + 1, x0] + a * image[y0 + 1, x0 + 1])


def test_every_figure_of_a_clip_equals_numpy_under_any_flow_and_mask():
    rng = np.random.default_rng(11)
    source, painted = (rng.integers(0, 256, (4, *SIZE, 3), dtype=np.uint8) for _ in range(2))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    motions = {}
    for cur in range(1, 4):
        for prev in range(cur):
            ends = rng.uniform(0, SIZE[1] - 1, SIZE), rng.uniform(0, SIZE[0] - 1, SIZE)
            motions[prev, cur] = (*ends, rng.random(SIZE))  # where to, and how sure

    def motion(prev_index, cur_index, _prev, _frame):
        to_x, to_y, certainty = motions[prev_index, cur_index]
        flow = torch.from_numpy(np.stack([to_x - x, to_y - y]))[None].float()
        return flow, torch.from_numpy(certainty)[None, None].float()

    scores = measure(source, painted, motion, gaps=(1, 2)).scores()
    luma = np.array([0.2126, 0.7152, 0.0722])
    for name, pairs in {
        "gap1": [(0, 1), (1, 2), (2, 3)],
        "gap2": [(0, 2), (1, 3)],
        "first": [(0, 1), (0, 2), (0, 3)],
    }.items():
        sums = {"output": 0.0, "source": 0.0, "luma": 0.0, "area": 0.0, "whole": 0.0}
        for prev, cur in pairs:
            to_x, to_y, certainty = motions[prev, cur]
            trusted = certainty > 0.5
            of_source, of_output = (
                clip[cur] / 255 - bilinear(clip[prev] / 255, to_x, to_y)
                for clip in (source, painted)
            )
            rest = of_output - (of_source @ luma)[..., None]
            sums["output"] += np.mean(of_output[trusted] ** 2) / len(pairs)
            sums["source"] += np.mean(of_source[trusted] ** 2) / len(pairs)
            sums["luma"] += np.mean(rest[trusted] ** 2) / len(pairs)
            sums["area"] += trusted.mean() / len(pairs)
            sums["whole"] += np.sum(of_output[trusted] ** 2) / trusted.size / len(pairs)
        output, own = math.sqrt(sums["output"]), math.sqrt(sums["source"])
        assert scores[f"e_warp_{name}"] == pytest.approx(output, rel=1e-4)
        assert scores[f"e_warp_source_{name}"] == pytest.approx(own, rel=1e-4)
        assert scores[f"stability_ratio_{name}"] == pytest.approx(output / (own + 0.001), rel=1e-4)
        assert scores[f"e_warp_luma_{name}"] == pytest.approx(math.sqrt(sums["luma"]), rel=1e-4)
        assert scores[f"mask_coverage_{name}"] == pytest.approx(sums["area"], rel=1e-6)
        if name == "gap1":
            assert scores["e_stab_reconet"] == pytest.approx(math.sqrt(sums["whole"]), rel=1e-4)
            assert scores["e_stab_huang"] == pytest.approx(math.sqrt(sums["whole"] / 3), rel=1e-4)
    spread = np.mean([(frame / 255).var(axis=(0, 1)).mean() for frame in painted])
    assert scores["output_std"] == pytest.approx(math.sqrt(spread), rel=1e-5)
    apart = np.mean((painted / 255 - source / 255) ** 2)
    assert scores["output_source_rmse"] == pytest.approx(math.sqrt(apart), rel=1e-5)


def test_the_first_frame_anchors_every_later_one():
    source = panning_clip()
    rng = np.random.default_rng(4)
    stylized = rng.integers(0, 256, source.shape, dtype=np.uint8)
    scores = measure(source, stylized, pan(2), gaps=(1,)).scores()
    mse = [
        np.mean((stylized[t, :, : SIZE[1] - 2 * t] / 255 - stylized[0, :, 2 * t :] / 255) ** 2)
        for t in range(1, len(source))
    ]
    assert scores["e_warp_first"] == pytest.approx(math.sqrt(np.mean(mse)), rel=1e-5)


def test_a_source_against_itself_has_ratio_one_but_for_the_floor():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 8, (6, *SIZE, 3))
    source = (panning_clip() + noise).clip(0, 255).astype(np.uint8)
    scores = measure(source, source, pan(2)).scores()
    for name in ("gap1", "gap4", "first"):
        error = scores[f"e_warp_{name}"]
        assert error == scores[f"e_warp_source_{name}"]
        assert scores[f"stability_ratio_{name}"] == pytest.approx(error / (error + 0.001))
    assert scores["stability_ratio_gap1"] > 0.97
    assert scores["not_stylized"] == "the output is the source"


@pytest.mark.parametrize("sigma", [4.0, 12.0])
def test_white_flicker_raises_e_warp_by_root_two_sigma(sigma):
    # Independent noise in both frames: the variance of their difference is 2 sigma^2.
    rng = np.random.default_rng(6)
    source = np.full((8, *SIZE, 3), 128, dtype=np.uint8)
    stylized = (source + rng.normal(0, sigma, source.shape)).round().astype(np.uint8)
    scores = measure(source, stylized, still).scores()
    rounding = 1 / 12  # variance of rounding to whole grey levels
    expected = math.sqrt(2 * (sigma**2 + rounding)) / 255
    for name in ("gap1", "gap4", "first"):
        assert scores[f"e_warp_{name}"] == pytest.approx(expected, rel=0.02)
    assert scores["stability_ratio_gap1"] == pytest.approx(expected / 0.001, rel=0.02)


def test_flicker_of_the_whole_frame_gives_its_own_step():
    source = np.full((4, *SIZE, 3), 100, dtype=np.uint8)
    stylized = source + np.array([0, 10, 0, 10], dtype=np.uint8)[:, None, None, None]
    scores = measure(source, stylized, still).scores()
    assert scores["e_warp_gap1"] == pytest.approx(10 / 255)


def test_following_the_source_brightness_is_no_error_after_luma_compensation():
    source = np.stack([texture() // 2 + 4 * t for t in range(4)]).astype(np.uint8)
    stylized = np.stack([255 - texture(seed=9) // 2 - 60 + 4 * t for t in range(4)])
    scores = measure(source, stylized.astype(np.uint8), still).scores()
    assert scores["e_warp_gap1"] == pytest.approx(4 / 255, rel=1e-4)
    assert scores["e_warp_luma_gap1"] == pytest.approx(0, abs=1e-6)


def test_distrusted_pixels_do_not_count():
    source = np.full((3, *SIZE, 3), 100, dtype=np.uint8)
    stylized = source.copy()
    stylized[1, :, :10] = 255  # an error only where the mask is 0

    def motion(prev_index, cur_index, prev, frame):
        flow, certainty = still(prev_index, cur_index, prev, frame)
        certainty[..., :10] = 0.5  # not above the threshold
        return flow, certainty

    scores = measure(source, stylized, motion).scores()
    assert scores["e_warp_gap1"] == pytest.approx(0, abs=1e-6)
    assert scores["mask_coverage_gap1"] == pytest.approx(1 - 10 / SIZE[1])


def test_a_pair_across_a_cut_is_left_out_and_counted():
    source = panning_clip(4, 0)
    stylized = source.copy()
    stylized[2:] = 255 - stylized[2:]

    def motion(prev_index, cur_index, prev, frame):
        flow, certainty = still(prev_index, cur_index, prev, frame)
        return flow, certainty * float((prev_index < 2) == (cur_index < 2))

    scores = measure(source, stylized, motion).scores()
    assert (scores["pairs_gap1"], scores["pairs_skipped_gap1"]) == (2, 1)
    assert scores["e_warp_gap1"] == pytest.approx(0, abs=1e-6)


def test_a_constant_output_is_perfectly_steady_and_flagged():
    source = panning_clip()
    scores = measure(source, np.full_like(source, 90), pan(2)).scores()
    assert scores["e_warp_gap1"] == pytest.approx(0, abs=1e-6)
    assert scores["stability_ratio_gap4"] == pytest.approx(0, abs=1e-5)
    assert "blank" in scores["not_stylized"]


def test_a_painted_clip_is_not_flagged():
    source = panning_clip()
    assert measure(source, 255 - source, pan(2)).scores()["not_stylized"] is None


def test_gaps_longer_than_the_clip_have_no_score():
    source = panning_clip(3)
    scores = measure(source, source, pan(2)).scores()
    assert scores["e_warp_gap10"] is None
    assert scores["stability_ratio_gap4"] is None
    assert scores["pairs_gap4"] == 0


def test_one_frame_has_no_stability():
    scores = clip_scores(panning_clip(1), panning_clip(1))
    assert scores["e_warp_gap1"] is None
    assert scores["e_stab_huang"] is None


def test_dis_flow_follows_a_pan():
    # Painting in colours that stick to the surface is steady, painting that sticks to the
    # screen is not: only flow from the source tells them apart.
    source = panning_clip(5, 3, seed=1)
    on_surface = 255 - source
    on_screen = np.broadcast_to(255 - source[0], source.shape).copy()
    moving = clip_scores(source, on_surface, gaps=(1,))
    sliding = clip_scores(source, on_screen, gaps=(1,))
    assert moving["flow_method"] == "dis"
    assert moving["mask_coverage_gap1"] > 0.5
    assert moving["stability_ratio_gap1"] == pytest.approx(
        moving["e_warp_source_gap1"] / (moving["e_warp_source_gap1"] + 0.001), rel=1e-3
    )
    assert sliding["e_warp_gap1"] > 3 * moving["e_warp_gap1"]


def test_the_worst_pair_shows_where_the_error_is():
    source = panning_clip(5, 0)
    stylized = source.copy()
    stylized[3, 8:12, 20:30] ^= 128
    worst = measure(source, stylized, still).stability.worst
    assert (worst.error.prev, worst.error.cur) == (2, 3)
    assert worst.error_map.shape == SIZE
    inside = worst.error_map[8:12, 20:30]
    np.testing.assert_allclose(inside, 128 / 255, rtol=1e-5)
    assert worst.error_map.sum() == pytest.approx(inside.sum(), rel=1e-4)
    np.testing.assert_array_equal(worst.cur, stylized[3])


def test_memory_is_bounded_by_the_gap():
    links = SourceLinks((1, 3), motion=still)
    found = [links.update(frame) for frame in panning_clip(9, 0)]
    assert len(links._recent) == 3
    gap3 = [(link.prev, link.cur) for each in found for link in each if "gap3" in link.names]
    assert gap3 == [(t - 3, t) for t in range(3, 9)]
    assert [link.prev for each in found for link in each if "first" in link.names] == [0] * 8


def test_a_distance_that_is_a_gap_and_the_first_frame_is_followed_once():
    asked = []

    def motion(prev_index, cur_index, prev, frame):
        asked.append((prev_index, cur_index))
        return still(prev_index, cur_index, prev, frame)

    scores = measure(panning_clip(3, 0), panning_clip(3, 0), motion, gaps=(1, 2)).scores()
    assert sorted(asked) == [(0, 1), (0, 2), (1, 2)]
    assert (scores["pairs_gap2"], scores["pairs_first"]) == (1, 2)


def test_different_counts_are_refused():
    with pytest.raises(ValueError, match="source clip goes on after the other's 3 frames"):
        clip_scores(panning_clip(4), panning_clip(3))


def test_different_sizes_are_refused():
    with pytest.raises(ValueError, match="stylized frame 0 is 54x40, expected 56x40"):
        clip_scores(panning_clip(2), panning_clip(2)[:, :, 2:])


def test_float_frames_are_refused():
    with pytest.raises(ValueError, match="expected uint8"):
        clip_scores(panning_clip(2) / 255, panning_clip(2))


def test_no_frames_and_no_gaps_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        clip_scores([], [])
    with pytest.raises(ValueError, match="distances of 1 or more"):
        clip_scores(panning_clip(2), panning_clip(2), gaps=(0,))
