"""One picture optimised: content, style and, where there are earlier frames, the temporal loss."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.descent import (
    EARLY,
    HISTORY,
    Descent,
    OnIteration,
    StopRule,
    adam,
    lbfgs,
)
from fastvid.reference.mode import Mode
from fastvid.reference.objective import Anchor, Losses, Objective, Weights

log = logging.getLogger(__name__)

NOISE_STD = 0.001  # in pixel space: nearly the mean colour
LUMA_BT601 = (0.299, 0.587, 0.114)
RETRY_STEP = 1.0  # grey levels that a value moves on average in the first step of a retry

OPTIMIZERS = ("lbfgs", "adam")


@dataclass(frozen=True)
class Recipe:
    """What is the same for all frames.

    Attributes:
        mode: pixel space and quirks.
        weights: of the terms.
        content_layers: for the content loss.
        criterion: of the temporal loss.
        normalize_gradients: see `Objective`.
        optimizer: `lbfgs` or `adam`.
        learning_rate: of Adam, in grey levels.
        history_size: pairs that L-BFGS remembers.
        relative_tolerance: see `StopRule`.
        interval: see `StopRule`.
        retry_early_stop: retry where L-BFGS stops before iteration 10.
        bfloat16: run VGG in bfloat16.
    """

    mode: Mode
    weights: Weights
    content_layers: Sequence[str]
    criterion: str = "mse"
    normalize_gradients: bool = False
    optimizer: str = "lbfgs"
    learning_rate: float = 10.0
    history_size: int = HISTORY
    relative_tolerance: float = 1e-4
    interval: int = 50
    retry_early_stop: bool = True
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")


@dataclass(frozen=True)
class Painted:
    """One optimised picture.

    Attributes:
        image: RGB float (1, 3, H, W), not clamped.
        before: weighted losses before the first iteration.
        after: weighted losses after the last one.
        history: losses at every image that was evaluated on the way.
        num_iterations: steps taken.
        reason: why it stopped.
        retried: whether a run that did not start was repeated with a larger first step.
        seconds: wall time.
    """

    image: Tensor
    before: Losses
    after: Losses
    history: Sequence[Losses]
    num_iterations: int
    reason: str
    retried: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For the report, without the image."""
        names = ("content", "style", "temporal", "total")
        return {
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "iterations": self.num_iterations,
            "stopped_by": self.reason,
            "retried": self.retried,
            "wall_s": round(self.seconds, 3),
            "history": {name: [getattr(loss, name) for loss in self.history] for name in names},
        }


def paint_image(
    vgg: VGGFeatures,
    recipe: Recipe,
    content: Tensor,
    grams: Mapping[str, Tensor],
    start: Tensor,
    num_iterations: int,
    anchors: Sequence[Anchor] = (),
    on_iteration: OnIteration | None = None,
) -> Painted:
    """Optimise one picture.

    Args:
        vgg: network, with the layers of the recipe and of `grams`.
        recipe: weights, optimiser, stopping.
        content: the frame in pixel space, (1, 3, H, W).
        grams: wanted Gram matrices, (1, C, C) by layer.
        start: where to begin, pixel space.
        num_iterations: at most so many; 0 only evaluates.
        anchors: earlier results, for the temporal loss.
        on_iteration: see `lbfgs`.

    Raises:
        RuntimeError: the optimisation ran away to a loss that is not finite.
    """
    began = time.monotonic()
    objective = Objective(
        vgg,
        recipe.mode,
        recipe.weights,
        content,
        recipe.content_layers,
        grams,
        anchors,
        criterion=recipe.criterion,
        normalize_gradients=recipe.normalize_gradients,
        bfloat16=recipe.bfloat16,
    )
    rule = StopRule(
        num_iterations, recipe.relative_tolerance, recipe.interval, recipe.mode.absolute_tests
    )
    retried = False
    if recipe.optimizer == "adam":
        descent = adam(objective, start, rule, recipe.learning_rate, on_iteration)
    else:
        descent = lbfgs(objective, start, rule, recipe.history_size, on_iteration)
        if descent.is_early:
            retried = recipe.retry_early_stop
            _explain(descent, retried)
            if retried:
                descent = lbfgs(
                    objective, start, rule, recipe.history_size, on_iteration, RETRY_STEP
                )
    after = objective.losses(descent.pixels)
    history = descent.history or [after]
    if not math.isfinite(after.total):
        raise RuntimeError(
            f"the picture is lost after {descent.num_iterations} iterations: its loss, "
            f"{history[0].total:.3g} at the start, is not finite any more; use optimizer=adam or "
            "lower weights"
        )
    return Painted(
        recipe.mode.decode(descent.pixels),
        history[0],
        after,
        history,
        descent.num_iterations,
        descent.reason,
        retried,
        time.monotonic() - began,
    )


def _explain(descent: Descent, retried: bool) -> None:
    remedy = (
        f"repeated with a first step of {RETRY_STEP:g} grey level"
        if retried
        else "the picture stays near its initialisation; lower the weights or allow the retry"
    )
    log.warning(
        "L-BFGS stopped after %d iterations, before %d (%s): the loss of %.3g is so large that its "
        "tiny first step does not show in it; %s",
        descent.num_iterations,
        EARLY,
        descent.reason,
        descent.history[0].total,
        remedy,
    )


def noise(size: tuple[int, int], seed: int, device: torch.device) -> Tensor:
    """The random start, pixel space, (1, 3, *size): standard normal times 0.001.

    Args:
        size: (H, W).
        seed: the same for all frames, so that they start from the same noise; negative draws anew.
        device: where it is wanted; drawn on the CPU, so that it is the same everywhere.
    """
    generator = torch.Generator()
    if seed >= 0:
        generator.manual_seed(seed)
    else:
        generator.seed()
    return (torch.randn(1, 3, *size, generator=generator) * NOISE_STD).to(device)


def with_colors_of(image: Tensor, frame: Tensor) -> Tensor:
    """Luma of the result with the chroma of the frame (neural-style's `original_colors`).

    Luma is that of torch7's YUV, BT.601. Equal chroma means that all channels change alike.

    Args:
        image: result, RGB (B, 3, H, W).
        frame: same shape.
    """
    weights = torch.tensor(LUMA_BT601, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return frame + ((image - frame) * weights).sum(1, keepdim=True)
