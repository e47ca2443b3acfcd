"""`e_warp` at gap 1 of the four methods on real clips; the paper's order is the last first.

The mean style loss of the frames stands beside it: a method that paints less is steadier without
being better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastvid.evaluation.exact import Frames
from fastvid.evaluation.metrics import ClipMeter
from fastvid.evaluation.trials.bench import Options, paint_all, settings, write_sheet
from fastvid.image import to_array
from fastvid.reference.build import build_paintings, build_vgg
from fastvid.reference.flows import EstimatedFlow
from fastvid.reference.mode import MODES
from fastvid.reference.objective import Objective, Weights
from fastvid.reference.settings import OptimizeConfig
from fastvid.video import VideoReader

METHODS = ("independent", "blend_previous", "blend_warped", "ruder")


def methods(options: Options, clips: Sequence[str], step: int) -> dict[str, Any]:
    """Figures by clip and their means, and a sheet of the last clip: source and methods below.

    Args:
        options: for every clip.
        clips: films or patterns of images.
        step: take every so many frames: short clips with more motion.
    """
    table = {Path(clip).name: _of_clip(options, clip, step) for clip in clips}
    means = {
        name: round(sum(row[name]["e_warp"] for row in table.values()) / len(table), 4)
        for name in METHODS
    }
    return {
        "clips": table,
        "e_warp_mean": means,
        "in_order": {name: _is_in_order(row) for name, row in table.items()},
    }


def _of_clip(options: Options, clip: str, step: int) -> dict[str, dict[str, float]]:
    with VideoReader(clip, height_px=options.height) as reader:
        taken = islice(reader, 0, step * options.frames, step)
        images: list[np.ndarray] = [frame.image for frame in taken]
    footage = Frames(images)
    runs = {name: settings(options, method=name) for name in METHODS}
    config = runs["ruder"]
    source = EstimatedFlow(footage, "dis", "ruder2016", Path(config.data.root), torch.device("cpu"))
    results = paint_all(runs, footage, source)
    style = _style_loss(config, footage.clip.size)
    scores: dict[str, dict[str, float]] = {}
    for name, frames in results.items():
        meter = ClipMeter(gaps=(1,))
        for image, frame in zip(images, frames, strict=True):
            meter.update(image, to_array(frame)[0])
        scores[name] = {
            "e_warp": round(float(meter.scores()["e_warp_gap1"] or 0.0), 4),
            "style_loss": round(sum(map(style, frames)) / len(frames)),
        }
    if options.picture:
        rows = [images, *([to_array(f)[0] for f in frames] for frames in results.values())]
        write_sheet(options.picture, rows)
    return scores


def _style_loss(config: OptimizeConfig, size: tuple[int, int]) -> Callable[[Tensor], float]:
    """Weighted style loss of a frame of `size`, RGB (1, 3, H, W)."""
    vgg, mode = build_vgg(config), MODES[config.mode]
    (painting,), _ = build_paintings(config, vgg, size)
    weights = Weights(content=0.0, style=config.style_weight)

    def loss(frame: Tensor) -> float:
        pixels = mode.encode(frame)
        return Objective(vgg, mode, weights, pixels, [], painting.grams).losses(pixels).style

    return loss


def _is_in_order(row: Mapping[str, Mapping[str, float]]) -> bool:
    values = [row[name]["e_warp"] for name in METHODS]
    return all(worse > better for worse, better in pairwise(values))
