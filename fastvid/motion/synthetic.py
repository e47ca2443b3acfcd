"""Frame pairs with exact flow and occlusion, made from stills: no video, no flow estimator.

How a pair is made: `prev` is a crop of the still, pasted over with objects (crops of another
picture under soft-edged blobs). `cur` is *defined by looking up*: a background pixel p shows the
still at p + f(p), an object's pixel shows that object at p + g(p). So flow_bwd is f or g itself,
whichever supplies the pixel, and no flow ever has to be inverted. The still is looked up beyond
the crop where it goes on there, so that a pan brings in new things rather than a smeared border.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastvid.motion.warp import inside, positions, sample, warp

SOLID = 0.98  # share of a pixel that one motion must supply, in both frames, to be certain
EDGE_PX = 1.5  # width of the ramp at the edge of an object
SMOOTH_CELL_PX = 80  # spacing of the random vectors of the smooth flow


class MotionPair(NamedTuple):
    """Two frames and what moved between them."""

    prev: Tensor  # (B, 3, H, W) in [0, 1]
    cur: Tensor  # same
    flow_bwd: Tensor  # (B, 2, H, W): dx, dy in pixels, on cur's grid, pointing to prev
    certainty: Tensor  # (B, 1, H, W): 1 where prev shows the same spot, else 0


@dataclass(frozen=True)
class Amplitude:
    """Largest motion between the two frames (standard deviation for the smooth flow)."""

    shift_px: float = 8.0
    zoom: float = 0.05  # factor 1 +- this
    rotation: float = 0.04  # radians
    smooth_px: float = 3.0
    max_objects: int = 3
    object_shift_px: float = 14.0
    still_share: float = 0.1  # of the pairs have a background that does not move at all


def random_motion(
    image: Tensor,
    generator: torch.Generator | None = None,
    size: tuple[int, int] | None = None,
    other: Tensor | None = None,
    amplitude: Amplitude | None = None,
) -> MotionPair:
    """Frame pairs from stills: pan, zoom, rotation, smooth random flow, and objects passing by.

    Every part is drawn anew for each item of the batch, about half of the parts being absent, so
    pure pans and pure zooms occur. Between the frames `warp(prev, flow_bwd)` equals `cur` where
    `certainty` is 1, up to 1 - SOLID of the contrast at the edges of objects. The smooth flow is
    the one of Wang et al. 2020 (ReReVST): Gaussian vectors on a coarse grid, interpolated.

    Args:
        image: stills, (B, 3, h, w) in [0, 1]; larger than `size` where they can be.
        generator: source of all random numbers (a CPU generator); the same state gives the same
            pairs.
        size: (H, W) of the frames, cut at a random place; by default the whole still, which then
            is continued beyond its border by repeating it (with certainty 0 there).
        other: pictures for the objects, (B, 3, any, any); by default the stills themselves,
            mirrored and passed on to the next item.
        amplitude: how much moves; default `Amplitude()`.

    Raises:
        ValueError: if a shape is wrong or the still is smaller than `size`.
    """
    size = size or (image.shape[-2], image.shape[-1])
    other = image.flip(-1).roll(1, 0) if other is None else other
    for name, pictures in (("image", image), ("other", other)):
        if pictures.ndim != 4 or pictures.shape[1] != 3 or len(pictures) != len(image):
            raise ValueError(
                f"random_motion: expected {name} ({len(image)}, 3, h, w), "
                f"found {tuple(pictures.shape)}"
            )
    if image.shape[-2] < size[0] or image.shape[-1] < size[1]:
        raise ValueError(
            f"random_motion: the still is {image.shape[-2]}x{image.shape[-1]}, smaller than the "
            f"frames {size[0]}x{size[1]}; enlarge it or ask for a smaller size"
        )
    dice = _Dice(generator)
    amplitude = amplitude or Amplitude()
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        pairs = [
            _move(still[None].float(), prop[None].float(), size, dice, amplitude)
            for still, prop in zip(image, other, strict=True)
        ]
    return MotionPair(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


class _Dice:
    """Random numbers from one generator."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator

    def span(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def whole(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self.generator))

    def chance(self, share: float) -> bool:
        return self.span(0, 1) < share

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)


def _move(
    still: Tensor, prop: Tensor, size: tuple[int, int], dice: _Dice, amplitude: Amplitude
) -> MotionPair:
    """One pair, batch of 1."""
    background = _background_flow(size, dice, amplitude).to(still.device)
    top = dice.whole(still.shape[-2] - size[0] + 1)
    left = dice.whole(still.shape[-1] - size[1] + 1)
    prev = still[..., top : top + size[0], left : left + size[1]]
    x, y = positions(background)
    cur = sample(still, x + left, y + top)

    # Share of each layer in each pixel, the background first, the nearest object last.
    flows = [background]
    prev_shares, cur_shares = [torch.ones_like(prev[:, :1])], [torch.ones_like(prev[:, :1])]
    grid_x, grid_y = positions(torch.zeros_like(background))
    for _ in range(dice.whole(amplitude.max_objects + 1)):
        blob = _Blob(size, dice)
        flow = _affine_flow(
            size,
            blob.centre,
            shift=(
                dice.span(-1, 1) * amplitude.object_shift_px,
                dice.span(-1, 1) * amplitude.object_shift_px,
            ),
            zoom=1 + dice.span(-1, 1) * amplitude.zoom,
            angle=dice.span(-1, 1) * 3 * amplitude.rotation,
        ).to(still.device)
        x, y = positions(flow)
        # Any part of the other picture will do; whole pixels keep prev sharp.
        dx = dice.whole(max(prop.shape[-1] - size[1], 0) + 1)
        dy = dice.whole(max(prop.shape[-2] - size[0], 0) + 1)
        prev_cover, cur_cover = blob.cover(grid_x, grid_y), blob.cover(x, y)
        prev = torch.lerp(prev, sample(prop, grid_x + dx, grid_y + dy), prev_cover)
        cur = torch.lerp(cur, sample(prop, x + dx, y + dy), cur_cover)
        prev_shares = [share * (1 - prev_cover) for share in prev_shares] + [prev_cover]
        cur_shares = [share * (1 - cur_cover) for share in cur_shares] + [cur_cover]
        flows.append(flow)

    flow_bwd = background
    certainty = torch.zeros_like(prev_shares[0])
    owner = torch.cat(cur_shares, dim=1).argmax(dim=1, keepdim=True)
    for index, flow in enumerate(flows):
        owned = owner == index
        flow_bwd = torch.where(owned, flow, flow_bwd)
        known = (cur_shares[index] >= SOLID) & (warp(prev_shares[index], flow) >= SOLID)
        certainty[owned & known & inside(flow)] = 1.0
    return MotionPair(prev, cur, flow_bwd, certainty)


def _background_flow(size: tuple[int, int], dice: _Dice, amplitude: Amplitude) -> Tensor:
    """Camera motion plus smooth random flow, (1, 2, H, W); each part present half of the time."""
    if dice.chance(amplitude.still_share):
        return torch.zeros(1, 2, *size)

    def part(largest: float) -> float:
        return dice.span(-largest, largest) * dice.chance(0.5)

    height, width = size
    flow = _affine_flow(
        size,
        ((width - 1) / 2, (height - 1) / 2),
        shift=(
            dice.span(-1, 1) * amplitude.shift_px,
            dice.span(-1, 1) * amplitude.shift_px * dice.chance(0.5),
        ),
        zoom=1 + part(amplitude.zoom),
        angle=part(amplitude.rotation),
    )
    if dice.chance(0.5):
        cells = (height // SMOOTH_CELL_PX + 2, width // SMOOTH_CELL_PX + 2)
        vectors = dice.normal(1, 2, *cells) * amplitude.smooth_px
        flow += F.interpolate(vectors, size, mode="bicubic", align_corners=True)
    return flow


def _affine_flow(
    size: tuple[int, int],
    centre: tuple[float, float],
    shift: tuple[float, float],
    zoom: float,
    angle: float,
) -> Tensor:
    """Backward flow (1, 2, H, W) of something that moves by `shift`, turns and grows.

    `centre` is its pivot (x, y) in prev. `angle` is clockwise on the screen.
    """
    height, width = size
    turn = torch.tensor(angle)
    cos, sin = float(turn.cos()) / zoom, float(turn.sin()) / zoom
    x = torch.arange(width, dtype=torch.float32) - centre[0] - shift[0]
    y = (torch.arange(height, dtype=torch.float32) - centre[1] - shift[1])[:, None]
    dx = (cos - 1) * x + sin * y - shift[0]
    dy = (cos - 1) * y - sin * x - shift[1]
    return torch.stack((dx.expand(height, width), dy.expand(height, width)))[None]


class _Blob:
    """A round shape with a wavy outline, somewhere in the frame."""

    def __init__(self, size: tuple[int, int], dice: _Dice) -> None:
        height, width = size
        self.radius = min(size) * dice.span(0.08, 0.28)
        self.centre = (dice.span(0, width - 1), dice.span(0, height - 1))
        self.waves = [dice.span(-0.18, 0.18) for _ in range(4)]

    def cover(self, x: Tensor, y: Tensor) -> Tensor:
        """Coverage (B, 1, H, W) in [0, 1] at positions (B, H, W)."""
        u, v = x - self.centre[0], y - self.centre[1]
        distance = torch.hypot(u, v).clamp_min(1e-3)
        u, v = u / distance, v / distance
        uu, vv = u * u, v * v
        a, b, c, d = self.waves
        # Cosines and sines of two and three times the angle.
        outline = 1 + a * (uu - vv) + 2 * b * u * v + c * u * (uu - 3 * vv) + d * v * (3 * uu - vv)
        return (0.5 - (distance - self.radius * outline) / EDGE_PX).clamp(0, 1)[:, None]
