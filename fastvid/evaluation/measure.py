"""One clip measured: its paintings go by frame by frame, their scores come out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastvid.evaluation.clips import Clip, scene_motion
from fastvid.evaluation.judge import Judge
from fastvid.evaluation.links import CERTAINTY_RULE, MASK_THRESHOLD
from fastvid.evaluation.metrics import GAPS, Comparison
from fastvid.evaluation.pairs import PairMeter
from fastvid.evaluation.picture import RowSlice, draw_clip

Scores = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Scores of the paintings of one clip, by name, and what a picture of them needs."""

    scores: dict[str, Scores]
    pairs: dict[str, PairMeter]
    rows: dict[str, RowSlice]

    def picture(self, name: str) -> np.ndarray:
        """Error over time, worst pair and a row through time of one painting, uint8 (H, W, 3).

        Raises:
            ValueError: if the clip has no two frames.
        """
        scores = self.scores[name]
        title = f"{name} against {scores['source']}"
        return draw_clip(self.pairs[name], self.rows[name], title, describe(scores))


def measure_clip(
    source: Clip,
    painted: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]],
    names: Sequence[str],
    *,
    styles: Mapping[str, np.ndarray] | None = None,
    judge: Judge | None = None,
    gaps: Sequence[int] = GAPS,
    flow_method: str = "dis",
) -> Measured:
    """Scores of the paintings of one clip, with what they were measured by.

    Args:
        source: the clip that was painted.
        painted: each of its frames, with its paintings by name.
        names: of the paintings.
        styles: style images of those that have one, uint8 (H, W, 3).
        judge: see `load_judge`; without it nothing is said about style and content.
        gaps: distances between the frames of a pair.
        flow_method: "dis" or "raft"; a generated scene has its exact flow instead.

    Raises:
        ValueError: if counts or sizes of the clips differ.
        MediaError: if a clip cannot be read.
    """
    scene = source.scene
    comparison = Comparison(names, gaps, flow_method, scene_motion(scene) if scene else None)
    rows = {name: RowSlice() for name in names}
    for frame, paintings in painted:
        comparison.update(frame, paintings)
        for name in names:
            rows[name].update(frame, paintings[name])
    found = comparison.scores(styles, judge.vgg if judge else None)
    pairs = {name: meter.stability for name, meter in comparison.meters.items()}
    scores = {
        name: {
            "source": source.name,
            **found[name],
            "certainty_rule": CERTAINTY_RULE if scene is None else "exact",
            "mask_threshold": MASK_THRESHOLD,
            "vgg_weights": judge.weights if judge else None,
            **_over_time(pairs[name]),
        }
        for name in names
    }
    return Measured(scores, pairs, rows)


def describe(scores: Mapping[str, Any]) -> str:
    """What a clip was measured on and by, in one line."""
    rule = f"{scores['certainty_rule']} > {scores['mask_threshold']}"
    return (
        f"{scores['width_px']}x{scores['height_px']}, {scores['frames']} frames, "
        f"flow {scores['flow_method']}, mask {rule}"
    )


def _over_time(meter: PairMeter) -> Scores:
    pairs = meter.pairs.get("gap1", [])
    return {
        "worst_pair": [meter.worst.error.prev, meter.worst.error.cur] if meter.worst else None,
        "series_gap1_output": [round(pair.output_mse**0.5, 6) for pair in pairs],
        "series_gap1_source": [round(pair.source_mse**0.5, 6) for pair in pairs],
    }
