"""Short-term against long-term loss on an object that covers a texture and passes behind another.

The figures are RMS differences, in [0, 1], between a stylised frame and an earlier one moved onto
it along the exact flow: over spots that were covered the frame before, against the last frame
that showed them; over spots that were in view all the time, against the frame before; and over
spots that were covered on the way from the first frame to the last, between these two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from fastvid.evaluation.exact import ExactFlow, Frames
from fastvid.evaluation.passing import BACKGROUND, DISC, PassingScene
from fastvid.evaluation.trials.bench import (
    Options,
    mask_of,
    paint_all,
    rms,
    settings,
    squared_change,
    write_sheet,
)
from fastvid.image import to_array

LONG_TERM = [1, 2, 4, 6]  # the disc covers a spot for three frames
GAIN = 4  # of the differences in the picture


class Spots(NamedTuple):
    """Pixels of frame `now` that frame `then` shows too, (H, W) bool."""

    now: int
    then: int
    where: np.ndarray


def disocclusion(options: Options) -> dict[str, Any]:
    """Figures, and a sheet: source, short-term, long-term; first, middle and last frame, change."""
    scene = PassingScene(options.size, options.frames)
    footage = Frames([scene.frame(t) for t in range(options.frames)])
    source = ExactFlow(scene.flow, scene.visible)
    runs = {
        "short_term": settings(options, flow_relative_indices=[1]),
        "long_term": settings(options, flow_relative_indices=LONG_TERM),
    }
    results = paint_all(runs, footage, source)
    kinds = spots_by_kind(scene, options.frames)
    figures = {
        name: {
            kind: rms(
                [squared_change(frames, source, now, then) for now, then, _ in spots],
                [mask_of(where) for _, _, where in spots],
            )
            for kind, spots in kinds.items()
        }
        for name, frames in results.items()
    }
    if options.picture:
        (change,) = kinds["first_to_last"]
        last = options.frames - 1
        shown = (0, last // 2, last)
        rows = [[footage.image(t) for t in shown] + [_map(change.where)]]
        for frames in results.values():
            squares = squared_change(frames, source, change.now, change.then)
            rows.append([to_array(frames[t])[0] for t in shown] + [_map(change.where, squares)])
        write_sheet(options.picture, rows)
    return {
        "distances": LONG_TERM,
        "pixels": {kind: sum(int(s.where.sum()) for s in spots) for kind, spots in kinds.items()},
        "rms": figures,
    }


def spots_by_kind(scene: PassingScene, num_frames: int) -> dict[str, list[Spots]]:
    """Where to compare which frames.

    Returns:
        `uncovered`: ground that the disc has just left. `reappeared`: of the disc, from behind the
        column. `in_view`: all that the frame before shows. `first_to_last`: what both of these
        show and some frame between them does not.
    """
    kinds: dict[str, list[Spots]] = {"uncovered": [], "reappeared": [], "in_view": []}
    for now in range(1, num_frames):
        hidden = ~scene.visible(now, now - 1)
        kinds["in_view"].append(Spots(now, now - 1, ~hidden))
        owner = scene.owner(now)
        for distance in LONG_TERM[1:]:
            if now >= distance:
                back = hidden & scene.visible(now, now - distance)
                hidden &= ~back
                for kind, layer in (("uncovered", BACKGROUND), ("reappeared", DISC)):
                    kinds[kind].append(Spots(now, now - distance, back & (owner == layer)))
    last = num_frames - 1
    always = np.logical_and.reduce([scene.visible(last, t) for t in range(1, last)])
    kinds["first_to_last"] = [Spots(last, 0, scene.visible(last, 0) & ~always)]
    return kinds


def _map(where: np.ndarray, squares: Tensor | None = None) -> np.ndarray:
    """Spots on grey: white, or as dark as the change is large."""
    level = np.ones(where.shape) if squares is None else 1 - GAIN * squares[0, 0].sqrt().numpy()
    grey = np.where(where, level.clip(0, 1), 0.5)
    return np.repeat((255 * grey + 0.5).astype(np.uint8)[..., None], 3, axis=2)
