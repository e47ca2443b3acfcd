"""Procedural clips with exact backward flow and occlusion, from a seed, with numpy alone.

A scene is a stack of flat painted layers (`landscape`, `collage`) under a camera. Every layer moves
by an affine map per frame, so the flow between any two frames is known exactly, and so is what
hides what. Frames, flow and masks are functions of the frame number: no state, any order, no end.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvid.motion.collage import collage
from fastvid.motion.landscape import landscape
from fastvid.motion.painting import Layer
from fastvid.motion.palettes import PALETTES

PAN, ZOOM, ANGLE, SHAKE = 0.18, 1.3, 0.07, 0.012  # largest excursions: heights, factor, radians

CACHED_FRAMES = 4  # a pair and its neighbours: flow and mask need the layers of both frames
SOLID = 0.95  # share of a pixel's colour that one layer must supply for its flow to count


@dataclass(frozen=True)
class View:
    """Camera at one frame: pan in frame heights, zoom factor, turn in radians."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    angle: float = 0.0


def _sway(t: float, period: float, phase: float = 0.0) -> float:
    return math.sin(2 * math.pi * t / period + phase)


CAMERAS: dict[str, Callable[[float], View]] = {
    "static": lambda t: View(),
    "pan": lambda t: View(x=PAN * _sway(t, 180)),
    "zoom": lambda t: View(zoom=1 + (ZOOM - 1) * (0.5 - 0.5 * _sway(t, 160, math.pi / 2))),
    "rotation": lambda t: View(angle=ANGLE * _sway(t, 120)),
    "drift": lambda t: View(
        x=PAN * _sway(t, 420, -0.7),
        y=0.015 * _sway(t, 300),
        zoom=1.07 - 0.06 * _sway(t, 360, math.pi / 2),
        angle=0.008 * _sway(t, 250),
    ),
    "shake": lambda t: View(
        x=SHAKE * (_sway(t, 11) + 0.5 * _sway(t, 4.3, 1.0)),
        y=SHAKE * (_sway(t, 13.7, 2.0) + 0.5 * _sway(t, 5.1)),
        zoom=1.02,
        angle=0.006 * _sway(t, 17),
    ),
}

KINDS = ("landscape", "collage")


@dataclass(frozen=True)
class Options:
    """What a named scene adds to the picture; see `Scene` for the meaning."""

    seed: int = 1
    kind: str = "landscape"
    camera: str = "drift"
    palette: str = "day"
    lighting: float = 0.0
    noise_std: float = 0.0


NAMED = {
    "demo": Options(seed=1),
    "static": Options(seed=11, camera="static", palette="golden"),
    "pan": Options(seed=12, camera="pan"),
    "zoom": Options(seed=13, camera="zoom", palette="autumn"),
    "rotation": Options(seed=14, camera="rotation", palette="dusk"),
    "shake": Options(seed=15, camera="shake", palette="golden"),
    "occluder": Options(seed=21, kind="collage", camera="static"),
    "lighting": Options(seed=17, camera="static", lighting=0.25),
    "noise": Options(seed=18, camera="static", noise_std=4.0, palette="autumn"),
}
NAMES = tuple(NAMED)


@dataclass(frozen=True)
class _Raster:
    """A frame before light and noise, and which layer each of its pixels shows."""

    color: NDArray[np.float32]  # (H W, 3), 0..255
    owner: NDArray[np.int16]  # (H, W) index of the layer that supplies most of the colour
    solid: NDArray[np.bool_]  # (H, W) True where it supplies at least SOLID of it


class Scene:
    """A clip of any length: frames, exact flow and what is visible in both frames of a pair.

    Args:
        seed: decides on layout, textures and objects; the same seed gives the same scene.
        size: (H, W) of the frames. The layout does not depend on it.
        kind: `"landscape"` (an illustrated view) or `"collage"` (textured patches).
        camera: a name in `CAMERAS`.
        palette: a name in `palettes.PALETTES`; by default the seed decides.
        lighting: the brightness swings by 1 +- this, over 100 frames. Flow is not affected.
        noise_std: standard deviation of Gaussian sensor noise, in grey levels of 255.
        complete: a landscape with every object; otherwise some stay away and the colours vary.

    Raises:
        ValueError: if a name is unknown or the frame is smaller than 16x16.
    """

    def __init__(
        self,
        seed: int = 1,
        size: tuple[int, int] = (360, 640),
        kind: str = "landscape",
        camera: str = "drift",
        palette: str | None = None,
        lighting: float = 0.0,
        noise_std: float = 0.0,
        complete: bool = True,
    ) -> None:
        for what, name, names in (
            ("kind", kind, KINDS),
            ("camera", camera, CAMERAS),
            ("palette", palette or "day", PALETTES),
        ):
            if name not in names:
                raise ValueError(f"scene: {what} {name!r} is not one of {', '.join(names)}")
        if min(size) < 16:
            raise ValueError(f"scene: expected at least 16x16 pixels, found {size[0]}x{size[1]}")
        self.size = size
        self.lighting = lighting
        self.noise_std = noise_std
        self._seed = seed
        self._camera = CAMERAS[camera]
        self._cache: OrderedDict[int, _Raster] = OrderedDict()
        rng = np.random.default_rng(seed)
        drawn = str(rng.choice(list(PALETTES)))  # drawn in any case: the layout stays the same
        palette = palette or drawn
        # What the camera may see at most: half the frame, turned and panned.
        half_width = size[1] / (2 * size[0])
        reach = (half_width + PAN + 0.5 * ANGLE + 0.02, 0.5 + half_width * ANGLE + 2 * SHAKE + 0.02)
        self.layers: list[Layer] = (
            collage(rng, size[0], reach)
            if kind == "collage"
            else landscape(rng, size[0], reach, PALETTES[palette], complete)
        )

    def frame(self, t: int) -> NDArray[np.uint8]:
        """Frame t, (H, W, 3) uint8 RGB. Any integer t, negative ones too."""
        gain = 1 + self.lighting * _sway(t, 100)
        picture = self._raster(t).color * np.float32(gain)
        if self.noise_std:
            # Seeds must not be negative.
            rng = np.random.default_rng((self._seed, t % (1 << 32), 1))
            picture += self.noise_std * rng.standard_normal(picture.shape, np.float32)
        return (picture + 0.5).clip(0, 255).astype(np.uint8).reshape(*self.size, 3)

    def flow_bwd(self, t: int, gap: int = 1) -> NDArray[np.float32]:
        """Motion from frame t to frame t - gap, on the grid of frame t.

        Exact for the layer that supplies most of the pixel's colour.

        Returns:
            (H, W, 2) float32: dx (right +), dy (down +), in pixels.
        """
        raster = self._raster(t)
        flow = np.empty((*self.size, 2), np.float32)
        y, x = np.divmod(np.arange(self.size[0] * self.size[1]), self.size[1])
        owners = raster.owner.ravel()
        moves = np.array(
            [
                self._to_frame(layer, t - gap) @ np.linalg.inv(self._to_frame(layer, t)) - np.eye(3)
                for layer in self.layers
            ]
        )
        moves[np.abs(moves) < 1e-9] = 0  # what stands still has no motion, not a rounding error
        moves = moves[:, :2].astype(np.float32)
        x, y = x.astype(np.float32), y.astype(np.float32)
        for channel in (0, 1):
            a, b, c = (moves[:, channel, k].take(owners) for k in range(3))
            flow[..., channel] = (a * x + b * y + c).reshape(self.size)
        return flow

    def visible(self, t: int, gap: int = 1) -> NDArray[np.bool_]:
        """True where frame t - gap shows the same spot: warping it by `flow_bwd` gives frame t.

        False where the spot is covered or out of the frame at t - gap, and where the edge of a
        layer mixes two motions in one pixel (in frame t, or among the four pixels that a bilinear
        sample of frame t - gap takes).

        Returns:
            (H, W) bool.
        """
        height, width = self.size
        now, then = self._raster(t), self._raster(t - gap)
        flow = self.flow_bwd(t, gap)
        x = flow[..., 0] + np.arange(width, dtype=np.float32)
        y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        # A still pixel comes back within rounding of its own position.
        slack = 1e-3
        inside = (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack)
        inside &= y <= height - 1 + slack
        label = np.where(then.solid, then.owner, -1)
        visible = inside & now.solid
        for shift_y in (slack, 1 - slack):
            row = np.floor(y + shift_y).clip(0, height - 1).astype(np.intp)
            for shift_x in (slack, 1 - slack):
                column = np.floor(x + shift_x).clip(0, width - 1).astype(np.intp)
                visible &= label[row, column] == now.owner
        return visible

    def _to_frame(self, layer: Layer, t: float) -> NDArray[np.float64]:
        """Layer coordinates to pixels of frame t, 3x3."""
        view = self._camera(t)
        height, width = self.size
        cos, sin = view.zoom * math.cos(view.angle), view.zoom * math.sin(view.angle)
        shift = np.array([[1, 0, -layer.parallax * view.x], [0, 1, -layer.parallax * view.y],
                          [0, 0, 1]])  # fmt: skip
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        pixels = np.array([[height, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1]])
        return np.asarray(pixels @ turn @ shift @ layer.motion.matrix(t))

    def _raster(self, t: int) -> _Raster:
        if t not in self._cache:
            self._cache[t] = self._render(t)
            while len(self._cache) > CACHED_FRAMES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(t)
        return self._cache[t]

    def _render(self, t: int) -> _Raster:
        """Draws the layers front to back, so that hidden texels are never looked up."""
        height, width = self.size
        color = np.zeros((height * width, 3), np.float32)
        through = np.ones(height * width, np.float32)  # light not yet taken by nearer layers
        largest = np.zeros(height * width, np.float32)
        owner = np.zeros(height * width, np.int16)
        for index in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[index]
            pixels, texels = _sample(layer, self._to_frame(layer, t), self.size, through)
            if not pixels.size:
                continue
            left = through[pixels]
            share = texels[:, 3] * left
            color[pixels] += texels[:, :3] * left[:, None]
            through[pixels] = left - share
            nearer = largest[pixels]
            owner[pixels[share > nearer]] = index
            largest[pixels] = np.maximum(nearer, share)
        solid = (largest >= SOLID).reshape(self.size)
        return _Raster(color * 255, owner.reshape(self.size), solid)


def _sample(
    layer: Layer, to_frame: NDArray[np.float64], size: tuple[int, int], through: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Bilinear texels (n, 4) in [0, 1] of a layer at the pixels that it touches and that are open.

    Pixels are indices into the flattened frame. Outside of its canvas a layer is transparent.
    """
    height, width = size
    rows, columns = layer.texels.shape[:2]
    scale, (left, top) = layer.density, layer.origin
    canvas = np.array([[scale, 0, -scale * left - 0.5], [0, scale, -scale * top - 0.5], [0, 0, 1]])
    to_texel = canvas @ np.linalg.inv(to_frame)
    corners = np.array([[0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1], [1] * 4])
    reach = (np.linalg.inv(to_texel) @ corners)[:2]
    x0, y0 = np.maximum(np.floor(reach.min(axis=1)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(reach.max(axis=1)).astype(int) + 1, (width, height))
    nothing = np.empty(0, np.intp), np.empty((0, 4), np.float32)
    if x0 >= x1 or y0 >= y1:
        return nothing
    x = np.arange(x0, x1, dtype=np.float32)
    y = np.arange(y0, y1, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f) = to_texel[:2].astype(np.float32)
    u, v = a * x + (b * y + c), d * x + (e * y + f)
    wanted = through.reshape(size)[y0:y1, x0:x1] > 1 / 512
    wanted &= (u >= 0) & (u < columns - 1) & (v >= 0) & (v < rows - 1)
    inner = np.flatnonzero(wanted)
    if not inner.size:
        return nothing
    u, v = u.ravel()[inner], v.ravel()[inner]
    column, row = u.astype(np.int32), v.astype(np.int32)
    u -= column
    v -= row
    # One 32-bit look-up fetches the four channels of a texel.
    packed = layer.texels.view(np.uint32).ravel()
    start = row * columns + column

    def fetch(offset: int) -> NDArray[np.float32]:
        texels = packed.take(start + offset).view(np.uint8).reshape(-1, 4)
        return texels.astype(np.float32)

    u, v = u[:, None], v[:, None]
    upper, lower = fetch(0), fetch(columns)
    upper += u * (fetch(1) - upper)
    lower += u * (fetch(columns + 1) - lower)
    upper += v * (lower - upper)
    upper *= np.float32(1 / 255)
    y_inner, x_inner = np.divmod(inner, x1 - x0)
    return (y_inner + y0) * width + (x_inner + x0), upper


def make(name: str, size: tuple[int, int] = (360, 640)) -> Scene:
    """A scene of the fixed set by its name (`NAMES`): what `evaluate` and `benchmark` run on.

    Raises:
        ValueError: if there is no such name.
    """
    if name not in NAMED:
        raise ValueError(f"scene: {name!r} is not one of {', '.join(NAMES)}")
    return Scene(size=size, **vars(NAMED[name]))


def random_scene(rng: np.random.Generator, size: tuple[int, int] = (256, 256)) -> Scene:
    """A scene for training: kind, camera, palette, light and noise drawn from `rng`."""
    settings: dict[str, Any] = {
        "seed": int(rng.integers(1 << 31)),
        "kind": str(rng.choice(KINDS)),
        "camera": str(rng.choice(list(CAMERAS))),
        "palette": str(rng.choice(list(PALETTES))),
        "lighting": float(rng.choice((0.0, 0.1, 0.2))),
        "noise_std": float(rng.choice((0.0, 0.0, 2.0, 5.0))),
        "complete": False,
    }
    return Scene(size=size, **settings)


def demo_frames(
    num_frames: int = 120, size: tuple[int, int] = (360, 640)
) -> Iterator[NDArray[np.uint8]]:
    """The clip that `infer.py --demo` paints: frames (H, W, 3) uint8 RGB, one at a time."""
    scene = make("demo", size)
    for t in range(num_frames):
        yield scene.frame(t)
