"""What all trials work with: settings, runs of the reference in memory, sheets of frames."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastvid.config import StyleConfig
from fastvid.evaluation.strip import write_strip
from fastvid.motion.warp import warp
from fastvid.reference.build import build_method, build_passes, build_studio
from fastvid.reference.flows import FlowSource, Lookahead
from fastvid.reference.footage import Footage
from fastvid.reference.multi_pass import paint_multi_pass
from fastvid.reference.settings import OptimizeConfig
from fastvid.reference.single_pass import paint_single_pass
from fastvid.reference.state import State

GUTTER_PX = 4
MAX_BYTES = 150_000  # of a sheet: it is meant for a page


@dataclass(frozen=True)
class Options:
    """What every trial is run with.

    Attributes:
        height: rows of the frames; generated ones are 8:5.
        frames: of the clip.
        iterations: per frame, over all passes.
        style: path of the painting, or its name in <data root>/styles.
        init: start of the first frame, of independent ones, and of the first pass.
        weights: file of VGG weights; None looks in <data root>/weights.
        picture: file for a sheet of frames; None draws none.
    """

    height: int
    frames: int
    iterations: int
    style: str = "starry_night"
    init: str = "image"
    weights: str | None = None
    picture: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of generated frames."""
        return self.height, self.height * 8 // 5


def settings(options: Options, **changes: Any) -> OptimizeConfig:
    """The paper's settings on layers that the assets reach, with a fixed number of iterations."""
    config = OptimizeConfig(
        style=StyleConfig(image=options.style),
        content_layers=["relu4_1"],
        style_layers=["relu1_1", "relu2_1", "relu3_1", "relu4_1"],
        init=[options.init, "prevWarped"],
        num_iterations=options.iterations,
        tol_loss_relative=0.0,
        weights=options.weights,
        print_iter=0,
    )
    config.data.root = os.environ.get("FASTVID_DATA", "data")
    return replace(config, **changes)


def paint(
    config: OptimizeConfig, footage: Footage, source: FlowSource, first: Tensor | None = None
) -> list[Tensor]:
    """Run the reference.

    Args:
        config: settings.
        footage: frames of the clip.
        source: motion between them.
        first: the finished first frame, if it is there already; single pass only.

    Returns:
        Finished frames, RGB (1, 3, H, W), not clamped.
    """
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder) / "state", {})
        studio = build_studio(config, footage, state)
        if first is not None:
            state.save(1, footage.clip.numbers[0], first, {})
        flows = Lookahead(source)
        try:
            if config.passes == "multi":
                paint_multi_pass(studio, build_passes(config), flows, config.iterations[0])
            else:
                paint_single_pass(studio, build_method(config), flows, config.iterations)
        finally:
            flows.close()
        return [studio.result(studio.num_passes, k).cpu() for k in range(studio.num_frames)]


def paint_all(
    runs: Mapping[str, OptimizeConfig], footage: Footage, source: FlowSource
) -> dict[str, list[Tensor]]:
    """Several single-pass runs that differ from the second frame on: the first is painted once.

    Returns:
        Frames by name, RGB (1, 3, H, W) in [0, 1], as they would be seen.
    """
    results: dict[str, list[Tensor]] = {}
    first = None
    for name, config in runs.items():
        frames = paint(config, footage, source, first)
        first = frames[0]
        results[name] = as_seen(frames)
    return results


def as_seen(frames: Iterable[Tensor]) -> list[Tensor]:
    """Clamped to [0, 1]."""
    return [frame.clamp(0, 1) for frame in frames]


def squared_change(frames: Sequence[Tensor], source: FlowSource, now: int, then: int) -> Tensor:
    """(1, 1, H, W): mean over the channels of (O_now - W(O_then))^2, on the grid of `now`."""
    seen = warp(frames[then], source.motion(now, then).flow)
    return (frames[now] - seen).square().mean(1, keepdim=True)


def rms(squares: Iterable[Tensor], masks: Iterable[Tensor]) -> float | None:
    """Root of the mean of squared values over all masked pixels; None where there is none."""
    total = area = 0.0
    for square, mask in zip(squares, masks, strict=True):
        total += float(square[mask].sum())
        area += float(mask.sum())
    return round((total / area) ** 0.5, 4) if area else None


def mask_of(visible: np.ndarray) -> Tensor:
    """(1, 1, H, W) bool of (H, W) bool."""
    return torch.from_numpy(visible)[None, None]


def write_sheet(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Rows of pictures of one size, uint8 (H, W, 3), with white between them, as one file."""
    gap = ((0, GUTTER_PX), (0, GUTTER_PX), (0, 0))
    strips = [
        np.concatenate([np.pad(image, gap, constant_values=255) for image in row], axis=1)
        for row in rows
    ]
    write_strip(path, np.concatenate(strips)[:-GUTTER_PX, :-GUTTER_PX], MAX_BYTES)
