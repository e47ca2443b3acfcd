"""Frame pairs of a painting: what is left of their difference once the motion is undone."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastvid.evaluation.links import Link, check_gaps, masked_mse
from fastvid.image import to_tensor
from fastvid.motion.warp import warp

SOURCE_FLOOR = 1e-3  # keeps the ratio finite on still sources; a quarter of a grey level
MIN_COVERAGE = 0.01


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
    """Compares the frames of one painting along the links of its source.

    Args:
        gaps: those of the `SourceLinks`.

    Attributes:
        pairs: errors in order of time, keys "gap1", "gap4", ..., "first".
        worst: the worst pair of consecutive frames so far.

    Raises:
        ValueError: if there is no gap or one is below 1.
    """

    def __init__(self, gaps: Sequence[int]) -> None:
        check_gaps(gaps)
        self.pairs: dict[str, list[PairError]] = {f"gap{gap}": [] for gap in gaps}
        self.pairs["first"] = []
        self.worst: WorstPair | None = None
        self._first: np.ndarray | None = None
        self._recent: deque[np.ndarray] = deque(maxlen=max(gaps))

    @torch.no_grad()
    def update(self, links: Sequence[Link], stylized: np.ndarray, output: Tensor) -> None:
        """Take the next frame.

        Args:
            links: of the source frame to those before it.
            stylized: its painting, uint8 (H, W, 3) RGB.
            output: the same as `to_tensor` gives it.
        """
        for link in links:
            earlier = self._first if link.prev == 0 else self._recent[link.prev - link.cur]
            assert earlier is not None
            error = self._compare(link, earlier, stylized, output)
            for name in link.names:
                self.pairs[name].append(error)
        if self._first is None:
            self._first = stylized
        self._recent.append(stylized)

    def _compare(
        self, link: Link, earlier: np.ndarray, stylized: np.ndarray, output: Tensor
    ) -> PairError:
        change = output - warp(to_tensor(earlier), link.flow)
        error = PairError(
            prev=link.prev,
            cur=link.cur,
            coverage=link.coverage,
            output_mse=masked_mse(change, link.mask),
            source_mse=link.source_mse,
            luma_mse=masked_mse(change - link.luma_change, link.mask),
        )
        if link.cur - link.prev == 1 and error.coverage >= MIN_COVERAGE:
            if self.worst is None or error.output_mse > self.worst.error.output_mse:
                rms = (change.square().mean(dim=1) * link.mask[:, 0]).sqrt()
                self.worst = WorstPair(error, earlier, stylized, rms[0].numpy())
        return error
