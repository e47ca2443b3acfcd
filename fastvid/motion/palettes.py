"""Colours of the generated landscapes."""

from dataclasses import dataclass, fields

import numpy as np

from fastvid.motion.painting import Color


@dataclass(frozen=True)
class Palette:
    """Colours of a time of day and a season."""

    zenith: Color
    horizon: Color
    sun: Color
    cloud: Color
    cloud_shade: Color
    far: Color
    hill: Color
    leaf: Color
    meadow: Color
    meadow_shade: Color
    water: Color
    flowers: tuple[Color, ...]


PALETTES = {
    "day": Palette(
        (0.16, 0.42, 0.78), (0.80, 0.89, 0.93), (1.0, 0.95, 0.72), (0.99, 0.98, 0.95),
        (0.66, 0.74, 0.85), (0.42, 0.53, 0.68), (0.36, 0.55, 0.32), (0.19, 0.42, 0.17),
        (0.60, 0.70, 0.26), (0.22, 0.42, 0.15), (0.15, 0.37, 0.55),
        ((0.88, 0.18, 0.16), (0.98, 0.85, 0.25), (0.97, 0.96, 0.93), (0.56, 0.33, 0.72)),
    ),
    "golden": Palette(
        (0.25, 0.34, 0.62), (0.99, 0.76, 0.46), (1.0, 0.90, 0.58), (1.0, 0.86, 0.70),
        (0.70, 0.50, 0.55), (0.47, 0.41, 0.56), (0.42, 0.42, 0.28), (0.26, 0.31, 0.14),
        (0.70, 0.58, 0.22), (0.30, 0.31, 0.12), (0.25, 0.33, 0.48),
        ((0.93, 0.36, 0.18), (0.99, 0.80, 0.30), (0.98, 0.90, 0.78), (0.72, 0.30, 0.48)),
    ),
    "autumn": Palette(
        (0.33, 0.50, 0.72), (0.91, 0.87, 0.79), (1.0, 0.94, 0.78), (0.97, 0.95, 0.92),
        (0.67, 0.68, 0.74), (0.46, 0.48, 0.58), (0.62, 0.45, 0.22), (0.74, 0.36, 0.11),
        (0.72, 0.61, 0.27), (0.42, 0.32, 0.14), (0.21, 0.35, 0.44),
        ((0.80, 0.25, 0.12), (0.92, 0.66, 0.18), (0.90, 0.86, 0.74), (0.52, 0.22, 0.26)),
    ),
    "dusk": Palette(
        (0.12, 0.12, 0.32), (0.86, 0.50, 0.49), (1.0, 0.76, 0.56), (0.75, 0.53, 0.62),
        (0.34, 0.30, 0.50), (0.27, 0.25, 0.43), (0.20, 0.27, 0.32), (0.12, 0.22, 0.21),
        (0.31, 0.39, 0.30), (0.12, 0.20, 0.19), (0.19, 0.21, 0.40),
        ((0.83, 0.34, 0.40), (0.93, 0.72, 0.45), (0.85, 0.80, 0.86), (0.47, 0.33, 0.66)),
    ),
}  # fmt: skip


def tinted(palette: Palette, rng: np.random.Generator) -> Palette:
    """The palette under another light."""
    light, spread = rng.uniform(0.8, 1.1, 3), 0.06

    def tint(color: Color) -> Color:
        red, green, blue = np.clip(color * light + rng.normal(0, spread, 3), 0, 1)
        return float(red), float(green), float(blue)

    colors = {item.name: getattr(palette, item.name) for item in fields(palette)}
    flowers = tuple(tint(color) for color in colors.pop("flowers"))
    return Palette(flowers=flowers, **{name: tint(color) for name, color in colors.items()})
