"""A canvas, its brushes and textures: what the pictures of `landscape` are painted with.

World units are frame heights: the frame spans [-W/2H, W/2H] x [-0.5, 0.5], y downwards. A layer is
a picture with straight alpha on its own canvas; `scenes` moves and stacks them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Color = tuple[float, float, float]

OVERSAMPLING = 1.5  # texels per pixel of the frame; keeps bilinear sampling from shimmering
EDGE_TEXELS = 1.5  # width of an anti-aliased edge: one pixel
TILE = 256  # side of the periodic noise that all textures are summed from
TILE_WAVES = 24  # its wave length is TILE / TILE_WAVES texels


@dataclass(frozen=True)
class Motion:
    """Pose of a layer over time, in world units and frames; every part is optional.

    position = start + velocity t + swing sin(2 pi t / period + phase), wrapped to +-`wrap` in x;
    angle = sway sin(...) + spin t; height scaled by 1 - flap (1 + sin(...)) / 2.
    """

    start: tuple[float, float] = (0.0, 0.0)
    velocity: tuple[float, float] = (0.0, 0.0)
    swing: tuple[float, float] = (0.0, 0.0)
    period: float = 60.0
    phase: float = 0.0
    sway: float = 0.0
    spin: float = 0.0
    flap: float = 0.0
    wrap: float = 0.0

    def matrix(self, t: float) -> NDArray[np.float64]:
        """Layer coordinates to world coordinates at frame t, 3x3."""
        wave = math.sin(2 * math.pi * t / self.period + self.phase)
        x = self.start[0] + self.velocity[0] * t + self.swing[0] * wave
        y = self.start[1] + self.velocity[1] * t + self.swing[1] * wave
        if self.wrap:
            x = (x + self.wrap) % (2 * self.wrap) - self.wrap
        angle = self.sway * wave + self.spin * t
        tall = 1 - self.flap * (1 + wave) / 2
        cos, sin = math.cos(angle), math.sin(angle)
        return np.array([[cos, -sin * tall, x], [sin, cos * tall, y], [0, 0, 1]])


@dataclass(frozen=True)
class Layer:
    """A painted canvas with its place in depth and its motion.

    `texels` is (h, w, 4) uint8, colour premultiplied by alpha; texel (0, 0) is centred half a texel
    right of and below `origin`. `parallax` is the share of the camera's pan that it follows.
    """

    texels: NDArray[np.uint8]
    origin: tuple[float, float]
    density: float
    parallax: float
    motion: Motion = field(default_factory=Motion)


class Canvas:
    """A transparent rectangle of the world to paint on; x is (1, w), y is (h, 1)."""

    def __init__(
        self, box: tuple[float, float, float, float], height_px: int, rng: np.random.Generator
    ) -> None:
        left, top, right, bottom = box
        self.origin = (left, top)
        self.height_px = height_px
        self.density = OVERSAMPLING * height_px
        columns = max(2, math.ceil((right - left) * self.density))
        rows = max(2, math.ceil((bottom - top) * self.density))
        self.x: Array = (left + (np.arange(columns, dtype=np.float32) + 0.5) / self.density)[None]
        self.y: Array = (top + (np.arange(rows, dtype=np.float32) + 0.5) / self.density)[:, None]
        self.color: Array = np.zeros((rows, columns, 3), np.float32)
        self.alpha: Array = np.zeros((rows, columns), np.float32)
        self.rng = rng
        self.tile = _noise_tile(rng)

    def cover(self, distance: Array) -> Array:
        """Coverage in [0, 1] of a shape given by its signed distance (inside < 0)."""
        return np.clip(0.5 - distance * (self.density / EDGE_TEXELS), 0, 1)

    def paint(
        self, coverage: Array | float, color: Array | Color, area: tuple[slice, slice] | None = None
    ) -> None:
        """Lays a colour over the canvas where coverage says so."""
        rows, columns = area or (slice(None), slice(None))
        below, alpha = self.color[rows, columns], self.alpha[rows, columns]
        coverage = np.broadcast_to(np.asarray(coverage, np.float32), alpha.shape)
        result = coverage + alpha * (1 - coverage)
        share = coverage / np.maximum(result, 1e-6)
        below += share[..., None] * (np.asarray(color, np.float32) - below)
        alpha[...] = result

    def area(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """The texels within a square around a point: small things need no full canvas."""
        column, row = (x - self.origin[0]) * self.density, (y - self.origin[1]) * self.density
        reach = radius * self.density + 2

        def cut(centre: float, length: int) -> slice:
            start = min(max(int(centre - reach), 0), length)
            return slice(start, max(start, min(int(centre + reach) + 1, length)))

        return cut(row, self.y.size), cut(column, self.x.size)

    def noise(
        self,
        waves: float | tuple[float, float],
        octaves: int = 5,
        gain: float = 0.55,
        rows: Array | None = None,
    ) -> Array:
        """Fractal noise with standard deviation near 1, (h, w).

        `waves` per unit length (x, y) in the coarsest octave; finer ones double it until three
        pixels hold a wave: anything finer would shimmer. `rows` replaces y (perspective).
        """
        waves_x, waves_y = (waves, waves) if isinstance(waves, float | int) else waves
        total = np.zeros_like(self.alpha)
        finest = self.height_px / 3
        y = self.y if rows is None else rows
        # Shifts and weights of all octaves, drawn or not: the layout is the same at any size.
        shifts = self.rng.uniform(0, TILE, (octaves, 2))
        weights = gain ** np.arange(octaves)
        weights /= math.sqrt(float((weights**2).sum()))
        for octave, (shift, weight) in enumerate(zip(shifts, weights, strict=True)):
            if max(waves_x, waves_y) * 2**octave > finest and octave:
                break
            scale = 2**octave * TILE / TILE_WAVES
            total += np.float32(weight) * _stretch(
                self.tile,
                y[:, 0] * waves_y * scale + shift[0],
                self.x[0] * waves_x * scale + shift[1],
            )
        return total

    def profile(self, waves: float, octaves: int = 5, gain: float = 0.5) -> Array:
        """One-dimensional fractal noise along x, (1, w): the line of a ridge."""
        total = np.zeros_like(self.x)
        weight = 1.0
        for octave in range(octaves):
            row = self.tile[self.rng.integers(TILE)][None]
            at = self.x[0] * waves * 2**octave * TILE / TILE_WAVES + self.rng.uniform(0, TILE)
            total += weight * _stretch(row, np.zeros(1, np.float32), at)
            weight *= gain
        return total

    def layer(self, parallax: float, motion: Motion | None = None) -> Layer:
        """The finished picture."""
        picture = np.dstack((self.color.clip(0, 1) * self.alpha[..., None], self.alpha))
        texels = (picture * 255 + 0.5).astype(np.uint8)
        return Layer(texels, self.origin, self.density, parallax, motion or Motion())


def _noise_tile(rng: np.random.Generator) -> Array:
    """Periodic (TILE, TILE) noise of one wave length, unit variance."""
    fy, fx = np.fft.fftfreq(TILE)[:, None] * TILE, np.fft.rfftfreq(TILE)[None] * TILE
    band = np.exp(-(((np.hypot(fy, fx) - TILE_WAVES) / (TILE_WAVES / 3)) ** 2))
    tile = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((TILE, TILE))) * band)
    return (tile / tile.std()).astype(np.float32)


def _stretch(tile: Array, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> Array:
    """Bilinear samples of a periodic tile on the grid rows x columns."""

    def weights(at: NDArray[np.floating], length: int) -> tuple[NDArray[np.intp], Array]:
        floor = np.floor(at)
        return floor.astype(np.intp) % length, (at - floor).astype(np.float32)

    row, v = weights(rows, tile.shape[0])
    column, u = weights(columns, tile.shape[1])
    tall = tile[row] + v[:, None] * (tile[(row + 1) % tile.shape[0]] - tile[row])
    wide = tall[:, column]
    wide += u * (tall[:, (column + 1) % tile.shape[1]] - wide)
    return wide


def mix(a: Array | Color, b: Array | Color, share: Array | float) -> Array:
    """Colour a where share is 0, b where it is 1; an (h, w) share gives (h, w, 3)."""
    share = np.asarray(share, np.float32).clip(0, 1)
    share = share[..., None] if share.ndim == 2 else share
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return first + share * (second - first)


def step(value: Array, low: float, high: float) -> Array:
    """Smooth step from 0 at low to 1 at high."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def disc(x: Array, y: Array, radius: float, squash: float = 1.0) -> Array:
    """Signed distance (exact for squash 1) to an ellipse around 0, `squash` times as high."""
    return (np.hypot(x, y / squash) - radius) * np.float32(min(1.0, squash))


def polygon(x: Array, y: Array, corners: Sequence[tuple[float, float]]) -> Array:
    """Signed distance bound of a convex polygon, corners clockwise on the screen."""
    distance = np.full(np.broadcast(x, y).shape, -np.inf, np.float32)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = math.hypot(bx - ax, by - ay)
        edge = ((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
        distance = np.maximum(distance, edge)
    return distance
