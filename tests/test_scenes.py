import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fastvid.motion import scenes
from fastvid.motion.flow import estimate
from fastvid.motion.scenes import CAMERAS, NAMES, Scene, demo_frames, make, random_scene
from fastvid.motion.warp import warp

SIZE = (90, 160)


def to_tensor(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, np.float32)).permute(2, 0, 1)[None]


def residual(scene: Scene, t: int, gap: int = 1) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Grey levels between frame t and its warped predecessor, and the mask that goes with it."""
    warped = warp(to_tensor(scene.frame(t - gap)), to_tensor(scene.flow_bwd(t, gap)))
    difference = (warped - to_tensor(scene.frame(t))).abs().mean(1)[0].numpy()
    return difference, scene.visible(t, gap)


def test_frames_flow_and_mask_have_their_shapes() -> None:
    scene = Scene(1, SIZE)
    assert scene.frame(0).shape == (90, 160, 3)
    assert scene.frame(0).dtype == np.uint8
    assert scene.flow_bwd(0).shape == (90, 160, 2)
    assert scene.flow_bwd(0).dtype == np.float32
    assert scene.visible(0).shape == (90, 160)
    assert scene.visible(0).dtype == np.bool_


def test_the_same_seed_gives_the_same_clip_in_any_order() -> None:
    first, second = (Scene(4, SIZE, noise_std=3.0) for _ in range(2))
    forth = [first.frame(t) for t in (0, 1, 7)]
    back = [second.frame(t) for t in (7, 1, 0)][::-1]
    np.testing.assert_array_equal(forth, back)
    assert (Scene(5, SIZE).frame(0) != Scene(4, SIZE).frame(0)).mean() > 0.5


def test_frame_numbers_may_be_negative() -> None:
    scene = Scene(4, SIZE, noise_std=3.0)
    assert scene.frame(-3).mean() > 10
    assert np.isfinite(scene.flow_bwd(-3)).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lighting", "noise")])
@pytest.mark.parametrize("gap", [1, 4])
def test_warping_along_the_flow_gives_the_frame_where_visible(name: str, gap: int) -> None:
    difference, visible = residual(make(name, SIZE), 20, gap)
    assert visible.mean() > 0.5
    # Bilinear interpolation of fine texture costs grey levels, at this size more than at 360 rows.
    assert difference[visible].mean() < 3.5
    if name != "static":
        assert difference[~visible].mean() > 1.5 * difference[visible].mean()


@pytest.mark.parametrize("kind", scenes.KINDS)
def test_a_still_pixel_under_a_static_camera_does_not_change(kind: str) -> None:
    scene = Scene(3, SIZE, kind=kind, camera="static")
    flow, visible = scene.flow_bwd(9), scene.visible(9)
    still = visible & (np.abs(flow).max(axis=2) == 0)
    assert still.mean() > 0.3
    change = np.abs(scene.frame(9)[still].astype(int) - scene.frame(8)[still])
    # A pixel is solid with up to 5 % of a layer that moves.
    assert (change == 0).mean() > 0.99
    assert change.max() <= 0.05 * 255 + 1


def test_a_pan_leaves_a_strip_that_was_out_of_the_frame() -> None:
    scene = make("pan", SIZE)
    # Around t = 0 the camera pans right: new things enter at the right edge.
    assert np.median(scene.flow_bwd(4, 4)[..., 0]) > 0
    near = scene.visible(4, 4)[70:]
    assert not near[:, -1].any()
    assert near[:, 5].mean() > 0.9


def test_flows_over_two_frames_add_up() -> None:
    scene = Scene(6, SIZE, kind="collage", camera="drift")
    there, further = scene.flow_bwd(12, 1), scene.flow_bwd(11, 1)
    chained = to_tensor(there) + warp(to_tensor(further), to_tensor(there))
    difference = (chained - to_tensor(scene.flow_bwd(12, 2))).norm(dim=1)[0].numpy()
    assert difference[scene.visible(12, 1)].max() < 0.02


def test_a_gap_of_zero_is_the_frame_itself() -> None:
    scene = make("demo", SIZE)
    assert np.abs(scene.flow_bwd(5, 0)).max() < 1e-4
    assert scene.visible(5, 0).mean() > 0.7  # all but the soft edges and their neighbours


def test_an_independent_estimator_agrees() -> None:
    scene = Scene(2, (180, 320), kind="collage", camera="pan")
    prev, cur = (to_tensor(scene.frame(t)) / 255 for t in (0, 1))
    difference = (estimate(prev, cur, "dis") - to_tensor(scene.flow_bwd(1))).norm(dim=1)[0]
    assert float(difference[torch.from_numpy(scene.visible(1))].median()) < 0.2
    assert np.abs(scene.flow_bwd(1)).max() > 0.5


def test_the_layout_does_not_depend_on_the_size() -> None:
    small, large = Scene(8, (60, 106)).frame(0), Scene(8, (180, 318)).frame(0)
    shrunk = large.reshape(60, 3, 106, 3, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 0.35 * np.abs(shrunk - shrunk.mean((0, 1))).mean()


@pytest.mark.parametrize("camera", CAMERAS)
def test_no_camera_looks_behind_the_scenery(camera: str) -> None:
    for kind in scenes.KINDS:
        scene = Scene(9, (54, 96), kind=kind, camera=camera, complete=False)
        for t in range(0, 420, 35):
            assert scene._render(t).color.sum(axis=1).min() > 3


def test_lighting_changes_frames_and_not_the_motion() -> None:
    lit, plain = Scene(5, SIZE, lighting=0.3), Scene(5, SIZE)
    assert lit.frame(25).mean() > 1.15 * plain.frame(25).mean()
    assert lit.frame(75).mean() < 0.85 * plain.frame(75).mean()
    np.testing.assert_array_equal(lit.flow_bwd(25), plain.flow_bwd(25))


def test_noise_has_the_given_deviation_and_is_new_in_every_frame() -> None:
    noisy, plain = (Scene(5, SIZE, camera="static", noise_std=std) for std in (4.0, 0.0))
    grain = [noisy.frame(t).astype(float) - plain.frame(t) for t in (0, 1)]
    middle = (plain.frame(0) > 30) & (plain.frame(0) < 225)
    assert grain[0][middle].std() == pytest.approx(4.0, rel=0.05)
    assert abs(np.corrcoef(grain[0][middle], grain[1][middle])[0, 1]) < 0.05


@pytest.mark.parametrize("size", [(16, 16), (17, 90), (120, 33)])
def test_any_size_from_16(size: tuple[int, int]) -> None:
    scene = Scene(1, size)
    assert scene.frame(0).shape == (*size, 3)
    assert scene.visible(0).shape == size


def test_random_scenes_differ_and_follow_their_generator() -> None:
    frames = [random_scene(np.random.default_rng(seed), (48, 48)).frame(0) for seed in (1, 1, 2, 3)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert (frames[1] != frames[2]).mean() > 0.5
    assert (frames[2] != frames[3]).mean() > 0.5


def test_the_demo_moves() -> None:
    frames = list(demo_frames(3, SIZE))
    assert len(frames) == 3
    assert (frames[0] != frames[2]).mean() > 0.2


def test_unknown_names_are_answered_with_the_choices() -> None:
    with pytest.raises(ValueError, match="'sea' is not one of demo, static"):
        make("sea")
    with pytest.raises(ValueError, match="camera 'crane' is not one of static, pan"):
        Scene(camera="crane")
    with pytest.raises(ValueError, match="at least 16x16 pixels, found 8x99"):
        Scene(size=(8, 99))


def test_scenes_need_numpy_alone() -> None:
    code = (
        "import sys, fastvid.motion.scenes as s; s.make('demo', (32, 48)).visible(1); "
        "print(sorted({'torch', 'cv2', 'av'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
