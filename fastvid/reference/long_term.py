"""Which earlier frames the temporal loss looks at, and how their certainties share a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def earlier_frames(index: int, distances: Sequence[int], every: int = -1) -> list[int]:
    """Positions of the earlier frames of frame `index`, closest first.

    Args:
        index: position in the clip, 0 = the first frame.
        distances: `flow_relative_indices`.
        every: also index - every, index - 2 every, ... down to the first; -1 = no.
    """
    wanted = {index - distance for distance in distances}
    if every > 0:
        wanted |= set(range(index - every, -1, -every))
    return sorted((j for j in wanted if 0 <= j < index), reverse=True)


def closest_first(certainties: Sequence[Tensor], reduced: bool = False) -> list[Tensor]:
    """Each pixel is tied to the closest frame that shows it: max(c_j - sum of closer c_k, 0).

    For maps of 0 and 1 both forms are the same; for soft ones the program's takes off less.

    Args:
        certainties: (1, 1, H, W) each, of the earlier frames, closest first.
        reduced: take off the c_k as they were left by this rule (the program), not as they came
            (the paper).
    """
    results: list[Tensor] = []
    for index, certainty in enumerate(certainties):
        for closer in results if reduced else certainties[:index]:
            certainty = certainty - closer
        results.append(certainty.clamp_min(0))
    return results


def normalize(certainties: Sequence[Tensor]) -> list[Tensor]:
    """All divided by max(1, their sum)."""
    if not certainties:
        return []
    total = torch.stack(list(certainties)).sum(0).clamp_min(1)
    return [certainty / total for certainty in certainties]


def combine(certainties: Sequence[Tensor], rule: str, reduced: bool = False) -> list[Tensor]:
    """Certainties of several earlier frames made to share each pixel.

    Args:
        certainties: (1, 1, H, W) each, closest first.
        rule: one of `COMBINATIONS`.
        reduced: see `closest_first`.
    """
    return closest_first(certainties, reduced) if rule == "closestFirst" else normalize(certainties)


COMBINATIONS = ("closestFirst", "normalize")
