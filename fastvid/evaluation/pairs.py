"""Frame pairs of a clip: what is left between two outputs once the source's motion is undone."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastvid.image import to_array, to_tensor
from fastvid.motion import consistency, flow
from fastvid.motion.warp import warp
from fastvid.perceptual.losses import luminance

CERTAINTY_RULE = "ruder2016"
MASK_THRESHOLD = 0.5
SOURCE_FLOOR = 1e-3  # keeps the ratio finite on still sources; a quarter of a grey level
MIN_COVERAGE = 0.01

Motion = Callable[[int, int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(s, t, I_s, I_t) -> flow on t's grid to s, (1, 2, H, W) px, and certainty (1, 1, H, W)."""


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
    squares = difference.to(torch.float64).square().sum(dim=1, keepdim=True)
    return float((squares * mask).sum()) / (difference.shape[1] * area)


def e_warp(pair_mse: Sequence[float]) -> float:
    """Warping error in [0, 1]: root of the mean of the pairs' `masked_mse`.

    Equal to e_stab_v1 = RMS over the trusted pixels, each pair with the same weight.

    Raises:
        ValueError: if there is no pair.
    """
    if not pair_mse:
        raise ValueError("e_warp: expected at least one pair of frames, found none")
    return math.sqrt(sum(pair_mse) / len(pair_mse))


def stability_ratio(output: float, source: float) -> float:
    """How many times the source's own `e_warp` the output has: 1 means that nothing was added."""
    return output / (source + SOURCE_FLOOR)


def e_stab(
    pair_mse: Sequence[float], coverage: Sequence[float], variant: Literal["reconet", "huang"]
) -> float:
    """Stability error as published: divided by the whole frame instead of the trusted area.

    Args:
        pair_mse: `masked_mse` of consecutive frames, values in [0, 1].
        coverage: trusted share of each pair, [0, 1].
        variant: "reconet" divides by H W (Gao et al. 2018), "huang" by 3 H W (Huang et al. 2017).

    Raises:
        ValueError: if there is no pair.
    """
    factor = {"reconet": 3.0, "huang": 1.0}[variant]
    whole = [factor * mse * share for mse, share in zip(pair_mse, coverage, strict=True)]
    return e_warp(whole)


def estimated_motion(method: str) -> Motion:
    """Flow and certainty of a pair of source frames, from an optical flow method."""

    def motion(_prev: int, _cur: int, prev: Tensor, cur: Tensor) -> tuple[Tensor, Tensor]:
        flow_bwd = flow.estimate(prev, cur, method=method)
        flow_fwd = flow.estimate(cur, prev, method=method)
        return flow_bwd, consistency.certainty(flow_bwd, flow_fwd, rule=CERTAINTY_RULE)

    return motion


@dataclass(frozen=True)
class PairError:
    """What two frames of a clip differ by; mean squares over the trusted pixels, in [0, 1]."""

    prev: int  # frame index s, the warped one
    cur: int  # frame index t
    coverage: float  # trusted share of the frame, [0, 1]
    output_mse: float
    source_mse: float
    luma_mse: float  # of the output, less the source's own change of brightness


@dataclass(frozen=True)
class WorstPair:
    """The consecutive pair whose outputs differ most."""

    error: PairError
    prev: np.ndarray  # output frames, uint8 (H, W, 3)
    cur: np.ndarray
    error_map: np.ndarray  # float32 (H, W): RMS over the channels, 0 where distrusted


class PairMeter:
    """Compares the frames of a clip as they come; memory is bounded by the largest gap.

    Args:
        gaps: distances between the frames of a pair; every frame meets the first one too.
        flow_method: "dis" or "raft", run on the source frames.
        motion: exact motion, instead of `flow_method`.

    Attributes:
        pairs: errors in order of time, keys "gap1", "gap4", ..., "first".
        worst: the worst pair of consecutive frames so far, if gap 1 is measured.

    Raises:
        ValueError: if there is no gap or one is below 1.
    """

    def __init__(
        self, gaps: Sequence[int], flow_method: str = "dis", motion: Motion | None = None
    ) -> None:
        if not gaps or min(gaps) < 1:
            raise ValueError(f"gaps: expected distances of 1 or more, found {tuple(gaps)}")
        self.pairs: dict[str, list[PairError]] = {f"gap{gap}": [] for gap in gaps}
        self.pairs["first"] = []
        self.worst: WorstPair | None = None
        self._gaps = tuple(gaps)
        self._motion = motion or estimated_motion(flow_method)
        self._count = 0
        self._first: list[np.ndarray] = []  # source and output in one array (2, H, W, 3)
        self._recent: deque[np.ndarray] = deque(maxlen=max(gaps))

    @torch.no_grad()
    def update(self, source: np.ndarray, stylized: np.ndarray) -> None:
        """Take the next frame of both clips, uint8 (H, W, 3) RGB of one size."""
        both = np.stack([source, stylized])  # kept as bytes: ten frames of 4K are half a GB
        cur = _side_by_side(both)
        names_of: dict[int, list[str]] = {}  # distance back -> series; "first" may be a gap too
        for gap in self._gaps:
            if gap <= self._count:
                names_of.setdefault(gap, []).append(f"gap{gap}")
        if self._count:
            names_of.setdefault(self._count, []).append("first")
        for back, names in names_of.items():
            prev = self._first[0] if back == self._count else self._recent[-back]
            error = self._compare(self._count - back, _side_by_side(prev), cur)
            for name in names:
                self.pairs[name].append(error)
        if not self._first:
            self._first.append(both)
        self._recent.append(both)
        self._count += 1

    def _compare(self, prev_index: int, prev: Tensor, cur: Tensor) -> PairError:
        flow_bwd, certainty = self._motion(prev_index, self._count, prev[:, :3], cur[:, :3])
        mask = certainty > MASK_THRESHOLD
        change = cur - warp(prev, flow_bwd)  # one pass for source and output
        source, output = change[:, :3], change[:, 3:]
        error = PairError(
            prev=prev_index,
            cur=self._count,
            coverage=float(mask.float().mean()),
            output_mse=masked_mse(output, mask),
            source_mse=masked_mse(source, mask),
            luma_mse=masked_mse(output - luminance(source), mask),
        )
        if self._count - prev_index == 1 and error.coverage >= MIN_COVERAGE:
            if self.worst is None or error.output_mse > self.worst.error.output_mse:
                rms = (output.square().mean(dim=1) * mask[:, 0]).sqrt()
                frames = to_array(torch.cat([prev[:, 3:], cur[:, 3:]]))
                self.worst = WorstPair(error, frames[0], frames[1], rms[0].numpy())
        return error


def _side_by_side(both: np.ndarray) -> Tensor:
    """Source and output as channels, float (1, 6, H, W) in [0, 1], from uint8 (2, H, W, 3)."""
    return to_tensor(both).flatten(0, 1)[None]
