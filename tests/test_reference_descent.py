import logging

import pytest
import torch
from reference_nets import tiny_vgg
from torch import Tensor

from fastvid.perceptual.losses import gram_matrices
from fastvid.reference import descent
from fastvid.reference.descent import StopRule, adam, lbfgs
from fastvid.reference.image import Painted, Recipe, noise, paint_image, with_colors_of
from fastvid.reference.mode import MODES
from fastvid.reference.objective import Anchor, Losses, Weights

SIZE = (1, 3, 4, 5)


def bowl(x: Tensor, scale: float = 1.0) -> tuple[Losses, Tensor]:
    """A quartic with its minimum at 1, its loss in float32 as a network's is."""
    weights = torch.linspace(0.5, 3, x.numel()).view_as(x) * scale
    d = x - 1
    value = float((weights * (d.square() / 2 + d**4 / 40)).sum())
    return Losses(value, 0.0, 0.0, value), weights * (d + d**3 / 10)


def start() -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(1))


def test_lbfgs_takes_the_steps_of_torch() -> None:
    x = start().requires_grad_()
    other = torch.optim.LBFGS([x], lr=1, max_iter=12, history_size=5, line_search_fn=None)

    def closure() -> float:
        losses, x.grad = bowl(x.detach())
        return losses.total

    other.step(closure)  # type: ignore[arg-type]
    result = lbfgs(bowl, start(), StopRule(12), history_size=5)
    torch.testing.assert_close(result.pixels, x.detach(), rtol=1e-4, atol=1e-5)
    assert result.num_iterations == 12


def test_first_step_has_an_l1_norm_of_one() -> None:
    result = lbfgs(bowl, start(), StopRule(1))
    assert float((result.pixels - start()).abs().sum()) == pytest.approx(1, rel=1e-5)
    assert result.reason == descent.LIMIT
    assert len(result.history) == 1  # the last image is not evaluated


def test_start_is_not_changed_and_no_iteration_means_no_evaluation() -> None:
    x = start()
    result = lbfgs(bowl, x, StopRule(0))
    assert torch.equal(result.pixels, x)
    assert result.history == []
    lbfgs(bowl, x, StopRule(3))
    assert torch.equal(x, start())


def test_relative_test_needs_two_checks() -> None:
    result = lbfgs(bowl, start(), StopRule(200, relative_tolerance=10.0, interval=5))
    assert result.num_iterations == 10
    assert result.reason == descent.RELATIVE


def test_zero_gradient_stops_at_once() -> None:
    result = lbfgs(bowl, torch.ones(SIZE), StopRule(50))
    assert result.num_iterations == 0
    assert result.reason == descent.OPTIMAL
    assert not result.is_early


class Plateau:
    """Losses that stand still from the 16th evaluation on, though the gradient does not end."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, x: Tensor) -> tuple[Losses, Tensor]:
        self.num_calls += 1
        losses, gradient = bowl(x, 1e3)
        value = 7.0 if self.num_calls > 15 else losses.total + 8.0
        return Losses(value, 0.0, 0.0, value), gradient + 1.0 / self.num_calls


def test_absolute_tests_hold_late_in_the_original_mode_only() -> None:
    assert lbfgs(Plateau(), start(), StopRule(30, absolute_tests=True)).reason == descent.LOSS
    assert lbfgs(Plateau(), start(), StopRule(30)).reason == descent.LIMIT


def test_adam_takes_every_step_and_comes_down() -> None:
    result = adam(bowl, start(), StopRule(40, relative_tolerance=10.0, interval=5), 0.1)
    assert result.num_iterations == 40
    assert bowl(result.pixels)[0].total < 0.1 * result.history[0].total


def test_callback_sees_every_iteration() -> None:
    seen: list[int] = []
    lbfgs(bowl, start(), StopRule(4), on_iteration=lambda number, x, losses: seen.append(number))
    assert seen == [1, 2, 3, 4]


def recipe(**changes: object) -> Recipe:
    options: dict[str, object] = {
        "mode": MODES["paper"],
        "weights": Weights(tv=0),
        "content_layers": ["relu2_1"],
    }
    return Recipe(**(options | changes))  # type: ignore[arg-type]


def paint(recipe: Recipe, num_iterations: int = 15) -> Painted:
    vgg = tiny_vgg(["relu1_1", "relu2_1"])
    mode = recipe.mode
    frame, painting = (
        torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )
    grams = gram_matrices(vgg(mode.vgg_input(mode.encode(painting))))
    return paint_image(vgg, recipe, mode.encode(frame), grams, mode.encode(frame), num_iterations)


def test_painting_lowers_the_loss_and_says_before_and_after() -> None:
    painted = paint(recipe())
    assert painted.after.total < painted.before.total
    assert painted.num_iterations == 15
    assert painted.before == painted.history[0]
    record = painted.as_dict()
    assert set(record["before"]) == {"content", "style", "temporal", "total"}
    assert len(record["history"]["total"]) == 15


def test_no_iteration_evaluates_the_start() -> None:
    painted = paint(recipe(), num_iterations=0)
    assert painted.before == painted.after
    assert painted.before.style > 0


def paint_large(mode: str, retry: bool) -> Painted:
    """Half a million values, each 100 grey levels off: the first step vanishes in float32 (P4)."""
    options = recipe(
        mode=MODES[mode], weights=Weights(content=0, style=0, tv=0), retry_early_stop=retry
    )
    frame = torch.full((1, 3, 400, 500), 100.0)
    anchor = Anchor(torch.full_like(frame, -100.0), torch.ones(1, 1, 400, 500))
    vgg = tiny_vgg(["relu1_1"])
    return paint_image(vgg, options, frame, {}, frame, 12, [anchor])


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_stop_before_ten_iterations_is_explained_and_retried(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        painted = paint_large(mode, retry=True)
    assert painted.retried
    assert "stopped after 1 iterations" in caplog.text
    assert "repeated with a first step of 1 grey level" in caplog.text
    assert painted.after.total < 0.01 * painted.before.total


def test_original_program_can_be_had_without_the_retry(caplog: pytest.LogCaptureFixture) -> None:
    painted = paint_large("original", retry=False)
    assert painted.num_iterations < 10
    assert painted.reason in descent.ABSOLUTE
    assert "lower the weights" in caplog.text


def test_picture_that_runs_away_is_refused() -> None:
    frame = torch.full((1, 3, 8, 8), float("inf"))
    options = recipe(weights=Weights(content=0, style=0, tv=0))
    anchor = Anchor(torch.zeros_like(frame), torch.ones(1, 1, 8, 8))
    with pytest.raises(RuntimeError, match=r"after 0 iterations: .* not finite .* optimizer=adam"):
        paint_image(tiny_vgg(["relu1_1"]), options, frame, {}, frame, 0, [anchor])


def test_texture_and_content_alone_need_no_other_term() -> None:
    texture = paint(recipe(weights=Weights(content=0, tv=0)))
    content = paint(recipe(weights=Weights(style=0, tv=0)))
    assert texture.before.content == 0
    assert texture.after.style < texture.before.style
    assert content.before.total == 0  # it starts from the frame itself
    assert content.reason == descent.OPTIMAL


def test_noise_is_the_same_for_a_seed_and_nearly_the_mean_color() -> None:
    device = torch.device("cpu")
    assert torch.equal(noise((8, 9), 3, device), noise((8, 9), 3, device))
    assert not torch.equal(noise((8, 9), -1, device), noise((8, 9), -1, device))
    assert float(noise((80, 90), 3, device).std()) == pytest.approx(0.001, rel=0.05)


def test_original_colors_keep_the_luma_of_the_result() -> None:
    image, frame = (torch.rand(1, 3, 5, 6) for _ in range(2))
    mixed = with_colors_of(image, frame)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((mixed * luma).sum(1), (image * luma).sum(1))
    torch.testing.assert_close(mixed[:, 0] - mixed[:, 2], frame[:, 0] - frame[:, 2])


def test_unknown_optimizer_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="lbfgs, adam"):
        recipe(optimizer="sgd")
