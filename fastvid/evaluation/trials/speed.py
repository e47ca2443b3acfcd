"""Seconds per L-BFGS iteration of the reference beside those of a plain PyTorch loop, in turns.

The plain loop is the one of the usual tutorials: torchvision's stack of modules, losses taken at
the layers on the way, `torch.optim.LBFGS` with a closure. Same weights and layers, same picture,
same number of evaluations, same machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastvid.evaluation.exact import Frames
from fastvid.evaluation.timing import speed_ups, spread, take_turns
from fastvid.evaluation.trials.bench import Options, settings
from fastvid.motion import scenes
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.build import build_studio
from fastvid.reference.descent import StopRule, lbfgs
from fastvid.reference.objective import Objective
from fastvid.reference.state import State


def speed(options: Options, rounds: int) -> dict[str, Any]:
    """`ratio` is the time of ours over that of the plain loop within the same turn."""
    footage = Frames([scenes.make("demo", options.size).frame(0)])
    config = settings(options)
    with tempfile.TemporaryDirectory() as folder:
        studio = build_studio(config, footage, State(Path(folder) / "state", {}))
    frame, recipe, grams = studio.frame(0), studio.recipe, studio.paintings[0].grams
    start = recipe.mode.encode(frame)
    objective = Objective(
        studio.vgg, recipe.mode, recipe.weights, start, config.content_layers, dict(grams)
    )
    rule = StopRule(options.iterations)

    def ours(_turn: int) -> int:
        return len(lbfgs(objective, start, rule).history)

    plain = _plain_loop(studio.vgg, frame, config.content_layers, grams, options.iterations)
    evaluations = {"ours": ours(-1), "plain": plain(-1)}
    if len(set(evaluations.values())) != 1:
        raise RuntimeError(f"speed: the loops evaluate unequally often, {evaluations}")
    seconds = take_turns({"ours": ours, "plain": plain}, rounds, warm_up=1)
    return {
        "size": list(options.size),
        "evaluations": evaluations["ours"],
        "seconds_per_iteration": {
            name: round(spread(values).median / options.iterations, 4)
            for name, values in seconds.items()
        },
        "ratio": asdict(speed_ups(seconds, "ours")["plain"]),
    }


class _ContentLoss(nn.Module):
    """Lets features through and keeps their distance from the target."""

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target
        self.loss = torch.zeros(())

    def forward(self, features: Tensor) -> Tensor:
        self.loss = F.mse_loss(features, self.target)
        return features


class _StyleLoss(_ContentLoss):
    """The same for their Gram matrix."""

    def forward(self, features: Tensor) -> Tensor:
        _, channels, height, width = features.shape
        flat = features.view(channels, height * width)
        gram = torch.mm(flat, flat.t()).div(channels * height * width)
        self.loss = F.mse_loss(gram, self.target)
        return features


class _Scale(nn.Module):
    """From [0, 1] to what the first convolution wants."""

    def __init__(self, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, image: Tensor) -> Tensor:
        return image * self.scale + self.offset


def _plain_loop(
    vgg: VGGFeatures,
    frame: Tensor,
    content_layers: Sequence[str],
    grams: Mapping[str, Tensor],
    num_iterations: int,
) -> Callable[[int], int]:
    """The loop of the tutorials; returns its number of evaluations."""
    net = nn.Sequential(_Scale(vgg.get_buffer("input_scale"), vgg.get_buffer("input_offset")))
    content: list[_ContentLoss] = []
    style: list[_ContentLoss] = []
    with torch.no_grad():
        for name in vgg.names:
            if name.endswith("_1") and name != "relu1_1":
                net.append(nn.MaxPool2d(2, 2, ceil_mode=vgg.ceil_mode))
            weight = vgg.get_buffer(f"{name}_weight")
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.weight.copy_(weight)
            conv.bias.copy_(vgg.get_buffer(f"{name}_bias"))  # type: ignore[union-attr]
            net.append(conv)
            net.append(nn.ReLU())
            if name in content_layers:
                content.append(_ContentLoss(net(frame)))
                net.append(content[-1])
            if name in grams:
                style.append(_StyleLoss(grams[name][0]))
                net.append(style[-1])
    net.requires_grad_(False)

    def loop(_turn: int) -> int:
        image = frame.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [image], max_iter=num_iterations, tolerance_grad=0, tolerance_change=0
        )
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            optimizer.zero_grad()
            net(image)
            loss = torch.zeros(())
            for weight, terms in ((5, content), (100, style)):
                for term in terms:
                    loss = loss + weight * term.loss
            loss.backward()
            return loss

        optimizer.step(closure)
        return evaluations

    return loop
