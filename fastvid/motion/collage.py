"""Layers of pure texture for `scenes`: training data without a subject."""

import math

import numpy as np

from fastvid.motion.painting import Array, Canvas, Layer, Motion, disc, mix, polygon, step


def collage(rng: np.random.Generator, height_px: int, reach: tuple[float, float]) -> list[Layer]:
    """Layers of pure texture: a ground and a few ragged patches that cross it.

    Made for training data: spectra from smooth to rough, any colours, objects that turn.
    """
    wide, tall = reach
    ground = Canvas((-wide, -tall, wide, tall), height_px, rng)
    ground.paint(1.0, _texture(ground))
    layers = [ground.layer(parallax=rng.uniform(0.2, 0.6))]
    for depth in np.sort(rng.uniform(0.3, 1.0, rng.integers(2, 7))):
        size = rng.uniform(0.08, 0.3)
        canvas = Canvas((-1.5 * size, -1.5 * size, 1.5 * size, 1.5 * size), height_px, rng)
        ragged = size * rng.uniform(0.02, 0.12) * canvas.noise(0.8 / size, 4, rng.uniform(0.3, 0.7))
        shape = disc(canvas.x, canvas.y, size, rng.uniform(0.5, 1.0)) + ragged
        if rng.random() < 0.4:
            turns = np.sort(rng.uniform(0, 2 * math.pi, 5))
            corners = [(size * math.cos(a), size * math.sin(a)) for a in turns]
            shape = polygon(canvas.x, canvas.y, corners)
        canvas.paint(canvas.cover(shape), _texture(canvas))
        motion = Motion(
            start=(rng.uniform(-0.8, 0.8) * wide, rng.uniform(-0.4, 0.4)),
            velocity=(rng.normal(0, 0.006), 0), swing=tuple(rng.normal(0, 0.08, 2)),
            period=rng.uniform(50, 150), phase=rng.uniform(0, 6), sway=rng.normal(0, 0.2),
            spin=rng.normal(0, 0.006), wrap=wide + 1.6 * size,
        )  # fmt: skip
        layers.append(canvas.layer(float(depth), motion))
    return layers


def _texture(canvas: Canvas) -> Array:
    """Three random colours mixed by two noises of random roughness and direction."""
    rng = canvas.rng
    colors = rng.uniform(0.03, 0.97, (3, 3)).astype(np.float32)
    # As pale as real things are: full saturation is rare outside of collages.
    colors += rng.beta(2, 1.5) * (colors.mean(axis=1, keepdims=True) - colors)
    waves = rng.uniform(1.5, 14) * np.exp(rng.uniform(-0.7, 0.7, 2))
    gain = rng.uniform(0.35, 0.95)
    rough = canvas.noise((float(waves[0]), float(waves[1])), 6, gain)
    color = mix(tuple(colors[0]), tuple(colors[1]), 0.5 + 0.35 * rough)
    broad = step(canvas.noise(float(rng.uniform(1, 5)), 3), -0.3, rng.uniform(0, 1.2))
    grain = canvas.noise(float(rng.uniform(12, 60)), 4, 0.9) * rng.uniform(0, 0.2)
    return mix(color, tuple(colors[2]), broad) * (1 + grain)[..., None]
