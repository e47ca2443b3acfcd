"""Forward-backward consistency: where a flow can be trusted, and the .pgm maps that say so.

The two code bases of Ruder et al. differ (`consistencyChecker.cpp`):

| pixel                | artistic-videos (2016)          | fast-artistic-videos (2018) |
|----------------------|---------------------------------|-----------------------------|
| points outside       | 0                               | 0                           |
| inconsistent         | -255 (grows when smoothed)      | 0                           |
| on a motion boundary | 0                               | 255                         |
| afterwards           | Gaussian, sigma 0.8, clip, byte | nothing                     |
| homogeneous regions  | like all others                 | spared, given the frame     |
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastvid.motion.flow import write_whole
from fastvid.motion.warp import positions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rule:
    """Grey levels that a consistency checker gives to a pixel before smoothing."""

    inconsistent: float
    boundary: float
    smoothing_sigma_px: float  # 0 = none


RULES = {
    "ruder2016": Rule(inconsistent=-255.0, boundary=0.0, smoothing_sigma_px=0.8),
    "ruder2018": Rule(inconsistent=0.0, boundary=255.0, smoothing_sigma_px=0.0),
}

STRUCTURE_SIGMA_PX = 3.0
PGM_HEADER = re.compile(rb"P5(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")


def certainty(
    flow: Tensor, flow_reverse: Tensor, rule: str = "ruder2016", image: Tensor | None = None
) -> Tensor:
    """Trust in a flow: 1 where going along it and back by the reverse flow returns home.

    A pixel is inconsistent (disoccluded, as a rule) if, with s = flow_reverse at the end point,
    |flow + s|^2 >= 0.01 (|flow|^2 + |s|^2) + 0.5; it is on a motion boundary if the squared norm
    of the flow's gradient exceeds 0.01 |flow|^2 + 0.002 (Sundaram et al. 2010, as implemented by
    Ruder et al.; the table above says what becomes of either). An end point outside the image, or
    on its last row or column (the bilinear neighbour is outside), is not trusted.

    The value is what the authors' `reliable_*.pgm` / 255 holds. Under `ruder2016` a trusted pixel
    is 254/255: the smoothed value is cut to a byte, not rounded.

    Args:
        flow: (B, 2, H, W) dx, dy in pixels, on the grid of the result.
        flow_reverse: the opposite direction on the other frame's grid, same shape.
        rule: `"ruder2016"` or `"ruder2018"`.
        image: for `ruder2018` only: the frame on whose grid the flow lives, (B, 3, H, W) in any
            range. Where it shows no structure the tolerance rises by up to 2 square pixels.

    Returns:
        (B, 1, H, W) float32 in [0, 1], 1 = trust.

    Raises:
        ValueError: if the shapes differ, the rule is unknown or does not take an image.
    """
    if rule not in RULES:
        raise ValueError(f"certainty: rule {rule!r} is not one of {', '.join(RULES)}")
    if flow.ndim != 4 or flow.shape[1] != 2 or flow.shape != flow_reverse.shape:
        raise ValueError(
            "certainty: expected two flows (B, 2, H, W) of one shape, "
            f"found {tuple(flow.shape)} and {tuple(flow_reverse.shape)}"
        )
    tolerance: float | Tensor = 0.5
    if image is not None:
        if rule != "ruder2018":
            raise ValueError(f"certainty: rule {rule!r} takes no image; only 'ruder2018' does")
        if image.ndim != 4 or image.shape[-2:] != flow.shape[-2:] or len(image) != len(flow):
            raise ValueError(
                f"certainty: expected an image for a flow {tuple(flow.shape)}, "
                f"found {tuple(image.shape)}"
            )
    with torch.no_grad(), torch.autocast(flow.device.type, enabled=False):
        if image is not None:
            tolerance = 0.5 + _homogeneity(image.float())
        levels = _levels(flow.float(), flow_reverse.float(), RULES[rule], tolerance)
        return levels.clamp(0, 255).floor().float()[:, None] / 255


def _levels(flow: Tensor, flow_reverse: Tensor, rule: Rule, tolerance: float | Tensor) -> Tensor:
    """Grey levels (B, H, W) of the checker, before clipping."""
    outside, returned = _follow(flow, flow_reverse)
    flow_sq = flow.square().sum(1)
    difference_sq = (flow + returned).square().sum(1)
    inconsistent = difference_sq >= 0.01 * (flow_sq + returned.square().sum(1)) + tolerance

    levels = torch.full_like(flow_sq, 255.0)
    if rule.boundary != 255.0:
        boundary = _gradient_sq(flow) > 0.01 * flow_sq + 0.002
        levels.masked_fill_(boundary, rule.boundary)
    levels.masked_fill_(inconsistent, rule.inconsistent)
    levels.masked_fill_(outside, 0.0)
    return _smooth(levels, rule.smoothing_sigma_px) if rule.smoothing_sigma_px else levels


def _follow(flow: Tensor, flow_reverse: Tensor) -> tuple[Tensor, Tensor]:
    """Mask (B, H, W) of end points outside, and the reverse flow (B, 2, H, W) at the others.

    Written out rather than by `warp`: its normalised positions are rounded, which flips pixels
    that lie on an integer border.
    """
    batch, _, height, width = flow.shape
    x, y = positions(flow)
    x_floor, y_floor = x.floor(), y.floor()
    within = (x_floor >= 0) & (x_floor + 1 < width) & (y_floor >= 0) & (y_floor + 1 < height)
    a, b = (x - x_floor)[:, None], (y - y_floor)[:, None]
    # NaN and infinity are not within; index 0 keeps the look-up legal.
    column = torch.where(within, x_floor, 0).long()
    row = torch.where(within, y_floor, 0).long()
    start = (row * width + column).view(batch, 1, -1).expand(-1, 2, -1)
    source = flow_reverse.reshape(batch, 2, -1)

    def corner(offset: int) -> Tensor:
        # An image one pixel wide or high has no inside; clamp for its sake.
        index = (start + offset).clamp_(max=height * width - 1)
        return source.gather(2, index).view_as(flow)

    top = (1 - a) * corner(0) + a * corner(1)
    bottom = (1 - a) * corner(width) + a * corner(width + 1)
    return ~within, (1 - b) * top + b * bottom


def _gradient_sq(flow: Tensor) -> Tensor:
    """|grad dx|^2 + |grad dy|^2 by central differences, (B, H, W); the edge is repeated."""
    x = F.pad(flow, (1, 1, 0, 0), mode="replicate")
    y = F.pad(flow, (0, 0, 1, 1), mode="replicate")
    dx = 0.5 * (x[..., 2:] - x[..., :-2])
    dy = 0.5 * (y[..., 2:, :] - y[..., :-2, :])
    return dx.square().add_(dy.square()).sum(1)


def _smooth(levels: Tensor, sigma_px: float) -> Tensor:
    """Gaussian over 2 ceil(2 sigma) + 1 taps, x then y, the border mirrored with its edge.

    The taps are rounded to float32 as in the reference (so their sum is a hair below 1, and full
    trust becomes 254 once cut to a byte) and summed in float64: this returns the authors' maps
    byte for byte, float32 sums do not.
    """
    radius = math.ceil(2 * sigma_px)
    exponentials = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma_px**2))
    taps = exponentials.astype(np.float32)
    taps *= np.float32(1) / taps.sum()
    levels = levels.double()
    for axis in (-1, -2):
        length = levels.shape[axis]
        index = torch.arange(-radius, length + radius, device=levels.device)
        index = torch.where(index < 0, -1 - index, index)
        index = torch.where(index >= length, 2 * length - 1 - index, index).clamp(0, length - 1)
        mirrored = levels.index_select(axis, index)
        levels = torch.zeros_like(levels)
        for start, tap in enumerate(taps.tolist()):
            levels.add_(mirrored.narrow(axis, start, length), alpha=tap)
    return levels


def _homogeneity(image: Tensor) -> Tensor:
    """Extra tolerance in square pixels, (B, H, W): 2 without structure, 0 at half the mean.

    4 / S_avg * max(0, S_avg / 2 - S), with S the smaller eigenvalue of the second-moment matrix
    of the image, rescaled to [0, 1], and S_avg its mean (fast-artistic-videos, consistencyChecker).
    """
    x = F.pad(image, (1, 1, 0, 0), mode="replicate")
    y = F.pad(image, (0, 0, 1, 1), mode="replicate")
    dx = 0.5 * (x[..., 2:] - x[..., :-2])
    dy = 0.5 * (y[..., 2:, :] - y[..., :-2, :])
    moments = torch.stack((dx.square().sum(1), dy.square().sum(1), (dx * dy).sum(1)), dim=1)
    xx, yy, xy = _smooth_deriche(moments, STRUCTURE_SIGMA_PX).unbind(1)
    smaller = 0.5 * (xx + yy) - (0.25 * (xx - yy).square() + xy.square()).sqrt()
    least = smaller.amin((-2, -1), keepdim=True)
    # The rescaling divides S and S_avg alike, so only the shift to zero matters.
    structure = smaller - least
    mean = structure.mean((-2, -1), keepdim=True)
    return 4 * (0.5 - structure / mean.clamp_min(1e-20)).clamp_min(0)


def _smooth_deriche(maps: Tensor, sigma_px: float) -> Tensor:
    """Smoothing of (B, C, H, W) by k (1 + a |x|) exp(-a |x|), a = 2.5 / (sqrt(pi) sigma).

    The reference runs this kernel as a recursion (Deriche 1990); here it is cut where its rest
    is below 1e-4 and convolved, with the edge repeated.
    """
    decay = 2.5 / (math.sqrt(math.pi) * sigma_px)
    radius = math.ceil(12 / decay)
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype).abs()
    taps = (1 + decay * offsets) * torch.exp(-decay * offsets)
    taps = (taps / taps.sum())[None, None, None]
    flat = maps.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), taps)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), taps.mT)
    return flat.view_as(maps)


def read_pgm(path: str | Path) -> "NDArray[np.uint8]":
    """Grey levels of a binary 8-bit PGM file, (H, W) uint8; a reliability map holds 255 = trust.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an 8-bit P5 file or its length is wrong.
    """
    data = Path(path).read_bytes()
    header = PGM_HEADER.match(data)
    if header is None:
        raise ValueError(f"{path}: not a binary PGM file (expected P5, found {data[:2]!r})")
    width, height, maximum = (int(number) for number in header.groups())
    if maximum != 255 or width < 1 or height < 1:
        raise ValueError(
            f"{path}: expected an 8-bit PGM with maximum 255, "
            f"found {width}x{height} with maximum {maximum}"
        )
    pixels = data[header.end() :]
    if len(pixels) < width * height:
        raise ValueError(
            f"{path}: truncated PGM file, {width}x{height} needs {width * height} bytes of pixels, "
            f"found {len(pixels)}"
        )
    return np.frombuffer(pixels, np.uint8, count=width * height).reshape(height, width).copy()


def write_pgm(path: str | Path, levels: "NDArray[Any]") -> None:
    """Writes (H, W) uint8 grey levels as a binary PGM file, complete or not at all.

    Raises:
        ValueError: if the array is not (H, W) uint8.
    """
    if levels.ndim != 2 or levels.dtype != np.uint8:
        raise ValueError(f"{path}: expected uint8 (H, W), found {levels.dtype} {levels.shape}")
    height, width = levels.shape
    write_whole(Path(path), b"P5\n%d %d\n255\n" % (width, height) + levels.tobytes())
