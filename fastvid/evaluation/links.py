"""Pairs of source frames: how one is seen from the other, worked out once for all paintings."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastvid.image import to_tensor
from fastvid.motion import consistency, flow
from fastvid.motion.warp import warp
from fastvid.perceptual.losses import luminance

CERTAINTY_RULE = "ruder2016"
MASK_THRESHOLD = 0.5

Motion = Callable[[int, int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(s, t, I_s, I_t) -> flow on t's grid to s, (1, 2, H, W) px, and certainty (1, 1, H, W)."""


@dataclass(frozen=True)
class Link:
    """Frame `cur` of the source and the earlier frame `prev`.

    Attributes:
        prev: frame index s, the warped one.
        cur: frame index t.
        names: of the series it belongs to: "gap1", "gap4", ..., "first".
        flow: on the grid of `cur`, pointing to `prev`, (1, 2, H, W) px.
        mask: bool (1, 1, H, W), True where the flow is trusted.
        coverage: trusted share of the frame, [0, 1].
        source_mse: mean square of the source's own change over the trusted pixels.
        luma_change: of the source along the flow, (1, 1, H, W).
    """

    prev: int
    cur: int
    names: tuple[str, ...]
    flow: Tensor
    mask: Tensor
    coverage: float
    source_mse: float
    luma_change: Tensor


def masked_mse(difference: Tensor, mask: Tensor) -> float:
    """Mean square of a difference over the trusted pixels and their channels.

    Args:
        difference: (1, 3, H, W).
        mask: (1, 1, H, W), 1 or True where trusted.

    Returns:
        sum_p M |d|^2 / (3 sum_p M), or 0.0 where nothing is trusted.
    """
    area = float(mask.sum())
    if area == 0.0:
        return 0.0
    squares = difference.square().sum(dim=1, keepdim=True).mul_(mask)
    return float(squares.sum(dtype=torch.float64)) / (difference.shape[1] * area)


def estimated_motion(method: str) -> Motion:
    """Flow and certainty of a pair of source frames, from an optical flow method."""

    def motion(_prev: int, _cur: int, prev: Tensor, cur: Tensor) -> tuple[Tensor, Tensor]:
        flow_bwd = flow.estimate(prev, cur, method=method)
        flow_fwd = flow.estimate(cur, prev, method=method)
        return flow_bwd, consistency.certainty(flow_bwd, flow_fwd, rule=CERTAINTY_RULE)

    return motion


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for each call inside.

    Work on pairs is hundreds of short steps. Where another process holds a core, threads that wait
    for each other after every step make it ten times as slow, and they gain little where none does.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_gaps(gaps: Sequence[int]) -> None:
    """Raise ValueError unless there is a gap, and none is below 1."""
    if not gaps or min(gaps) < 1:
        raise ValueError(f"gaps: expected distances of 1 or more, found {tuple(gaps)}")


class SourceLinks:
    """Links the frames of a source as they come; memory is bounded by the largest gap.

    Args:
        gaps: distances between the frames of a pair; every frame meets the first one too.
        flow_method: "dis" or "raft", run on the source frames.
        motion: exact motion, instead of `flow_method`.

    Raises:
        ValueError: if there is no gap or one is below 1.
    """

    def __init__(
        self, gaps: Sequence[int], flow_method: str = "dis", motion: Motion | None = None
    ) -> None:
        check_gaps(gaps)
        self._gaps = tuple(gaps)
        self._motion = motion or estimated_motion(flow_method)
        self._count = 0
        self._first: np.ndarray | None = None
        self._recent: deque[np.ndarray] = deque(maxlen=max(gaps))  # bytes: ten of 4K are 250 MB

    def update(self, source: np.ndarray) -> list[Link]:
        """Take the next frame, uint8 (H, W, 3) RGB; its links to the frames before it.

        They are worked out side by side, each in one thread.
        """
        cur = to_tensor(source)
        names_of: dict[int, list[str]] = {}  # distance back -> series; "first" may be a gap too
        for gap in self._gaps:
            if gap <= self._count:
                names_of.setdefault(gap, []).append(f"gap{gap}")
        if self._count:
            names_of.setdefault(self._count, []).append("first")
        with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
            links = list(pool.map(lambda each: self._link(each[0], each[1], cur), names_of.items()))
        if self._first is None:
            self._first = source
        self._recent.append(source)
        self._count += 1
        return links

    @torch.no_grad()  # holds for the thread that it is called in
    def _link(self, back: int, names: Sequence[str], cur: Tensor) -> Link:
        earlier = self._first if back == self._count else self._recent[-back]
        assert earlier is not None
        prev = to_tensor(earlier)
        flow_bwd, certainty = self._motion(self._count - back, self._count, prev, cur)
        mask = certainty > MASK_THRESHOLD
        change = cur - warp(prev, flow_bwd)
        return Link(
            prev=self._count - back,
            cur=self._count,
            names=tuple(names),
            flow=flow_bwd,
            mask=mask,
            coverage=float(mask.float().mean()),
            source_mse=masked_mse(change, mask),
            luma_change=luminance(change),
        )
