import pytest
import torch

from fastvid.motion.synthetic import Amplitude, MotionPair, random_motion
from fastvid.motion.warp import inside, warp

STILL_CAMERA = Amplitude(still_share=1.0)
NO_OBJECTS = Amplitude(max_objects=0, still_share=0.0)


def picture(size: tuple[int, int], seed: int, batch: int = 1) -> torch.Tensor:
    """Blurred noise: structure everywhere, no two places alike."""
    noise = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, 1, 1)


def pair_of(seed: int, amplitude: Amplitude | None = None) -> MotionPair:
    return random_motion(
        picture((120, 150), 100),
        torch.Generator().manual_seed(seed),
        size=(80, 100),
        other=1 - 0.5 * picture((90, 110), 200),
        amplitude=amplitude,
    )


def error(pair: MotionPair) -> torch.Tensor:
    difference = warp(pair.prev, pair.flow_bwd) - pair.cur
    return difference.abs().amax(dim=1, keepdim=True)


def test_shapes_and_ranges() -> None:
    pair = random_motion(picture((70, 90), 0, batch=3), torch.Generator().manual_seed(0), (64, 80))
    assert pair.prev.shape == pair.cur.shape == (3, 3, 64, 80)
    assert pair.flow_bwd.shape == (3, 2, 64, 80)
    assert pair.certainty.shape == (3, 1, 64, 80)
    assert set(pair.certainty.unique().tolist()) <= {0.0, 1.0}
    for frame in (pair.prev, pair.cur):
        assert frame.min() >= 0
        assert frame.max() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_warped_prev_equals_cur_where_certain(seed: int) -> None:
    pair = pair_of(seed)
    certain = pair.certainty > 0
    assert 0.3 < certain.float().mean() < 1
    # Up to 2 % of another layer at the edge of an object, in each of the two frames.
    assert error(pair)[certain].max() < 0.04
    assert error(pair)[certain].mean() < 1e-3


def test_certainty_of_a_pure_camera_motion_is_what_stays_in_the_frame() -> None:
    for seed in range(6):
        pair = pair_of(seed, NO_OBJECTS)
        assert torch.equal(pair.certainty > 0, inside(pair.flow_bwd))
        assert error(pair)[pair.certainty > 0].max() < 1e-4


def test_objects_uncover_background_that_is_not_certain() -> None:
    uncovered = 0
    for seed in range(8):
        pair = pair_of(seed, STILL_CAMERA)
        # Under a still camera what changed although its flow is 0 was uncovered.
        still = (pair.flow_bwd == 0).all(dim=1, keepdim=True)
        changed = still & ((pair.prev - pair.cur).abs().amax(dim=1, keepdim=True) > 0.05)
        assert pair.certainty[changed].sum() == 0
        uncovered += int(changed.sum())
        # And the rest of the ground is certain, but for the edges.
        assert pair.certainty[still & ~changed].mean() > 0.9
    assert uncovered > 200


def test_distrusted_pixels_inside_the_frame_do_differ() -> None:
    wrong, right = [], []
    for seed in range(8):
        pair = pair_of(seed, STILL_CAMERA)
        distrusted = (pair.certainty == 0) & inside(pair.flow_bwd)
        wrong.append(error(pair)[distrusted])
        right.append(error(pair)[pair.certainty > 0])
    assert torch.cat(wrong).mean() > 50 * torch.cat(right).mean()


def test_new_content_at_the_border_comes_from_the_still() -> None:
    amplitude = Amplitude(20.0, zoom=0, rotation=0, smooth_px=0, max_objects=0, still_share=0)
    ramp = torch.linspace(0, 1, 160).expand(1, 3, 120, 160)
    for seed in range(6):
        pair = random_motion(ramp, torch.Generator().manual_seed(seed), (60, 80), None, amplitude)
        # The still is a ramp, so it goes on rising until the crop meets its border.
        rise = pair.cur[..., 1:] - pair.cur[..., :-1]
        assert (rise > 0).float().mean() > 0.85


def test_the_same_state_gives_the_same_pair() -> None:
    for one, two in zip(pair_of(3), pair_of(3), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(pair_of(3).cur, pair_of(4).cur)


def test_items_of_a_batch_move_on_their_own() -> None:
    flow = random_motion(picture((64, 64), 1, batch=4), torch.Generator().manual_seed(5)).flow_bwd
    assert len({tuple(item[:, 5, 5].tolist()) for item in flow}) > 1


def test_motion_stays_within_the_amplitude() -> None:
    amplitude = Amplitude(shift_px=4, zoom=0, rotation=0, smooth_px=0, object_shift_px=6)
    for seed in range(10):
        assert pair_of(seed, amplitude).flow_bwd.abs().max() <= 6 + 1e-3


def test_the_callers_pictures_are_left_alone() -> None:
    still, other = picture((64, 64), 1), picture((64, 64), 2)
    before = still.clone(), other.clone()
    random_motion(still, torch.Generator().manual_seed(0), other=other)
    assert torch.equal(still, before[0])
    assert torch.equal(other, before[1])


def test_small_stills_work_and_wrong_ones_are_named() -> None:
    pair = random_motion(picture((16, 16), 0), torch.Generator().manual_seed(1))
    assert pair.cur.isfinite().all()
    with pytest.raises(ValueError, match="the still is 32x40, smaller than the frames 64x40"):
        random_motion(picture((32, 40), 0), size=(64, 40))
    with pytest.raises(ValueError, match=r"expected image \(1, 3, h, w\), found \(1, 1, 8, 8\)"):
        random_motion(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"expected other \(2, 3, h, w\)"):
        random_motion(picture((16, 16), 0, batch=2), other=picture((16, 16), 0))
