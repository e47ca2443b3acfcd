"""Several passes over a clip in alternating direction (Ruder et al. 2016, multi-pass)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from fastvid.motion.warp import warp
from fastvid.reference.flows import Lookahead, Motion
from fastvid.reference.image import noise
from fastvid.reference.methods import Plan, seen_from
from fastvid.reference.mode import Mode
from fastvid.reference.objective import Anchor
from fastvid.reference.studio import Studio


@dataclass(frozen=True)
class Passes:
    """The settings of a multi-pass run.

    Attributes:
        mode: pixel space.
        num_passes: how many; odd ones run forward, even ones backward.
        init: of the first pass: `random` (one noise for all frames), `image`, `prevWarped`.
        blend_weight: of the neighbour that was done before in this pass.
        blend_weight_last_pass: of the other one, which is of the pass before.
        temporal_from_pass: first pass with the temporal loss.
        seed: of the noise.
    """

    mode: Mode
    num_passes: int = 15
    init: str = "random"
    blend_weight: float = 1.0
    blend_weight_last_pass: float = 0.0
    temporal_from_pass: int = 8
    seed: int = 0

    def order(self, run: int, num_frames: int) -> Sequence[int]:
        """Positions in the order of pass `run`, counted from 1."""
        return range(num_frames) if run % 2 else range(num_frames - 1, -1, -1)

    def before(self, run: int, index: int) -> int:
        """The neighbour that pass `run` does before this frame."""
        return index - 1 if run % 2 else index + 1

    def looks_at(self, run: int, index: int, num_frames: int) -> list[int]:
        """Neighbours whose motion this frame needs in pass `run`."""
        if run == 1:
            return [index - 1] if self.init == "prevWarped" and index else []
        before = self.before(run, index)
        weights = {before: self.blend_weight, 2 * index - before: self.blend_weight_last_pass}
        uses_loss = run >= self.temporal_from_pass
        return [
            j
            for j, weight in weights.items()
            if 0 <= j < num_frames and (weight or (uses_loss and j == before))
        ]


def flow_pairs(passes: Passes, num_frames: int) -> Iterator[tuple[int, int]]:
    """All (current, other) that the passes look at: each direction without and with the loss."""
    runs = {1, 2, 3, passes.temporal_from_pass, passes.temporal_from_pass + 1}
    for run in sorted(run for run in runs if 1 <= run <= passes.num_passes):
        for index in passes.order(run, num_frames):
            yield from ((index, other) for other in passes.looks_at(run, index, num_frames))


def blend(own: Tensor, neighbors: Sequence[tuple[float, Tensor, Tensor]]) -> Tensor:
    """(X + sum b c W) / (1 + sum b c): a frame mixed with its neighbours where they are certain.

    Args:
        own: result of the pass before, RGB (1, 3, H, W).
        neighbors: weight b, warped neighbour W, certainty c (1, 1, H, W) each.
    """
    total = own
    weight: Tensor | float = 1.0
    for factor, picture, certainty in neighbors:
        total = total + factor * certainty * picture
        weight = weight + factor * certainty
    return total / weight


def paint_multi_pass(studio: Studio, passes: Passes, flows: Lookahead, num_iterations: int) -> None:
    """Optimise every frame in every pass that is not done.

    Args:
        studio: network, recipe, frames, finished results.
        passes: settings.
        flows: motion.
        num_iterations: limit per frame and pass.
    """
    jobs = [
        (run, index)
        for run in range(1, passes.num_passes + 1)
        for index in passes.order(run, studio.num_frames)
    ]
    for position, (run, index) in enumerate(jobs):
        if studio.is_done(run, index):
            continue
        plan = _plan(studio, passes, flows, run, index)
        for later_run, later in jobs[position + 1 : position + 2]:
            flows.order((later, j) for j in passes.looks_at(later_run, later, studio.num_frames))
        studio.paint(run, index, plan, num_iterations)
        if run > 2:
            studio.drop(run - 2, index)  # the pass before is all that is looked at


def _plan(studio: Studio, passes: Passes, flows: Lookahead, run: int, index: int) -> Plan:
    mode, device = passes.mode, studio.device
    content = mode.encode(studio.frame(index))
    motions = {}
    for other in passes.looks_at(run, index, studio.num_frames):
        motion = flows.take(index, other)
        motions[other] = Motion(motion.flow.to(device), motion.certainty.to(device))
    if run == 1:
        if passes.init == "image":
            start = content
        elif motions:
            (motion,) = motions.values()
            start = mode.encode(seen_from(mode, studio.result(1, index - 1), motion.flow))
        else:
            start = noise(studio.size, passes.seed, device)
        return Plan(content, start)
    before = passes.before(run, index)
    neighbors, anchors = [], []
    for other, motion in motions.items():
        is_before = other == before
        warped = warp(studio.result(run if is_before else run - 1, other), motion.flow)
        weight = passes.blend_weight if is_before else passes.blend_weight_last_pass
        neighbors.append((weight, warped, motion.certainty))
        if is_before and run >= passes.temporal_from_pass:
            anchors.append(Anchor(mode.encode(warped), motion.certainty))
    start = blend(studio.result(run - 1, index), neighbors)
    return Plan(content, mode.encode(start), anchors)
