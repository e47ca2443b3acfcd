"""L-BFGS as the authors run it, and Adam.

`torch.optim.LBFGS` is the same recurrence; it is written out here for its stopping tests (sums of
absolute values, not maxima), the relative test between iterations and the loss in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastvid.reference.objective import Losses

Evaluate = Callable[[Tensor], tuple[Losses, Tensor]]
OnIteration = Callable[[int, Tensor, Losses], None]

HISTORY = 100
MIN_GRADIENT = 1e-5  # sum |g|
MIN_CHANGE = 1e-9  # of the loss, of the sum of |step|, of the slope
MIN_CURVATURE = 1e-10
EARLY = 10  # iterations; a stop on an absolute test before is a failure (paper.md, P4)

LIMIT = "iteration limit"
RELATIVE = "relative change of the loss"
OPTIMAL = "gradient is zero"
SLOPE = "direction is not downhill"
STEP = "step below 1e-9"
LOSS = "loss changes by less than 1e-9"
ABSOLUTE = (SLOPE, STEP, LOSS)


@dataclass(frozen=True)
class StopRule:
    """When to stop.

    Attributes:
        max_iterations: at most so many.
        relative_tolerance: stop when the loss has changed by less than this share of itself since
            the last check; 0 = never.
        interval: iterations between checks; with 50 the earliest stop is iteration 100.
        absolute_tests: whether the absolute tests of the program hold at any iteration. If not,
            they hold before iteration `EARLY` only, where they reveal a run that does not start.
    """

    max_iterations: int
    relative_tolerance: float = 0.0
    interval: int = 50
    absolute_tests: bool = False


@dataclass
class Descent:
    """What an optimisation did.

    Attributes:
        pixels: the last image.
        history: losses at every evaluated image; the first is the start's. The last image of a
            run to the limit is not evaluated.
        num_iterations: steps taken.
        reason: why it stopped.
        first_step: mean absolute change of the first step, in grey levels, if it was imposed.
    """

    pixels: Tensor
    history: list[Losses] = field(default_factory=list)
    num_iterations: int = 0
    reason: str = LIMIT
    first_step: float | None = None

    @property
    def is_early(self) -> bool:
        """Whether it ended before it began (pitfall P4)."""
        return self.reason in ABSOLUTE and self.num_iterations < EARLY


class _Relative:
    """The relative test between iterations."""

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule
        self.past: float | None = None

    def __call__(self, iteration: int, loss: float) -> bool:
        if self.rule.relative_tolerance <= 0 or iteration % self.rule.interval:
            return False
        past, self.past = self.past, loss
        if past is None:
            return False
        # |f - f_past| / f_past < tolerance, without the division
        return abs(loss - past) < self.rule.relative_tolerance * past


def lbfgs(
    evaluate: Evaluate,
    start: Tensor,
    rule: StopRule,
    history_size: int = HISTORY,
    on_iteration: OnIteration | None = None,
    first_step: float | None = None,
) -> Descent:
    """Minimise by L-BFGS without a line search: step 1, the first one min(1, 1 / sum |g|).

    Liu and Nocedal 1989 as in torch7's optim.lbfgs with the changes of artistic-videos: a pair
    (s, y) is kept if y.s > 1e-10, the first Hessian is y.s / y.y of the latest pair. The limit on
    evaluations of the program, 1.25 times that on iterations, cannot bind and is left out.

    Args:
        evaluate: losses and gradient at an image.
        start: the first image, pixel space, (1, 3, H, W); not changed.
        rule: when to stop.
        history_size: pairs remembered.
        on_iteration: called after each step with the number, the image, and the losses *before*
            the step.
        first_step: mean absolute change of the first step in place of the rule above; the absolute
            tests are then off. For the retry of a run that did not start.
    """
    x = start.detach().clone(memory_format=torch.contiguous_format)
    result = Descent(x, first_step=first_step)
    if rule.max_iterations < 1:
        return result
    relative = _Relative(rule)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    curvatures: list[Tensor] = []
    scale: Tensor | float = 1.0
    losses, gradient = evaluate(x)
    result.history.append(losses)
    g = gradient.reshape(-1)
    step = previous = torch.empty(0)
    if float(g.abs().sum()) <= MIN_GRADIENT:
        result.reason = OPTIMAL
        return result
    for iteration in range(1, rule.max_iterations + 1):
        if iteration > 1:
            y = g - previous
            curvature = y.dot(step)
            if float(curvature) > MIN_CURVATURE:
                if len(steps) == history_size:
                    del steps[0], changes[0], curvatures[0]
                steps.append(step)
                changes.append(y)
                curvatures.append(curvature)
                scale = curvature / y.dot(y)
        direction = _direction(g, steps, changes, curvatures, scale)
        previous = g
        tests = first_step is None and (rule.absolute_tests or iteration < EARLY)
        if tests and float(g.dot(direction)) > -MIN_CHANGE:
            result.reason = SLOPE
            break
        length = 1.0
        if iteration == 1:
            total = float(g.abs().sum())
            length = min(1.0, 1.0 / total) if first_step is None else first_step * len(g) / total
        step = direction.mul_(length)
        x.view(-1).add_(step)
        result.num_iterations = iteration
        if on_iteration is not None:
            on_iteration(iteration, x, losses)
        if iteration == rule.max_iterations:
            break  # the image has moved, the loss is not evaluated again
        before = losses.total
        losses, gradient = evaluate(x)
        result.history.append(losses)
        g = gradient.reshape(-1)
        if float(g.abs().sum()) <= MIN_GRADIENT:
            result.reason = OPTIMAL
            break
        if tests and float(step.abs().sum()) <= MIN_CHANGE:
            result.reason = STEP
            break
        if tests and abs(losses.total - before) < MIN_CHANGE:
            result.reason = LOSS
            break
        if relative(iteration, losses.total):
            result.reason = RELATIVE
            break
    return result


def _direction(
    g: Tensor,
    steps: list[Tensor],
    changes: list[Tensor],
    curvatures: list[Tensor],
    scale: Tensor | float,
) -> Tensor:
    """-H g by the two-loop recursion; the coefficients stay on the device."""
    d = -g
    shares = []
    pairs = list(zip(steps, changes, curvatures, strict=True))
    for s, y, curvature in reversed(pairs):
        share = s.dot(d) / curvature
        d.addcmul_(y, share, value=-1)
        shares.append(share)
    d.mul_(scale)
    for (s, y, curvature), share in zip(pairs, reversed(shares), strict=True):
        d.addcmul_(s, share - y.dot(d) / curvature)
    return d


def adam(
    evaluate: Evaluate,
    start: Tensor,
    rule: StopRule,
    learning_rate: float = 10.0,
    on_iteration: OnIteration | None = None,
) -> Descent:
    """Minimise by Adam (0.9, 0.999, 1e-8); takes exactly `max_iterations` steps.

    Args:
        evaluate: losses and gradient at an image.
        start: the first image; not changed.
        rule: only its limit counts.
        learning_rate: in grey levels per step.
        on_iteration: see `lbfgs`.
    """
    x = start.detach().clone(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam([x], lr=learning_rate)
    result = Descent(x)
    for iteration in range(1, rule.max_iterations + 1):
        losses, x.grad = evaluate(x)
        result.history.append(losses)
        optimizer.step()
        result.num_iterations = iteration
        if on_iteration is not None:
            on_iteration(iteration, x, losses)
    return result
