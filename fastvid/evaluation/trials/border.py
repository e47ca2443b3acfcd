"""Single pass against multi-pass where a pan brings new content into view.

Every frame shows a strip that the frame before did not. Looked at is its contrast, the standard
deviation of its luma in [0, 1]: of the strips at first sight, and in the last frame of all that
came into view. The yardstick is one painting of the whole panorama, in which the same pixels lie
far from any border; what was in view from the first frame on shows what a method does elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvid.evaluation.exact import ExactFlow, Frames
from fastvid.evaluation.trials.bench import (
    Options,
    as_seen,
    mask_of,
    paint,
    rms,
    settings,
    squared_change,
    write_sheet,
)
from fastvid.image import resize_image, to_array
from fastvid.motion import scenes
from fastvid.perceptual.losses import luminance

SPEED = 1 / 8  # frame widths per frame


class Pan:
    """A window that moves to the right over one still picture, by whole pixels.

    Attributes:
        whole: the picture, uint8 (H, W + speed_px (num_frames - 1), 3).
        speed_px: pixels per frame.
    """

    def __init__(self, size: tuple[int, int], num_frames: int) -> None:
        height, self._width = size
        self.speed_px = round(SPEED * self._width)
        wide = self._width + self.speed_px * (num_frames - 1)
        self.whole = scenes.make("occluder", (height, wide)).frame(0)

    def columns(self, t: int) -> slice:
        """Of the picture, in view at frame t."""
        return slice(self.speed_px * t, self.speed_px * t + self._width)

    def frame(self, t: int) -> NDArray[np.uint8]:
        """Frame t, (H, W, 3)."""
        return self.whole[:, self.columns(t)]

    def flow(self, current: int, other: int) -> NDArray[np.float32]:
        """Motion from frame `current` to frame `other` on the grid of the former, (H, W, 2) px."""
        flow = np.zeros((len(self.whole), self._width, 2), np.float32)
        flow[..., 0] = self.speed_px * (current - other)
        return flow

    def visible(self, current: int, other: int) -> NDArray[np.bool_]:
        """True where frame `other` shows what frame `current` shows there, (H, W)."""
        x = np.arange(self._width) + self.speed_px * (current - other)
        return np.tile((x >= 0) & (x < self._width), (len(self.whole), 1))


def border(options: Options, num_passes: int) -> dict[str, Any]:
    """Figures, and a sheet: source, single, multi, no border; last frame above, strips below.

    Args:
        options: `iterations` are those of a frame over all passes: single pass gets as many.
        num_passes: of the multi-pass run; the second half has the temporal loss.
    """
    pan = Pan(options.size, options.frames)
    footage = Frames([pan.frame(t) for t in range(options.frames)])
    source = ExactFlow(pan.flow, pan.visible)
    per_pass = max(1, options.iterations // num_passes)
    multi = settings(
        options,
        passes="multi",
        init=options.init,
        num_passes=num_passes,
        num_iterations=per_pass,
        temporal_weight=500.0,
        use_temporal_loss_after=num_passes // 2 + 1,
    )
    runs = {
        "single": as_seen(paint(settings(options), footage, source)),
        "multi": as_seen(paint(multi, footage, source)),
        "no_border": _without_border(options, pan),
    }
    figures: dict[str, Any] = {"iterations_per_pass": per_pass, "strip_width_px": pan.speed_px}
    pairs = [(t, t - 1) for t in range(1, options.frames)]
    entered = pan.speed_px * len(pairs)
    for name, frames in runs.items():
        strips = [contrast(frame[..., -pan.speed_px :]) for frame in frames[1:]]
        figures[name] = {
            "contrast_of_strips": round(sum(strips) / len(strips), 4),
            "contrast_of_entered": round(contrast(frames[-1][..., -entered:]), 4),
            "contrast_of_the_rest": round(contrast(frames[-1][..., :-entered]), 4),
            "e_warp": rms(
                [squared_change(frames, source, *pair) for pair in pairs],
                [mask_of(pan.visible(*pair)) for pair in pairs],
            ),
        }
    if options.picture:
        columns = [
            [pan.frame(t) for t in range(options.frames)],
            *([to_array(frame)[0] for frame in frames] for frames in runs.values()),
        ]
        write_sheet(
            options.picture,
            [[frames[-1] for frames in columns], [_enlarged_strips(pan, f) for f in columns]],
        )
    return figures


def _without_border(options: Options, pan: Pan) -> list[Tensor]:
    """The frames cut out of one painting of the whole picture."""
    # the painting's area follows the frame's: its strokes must not grow with the panorama
    scale = (options.size[1] / pan.whole.shape[1]) ** 0.5
    config = settings(options, method="independent", style_scale=scale)
    (whole,) = as_seen(paint(config, Frames([pan.whole]), ExactFlow(pan.flow, pan.visible)))
    return [whole[..., pan.columns(t)] for t in range(options.frames)]


def contrast(image: Tensor) -> float:
    """Standard deviation of the luma of RGB (1, 3, H, W) in [0, 1]."""
    return float(luminance(image).std())


def _enlarged_strips(pan: Pan, frames: Sequence[np.ndarray]) -> np.ndarray:
    """The panorama as it came into view, strip by strip; its middle, as large as a frame."""
    strips = np.concatenate([frame[:, -pan.speed_px :] for frame in frames[1:]], axis=1)
    height, width = frames[0].shape[:2]
    rows = min(height, round(strips.shape[1] * height / width))
    top = (height - rows) // 2
    return resize_image(strips[top : top + rows], size=(height, width))
