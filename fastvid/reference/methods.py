"""How a frame is tied to those before it: the method of the paper, and the methods before it.

A method says, for one frame, what its content is, where it starts and what it shall resemble. One
loop (`single_pass`) serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fastvid.motion.warp import inside, warp
from fastvid.reference.flows import Motion
from fastvid.reference.image import noise
from fastvid.reference.long_term import combine, earlier_frames
from fastvid.reference.mode import Mode
from fastvid.reference.objective import Anchor


class Past(Protocol):
    """What a method can look at. Positions count from 0."""

    def frame(self, index: int) -> Tensor:
        """Source frame, RGB (1, 3, H, W)."""

    def result(self, index: int) -> Tensor:
        """Finished frame, RGB (1, 3, H, W)."""

    def motion(self, current: int, other: int) -> Motion:
        """Frame `other` as seen from `current`."""


@dataclass(frozen=True)
class Plan:
    """What one frame is optimised with.

    Attributes:
        content: picture whose content is kept, pixel space (1, 3, H, W).
        start: first image, pixel space.
        anchors: for the temporal loss.
    """

    content: Tensor
    start: Tensor
    anchors: list[Anchor] = field(default_factory=list)


class Method(Protocol):
    """A way to stylise a clip frame by frame."""

    def needs(self, index: int) -> list[int]:
        """Earlier positions whose motion to this frame will be asked for."""

    def plan(self, past: Past, index: int) -> Plan:
        """What frame `index` is optimised with."""


@dataclass(frozen=True)
class Independent:
    """Each frame alone.

    Attributes:
        mode: pixel space.
        init: `random` or `image`.
        seed: of the noise, the same for every frame.
    """

    mode: Mode
    init: str = "random"
    seed: int = 0

    def needs(self, index: int) -> list[int]:
        """Nothing."""
        return []

    def plan(self, past: Past, index: int) -> Plan:
        """The frame, from noise or from itself."""
        content = self.mode.encode(past.frame(index))
        if self.init == "image":
            return Plan(content, content)
        return Plan(content, noise(_size(content), self.seed, content.device))


@dataclass(frozen=True)
class BlendPrevious:
    """The previous result laid over the frame at low opacity (Kogan).

    No source says more than that. Here the blend is both the content and the start, so that
    strokes carry over.

    Attributes:
        first: how the first frame is done.
        opacity: share of the previous result.
    """

    first: Independent
    opacity: float = 0.2

    def needs(self, index: int) -> list[int]:
        """Nothing."""
        return []

    def plan(self, past: Past, index: int) -> Plan:
        """The frame mixed with the result before it."""
        if index == 0:
            return self.first.plan(past, index)
        return self._over(past.frame(index), past.result(index - 1))

    def _over(self, frame: Tensor, previous: Tensor) -> Plan:
        mixed = self.first.mode.encode(torch.lerp(frame, previous, self.opacity))
        return Plan(mixed, mixed)


@dataclass(frozen=True)
class BlendWarped(BlendPrevious):
    """The previous result moved along the optical flow, then laid over the frame (Eidnes).

    No certainty enters: what was covered before ghosts, as it did.
    """

    def needs(self, index: int) -> list[int]:
        """The frame before."""
        return [index - 1] if index else []

    def plan(self, past: Past, index: int) -> Plan:
        """The frame mixed with the warped result before it."""
        if index == 0:
            return self.first.plan(past, index)
        motion = past.motion(index, index - 1)
        return self._over(past.frame(index), warp(past.result(index - 1), motion.flow))


@dataclass(frozen=True)
class Ruder:
    """Warped start and temporal loss, short-term or long-term (Ruder et al. 2016).

    Attributes:
        first: how the first frame is done.
        init: of later frames: `random`, `image`, `prev`, `prevWarped`, `first`.
        distances: of the earlier frames in the temporal loss.
        every: also every n-th earlier frame; -1 = no.
        combination: of their certainties, see `long_term.combine`.
        has_temporal_loss: False leaves the earlier frames out.
    """

    first: Independent
    init: str = "prevWarped"
    distances: Sequence[int] = (1,)
    every: int = -1
    combination: str = "closestFirst"
    has_temporal_loss: bool = True

    def needs(self, index: int) -> list[int]:
        """The frames of the temporal loss, and the one before for a warped start."""
        looked_at = self._earlier(index)
        if self.init == "prevWarped" and index and index - 1 not in looked_at:
            looked_at.append(index - 1)
        return looked_at

    def plan(self, past: Past, index: int) -> Plan:
        """The frame, its start and what it shall resemble."""
        mode = self.first.mode
        if index == 0:
            return self.first.plan(past, index)
        content = mode.encode(past.frame(index))
        motions = {j: past.motion(index, j) for j in self.needs(index)}
        seen = {j: seen_from(mode, past.result(j), m.flow) for j, m in motions.items()}
        earlier = self._earlier(index)
        certainties = combine(
            [motions[j].certainty for j in earlier], self.combination, mode.reduced_certainties
        )
        anchors = [
            Anchor(mode.encode(seen[j]), c) for j, c in zip(earlier, certainties, strict=True)
        ]
        if self.init == "image":
            start = content
        elif self.init == "random":
            start = noise(_size(content), self.first.seed, content.device)
        elif self.init == "prevWarped":
            start = mode.encode(seen[index - 1])
        else:
            start = mode.encode(past.result(0 if self.init == "first" else index - 1))
        return Plan(content, start, anchors)

    def _earlier(self, index: int) -> list[int]:
        if not self.has_temporal_loss:
            return []
        return earlier_frames(index, self.distances, self.every)


def seen_from(mode: Mode, result: Tensor, flow: Tensor) -> Tensor:
    """A finished frame as another one sees it; beyond the image stands the mean colour.

    Spots that were covered keep the wrong colour: certainty keeps them out of the loss, but not
    out of the start.
    """
    return torch.where(inside(flow), warp(result, flow), mode.mean_color(result))


def _size(content: Tensor) -> tuple[int, int]:
    return content.shape[-2], content.shape[-1]
