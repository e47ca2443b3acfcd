from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_nets import tiny_vgg
from torch import Tensor

from fastvid.image import to_tensor, write_image
from fastvid.motion.warp import warp
from fastvid.reference.flows import Lookahead, Motion
from fastvid.reference.footage import Stills
from fastvid.reference.image import Recipe
from fastvid.reference.methods import BlendPrevious, BlendWarped, Independent, Method, Ruder
from fastvid.reference.mode import MODES
from fastvid.reference.multi_pass import Passes, blend, flow_pairs, paint_multi_pass
from fastvid.reference.objective import Weights
from fastvid.reference.paintings import load_painting
from fastvid.reference.schedule import constant
from fastvid.reference.single_pass import paint_single_pass
from fastvid.reference.state import State
from fastvid.reference.studio import Studio

SIZE = (20, 28)
STEP = 2  # pixels that the picture moves per frame
LAYERS = ["relu1_1", "relu2_1"]


class Pan:
    """Exact motion of a camera that moves by whole pixels."""

    def motion(self, current: int, other: int) -> Motion:
        flow = torch.zeros(1, 2, *SIZE)
        flow[:, 0] = STEP * (current - other)
        x = torch.arange(SIZE[1]) + STEP * (current - other)
        seen = ((x >= 0) & (x <= SIZE[1] - 1)).float()
        return Motion(flow, seen.expand(1, 1, *SIZE).contiguous())

    def check(self, pairs: object) -> None:
        """Nothing can be missing."""


def film(folder: Path, num_frames: int) -> Stills:
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 256, (SIZE[0], SIZE[1] + STEP * num_frames, 3), dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    for k in range(num_frames):
        write_image(folder / f"{k + 1}.png", wide[:, STEP * k : STEP * k + SIZE[1]])
    return Stills(folder / "%d.png")


def studio(folder: Path, num_frames: int = 3, mode: str = "paper", **weights: float) -> Studio:
    vgg, chosen = tiny_vgg(LAYERS), MODES[mode]
    painting = folder / "painting.png"
    write_image(painting, np.random.default_rng(9).integers(0, 256, (20, 28, 3), dtype=np.uint8))
    recipe = Recipe(chosen, Weights(**({"tv": 0.0} | weights)), ["relu2_1"])
    return Studio(
        vgg,
        recipe,
        film(folder / "frames", num_frames),
        [load_painting(painting, vgg, LAYERS, chosen, SIZE)],
        constant([1.0]),
        State(folder / "state", {"test": 1}),
        torch.device("cpu"),
    )


def single(
    studio: Studio, method: Method | None = None, iterations: tuple[int, int] = (6, 4)
) -> list[Tensor]:
    flows = Lookahead(Pan())
    first = Independent(studio.recipe.mode, "image")
    try:
        paint_single_pass(studio, method or Ruder(first), flows, iterations)
    finally:
        flows.close()
    return [studio.result(1, index) for index in range(studio.num_frames)]


def multi(studio: Studio, passes: Passes, iterations: int = 3) -> None:
    studio.num_passes = passes.num_passes
    flows = Lookahead(Pan())
    try:
        paint_multi_pass(studio, passes, flows, iterations)
    finally:
        flows.close()


def test_unpainted_second_frame_has_the_temporal_loss_of_the_formula(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    mode = bench.recipe.mode
    single(bench, Ruder(Independent(mode, "image"), init="image"), (0, 0))
    first, second = (to_tensor(bench.footage.image(k)) for k in (0, 1))
    motion = Pan().motion(1, 0)
    difference = 255 * (second - warp(first, motion.flow))
    wanted = 1000 * float((motion.certainty * difference.square()).mean())
    record = bench.state.record(1, 2)
    assert record["before"]["temporal"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert record["before"] == record["after"]
    assert bench.state.record(1, 1)["before"]["temporal"] == 0


def test_warped_start_fills_what_came_into_view_with_the_mean_color(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    mode = bench.recipe.mode
    results = single(bench, Ruder(Independent(mode, "image")), (3, 0))
    wanted = warp(results[0], Pan().motion(1, 0).flow)
    torch.testing.assert_close(results[1][..., :-STEP], wanted[..., :-STEP])
    mean = mode.mean_color(wanted).expand(1, 3, SIZE[0], STEP)
    torch.testing.assert_close(results[1][..., -STEP:], mean)


def test_temporal_loss_holds_a_frame_to_the_one_before(tmp_path: Path) -> None:
    def drift(name: str, weight: float) -> float:
        folder = tmp_path / name
        folder.mkdir()
        bench = studio(folder, temporal=weight)
        method = Ruder(Independent(bench.recipe.mode, "image"), init="image")
        first, second, _ = single(bench, method, (12, 12))
        seen = warp(first, Pan().motion(1, 0).flow)
        return float((second - seen)[..., :-STEP].square().mean())

    assert drift("strong", 1e8) < 0.3 * drift("weak", 1.0)


@pytest.mark.parametrize("init", ["random", "image", "prev", "prevWarped", "first"])
def test_every_initialisation_starts_where_it_says(tmp_path: Path, init: str) -> None:
    bench = studio(tmp_path)
    mode = bench.recipe.mode
    results = single(bench, Ruder(Independent(mode, "random"), init=init), (2, 0))
    starts = {
        "image": to_tensor(bench.footage.image(2)),
        "prev": results[1],
        "first": results[0],
        "random": mode.mean_color(results[0]).expand(1, 3, *SIZE),
        "prevWarped": warp(results[1], Pan().motion(2, 1).flow),
    }
    inner = (..., slice(None, -STEP)) if init == "prevWarped" else ...
    torch.testing.assert_close(results[2][inner], starts[init][inner], rtol=1e-4, atol=1e-4)


def test_long_term_loss_looks_at_several_frames(tmp_path: Path) -> None:
    bench = studio(tmp_path, num_frames=4)
    first = Independent(bench.recipe.mode, "image")
    method = Ruder(first, init="image", distances=(1, 2), every=3)
    assert [method.needs(k) for k in range(4)] == [[], [0], [1, 0], [2, 1, 0]]
    single(bench, method, (2, 0))
    # Exact motion and certainty 1: the second earlier frame counts only where the first does not.
    plan_loss = bench.state.record(1, 4)["before"]["temporal"]
    assert plan_loss > 0


def test_methods_before_it_blend_as_they_say(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    first = Independent(bench.recipe.mode, "image")
    frame = to_tensor(bench.footage.image(1))
    results = single(bench, BlendPrevious(first, 0.25), (3, 0))
    torch.testing.assert_close(results[1], torch.lerp(frame, results[0], 0.25))
    bench.state.forget(1, 2)
    single(bench, BlendWarped(first, 0.25), (3, 0))
    warped = warp(results[0], Pan().motion(1, 0).flow)
    torch.testing.assert_close(bench.result(1, 1), torch.lerp(frame, warped, 0.25))
    bench.state.forget(1, 2)
    single(bench, first, (3, 0))
    torch.testing.assert_close(bench.result(1, 1), frame)


def interrupt_after(count: int) -> Callable[[], None]:
    left = [count]

    def on_frame() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return on_frame


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_killed_single_pass_continues_to_the_same_result(tmp_path: Path, mode: str) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = single(studio(tmp_path / "whole", mode=mode))
    killed = replace(studio(tmp_path / "killed", mode=mode), on_frame=interrupt_after(2))
    with pytest.raises(KeyboardInterrupt):
        single(killed)
    assert killed.is_done(1, 1)
    assert not killed.is_done(1, 2)
    continued = single(studio(tmp_path / "killed", mode=mode))
    for a, b in zip(whole, continued, strict=True):
        assert torch.equal(a, b)


def test_killed_multi_pass_continues_to_the_same_result(tmp_path: Path) -> None:
    passes = Passes(MODES["paper"], num_passes=3, init="image", temporal_from_pass=2)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = studio(tmp_path / "whole"), studio(tmp_path / "killed")
    multi(whole, passes)
    with pytest.raises(KeyboardInterrupt):
        multi(replace(killed, on_frame=interrupt_after(5)), passes)
    multi(killed, passes)
    for index in range(3):
        assert torch.equal(whole.result(3, index), killed.result(3, index))


def test_state_of_other_settings_is_not_continued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = State(tmp_path / "s", {"weight": 1})
    state.save(1, 1, torch.zeros(1, 3, 2, 2), {"frame": 1})
    assert State(tmp_path / "s", {"weight": 1}).has(1, 1)
    assert not State(tmp_path / "s", {"weight": 2}).has(1, 1)
    assert "starting anew" in caplog.text


def test_passes_alternate_and_look_at_the_neighbor_in_their_direction() -> None:
    passes = Passes(MODES["paper"], num_passes=4, temporal_from_pass=3)
    assert list(passes.order(1, 3)) == [0, 1, 2]
    assert list(passes.order(2, 3)) == [2, 1, 0]
    assert passes.looks_at(1, 1, 3) == []
    assert passes.looks_at(2, 1, 3) == [2]
    assert passes.looks_at(2, 2, 3) == []
    assert passes.looks_at(3, 1, 3) == [0]
    both = replace(passes, blend_weight_last_pass=0.5)
    assert sorted(both.looks_at(2, 1, 3)) == [0, 2]
    loss_only = replace(passes, blend_weight=0.0)
    assert loss_only.looks_at(2, 1, 3) == []
    assert loss_only.looks_at(3, 1, 3) == [0]
    assert set(flow_pairs(passes, 3)) == {(1, 2), (0, 1), (1, 0), (2, 1)}


def test_blend_is_half_and_half_where_certain_and_the_frame_where_not() -> None:
    own, other = torch.full((1, 3, 1, 2), 0.2), torch.full((1, 3, 1, 2), 0.8)
    certainty = torch.tensor([[[[1.0, 0.0]]]])
    mixed = blend(own, [(1.0, other, certainty)])
    torch.testing.assert_close(mixed[0, 0], torch.tensor([[0.5, 0.2]]))
    weighted = blend(own, [(1.0, other, certainty), (0.5, own, certainty)])
    assert float(weighted[0, 0, 0, 0]) == pytest.approx((0.2 + 0.8 + 0.1) / 2.5)


def test_multi_pass_starts_from_the_blend_and_adds_the_loss_late(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    passes = Passes(MODES["paper"], num_passes=3, init="image", temporal_from_pass=3)
    multi(bench, passes, iterations=0)
    # Backward: frame 3 stays, frame 2 is mixed with frame 3 of this pass, seen from frame 2.
    second, third = (to_tensor(bench.footage.image(k)) for k in (1, 2))
    motion = Pan().motion(1, 2)
    wanted = blend(second, [(1.0, warp(third, motion.flow), motion.certainty)])
    torch.testing.assert_close(bench.result(2, 1), wanted)
    assert bench.state.record(2, 2)["before"]["temporal"] == 0
    assert bench.state.record(3, 2)["before"]["temporal"] > 0
    assert bench.state.record(3, 1)["before"]["temporal"] == 0  # nothing before it
    assert [r["pass"] for r in bench.state.records()] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_first_pass_of_multi_pass_shares_one_noise(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    multi(bench, Passes(MODES["paper"], num_passes=1, seed=4), iterations=0)
    assert torch.equal(bench.result(1, 0), bench.result(1, 2))


def test_first_pass_of_multi_pass_can_start_warped(tmp_path: Path) -> None:
    bench = studio(tmp_path)
    multi(bench, Passes(MODES["paper"], num_passes=1, init="prevWarped", seed=4), iterations=0)
    assert bench.is_done(1, 2)
