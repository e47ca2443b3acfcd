"""An illustrated landscape for `scenes`, in layers."""

import math

import numpy as np

from fastvid.motion.painting import (
    Array,
    Canvas,
    Layer,
    Motion,
    disc,
    mix,
    polygon,
    step,
)
from fastvid.motion.palettes import Palette, tinted


def landscape(
    rng: np.random.Generator,
    height_px: int,
    reach: tuple[float, float],
    palette: Palette,
    complete: bool = True,
) -> list[Layer]:
    """Layers of a landscape, the farthest first.

    Args:
        rng: decides on layout, textures and objects.
        height_px: rows of the frame; canvases are painted for this resolution.
        reach: half width and half height of the world that the camera may see.
        palette: its colours.
        complete: with every object; otherwise some stay away and the colours vary.
    """
    wide, tall = reach

    def canvas(top: float, bottom: float) -> Canvas:
        return Canvas((-wide, top, wide, bottom), height_px, rng)

    def comes() -> bool:
        return complete or rng.random() < 0.65

    if not complete:
        palette = tinted(palette, rng)
    side = float(rng.choice((-1.0, 1.0)))  # the near tree stands here, the sun opposite
    sun = (-side * rng.uniform(0.1, 0.28), rng.uniform(-0.32, -0.22))
    horizon = rng.uniform(0.0, 0.06)
    shore = horizon + 0.075
    mill = (-side * rng.uniform(0.42, 0.58), horizon - 0.035)
    layers = [_sky(canvas(-tall, tall), palette, sun, horizon)]
    layers += [_cloud(height_px, rng, palette, wide, place, side) for place in range(3) if comes()]
    if comes():
        layers.append(_mountains(canvas(-0.4, horizon + 0.12), palette, horizon))
    if comes():
        layers.append(_balloon(height_px, rng, palette, wide, side))
    layers += _hills(canvas(-0.3, horizon + 0.16), palette, mill)
    if comes():
        layers.append(_water(canvas(shore - 0.02, tall), palette, sun[0], shore))
        layers.append(_boat(height_px, rng, palette, wide, shore + 0.075, side))
    else:
        layers.append(_field(canvas(shore - 0.02, tall), palette, shore))
    layers.append(_meadow(canvas(shore, tall), palette, side))
    layers += [_bird(height_px, rng, wide) for _ in range(3) if comes()]
    if comes():
        layers.append(_tree(height_px, rng, palette, side * rng.uniform(0.55, 0.68), side))
    return layers


def _sky(canvas: Canvas, palette: Palette, sun: tuple[float, float], horizon: float) -> Layer:
    sky = mix(palette.zenith, palette.horizon, step(canvas.y, -0.62, horizon + 0.05)[:, :1])
    canvas.paint(1.0, sky)
    far = np.hypot(canvas.x - sun[0], canvas.y - sun[1])
    canvas.color += (
        np.exp(-far / 0.16)[..., None] * 0.55 * (np.asarray(palette.sun, np.float32) - canvas.color)
    )
    wisps = step(canvas.noise((1.1, 4.2), 6, 0.6), 0.1, 2.6) * step(-canvas.y, -horizon, 0.35)
    canvas.paint(0.75 * wisps, palette.cloud)
    canvas.paint(canvas.cover(far - 0.042), mix(palette.sun, (1, 1, 1), 0.6))
    return canvas.layer(parallax=0.06)


def _cloud(
    height_px: int, rng: np.random.Generator, palette: Palette, wide: float, place: int, side: float
) -> Layer:
    """A cumulus: puffs on a flat base, lit from above."""
    size = rng.uniform(0.1, 0.17) * (1.0 if place else 1.25)
    canvas = Canvas((-2.1 * size, -1.75 * size, 2.1 * size, 0.55 * size), height_px, rng)
    ragged = 0.055 * size * canvas.noise(1.1 / size, 5, 0.6)
    distance = np.full_like(canvas.alpha, np.inf)
    light = np.zeros_like(canvas.alpha)
    for x in np.linspace(-1.35, 1.35, 9):
        radius = size * (0.62 * math.exp(-0.9 * x * x) + 0.2) * rng.uniform(0.8, 1.1)
        cx, cy = x * size + rng.uniform(-0.1, 0.1) * size, 0.15 * size - 0.75 * radius
        puff = disc(canvas.x - cx, canvas.y - cy, radius) + ragged
        nearest = puff < distance
        glow = (-(canvas.y - cy) - 0.5 * side * (canvas.x - cx)) / radius
        light = np.where(nearest, glow, light)
        distance = np.minimum(distance, puff)
    base = canvas.y - 0.2 * size + 0.6 * ragged
    distance = np.maximum(distance, base)
    height = step(-canvas.y, -0.25 * size, 0.75 * size)
    bright = 0.55 * height + 0.28 * light + 0.12 + 0.05 * canvas.noise(2.0 / size, 4)
    canvas.paint(canvas.cover(distance), mix(palette.cloud_shade, palette.cloud, bright))
    start = (-wide + 2 * wide * (place + rng.uniform(0.1, 0.8)) / 3, rng.uniform(-0.4, -0.2))
    drift = rng.uniform(0.0008, 0.002)
    motion = Motion(start=start, velocity=(drift, 0), wrap=wide + 2.2 * size)
    return canvas.layer(0.1, motion)


def _mountains(canvas: Canvas, palette: Palette, horizon: float) -> Layer:
    ridge = horizon - 0.11 - 0.05 * canvas.profile(0.9, 7, 0.52)
    below = canvas.y - ridge
    # Diagonal noise reads as rock faces that catch the light.
    faces = canvas.noise((5.0, 3.0), 6, 0.6) + 0.4 * canvas.noise((16.0, 9.0), 4, 0.6)
    rock = mix(mix(palette.far, (0.12, 0.14, 0.2), 0.3), mix(palette.far, (1, 1, 1), 0.25),
               0.5 + 0.35 * faces)  # fmt: skip
    snow = step(0.05 - below + 0.022 * faces, 0.0, 0.02)
    rock = mix(rock, mix(palette.cloud, palette.cloud_shade, 0.5 - 0.4 * faces), snow * 0.85)
    haze = step(below, 0.0, 0.17)
    canvas.paint(canvas.cover(-below), mix(rock, palette.horizon, 0.25 + 0.5 * haze))
    return canvas.layer(parallax=0.16)


def _hills(canvas: Canvas, palette: Palette, mill: tuple[float, float]) -> list[Layer]:
    """Wooded hills with a mill; its sails are a layer of their own."""
    ridge = mill[1] + 0.045 - 0.035 * canvas.profile(0.8, 3, 0.45)
    ridge = ridge - (ridge - mill[1]) * np.exp(-(((canvas.x - mill[0]) / 0.12) ** 2))
    below = canvas.y - ridge
    patches = canvas.noise((3.0, 9.0), 3, 0.5)
    grass = mix(palette.hill, palette.meadow, 0.45 + 0.4 * patches)
    grass = grass * (0.95 + 0.06 * canvas.noise(40.0, 3, 0.7))[..., None]
    canvas.paint(canvas.cover(-below), mix(grass, palette.horizon, 0.18))
    rng = canvas.rng
    for x in np.sort(rng.uniform(float(canvas.x[0, 0]), float(canvas.x[0, -1]), 150)):
        column = min(int((x - canvas.origin[0]) * canvas.density), canvas.x.size - 1)
        depth = rng.uniform(0, 1) ** 2
        if abs(x - mill[0]) < 0.07 and depth < 0.5:
            continue
        y = float(ridge[0, column]) + 0.09 * depth
        _bush(canvas, float(x), y, rng.uniform(0.008, 0.02) * (1 + 0.6 * depth), palette, 0.22)
    x, y = mill
    rows, columns = area = canvas.area(x, y, 0.16)
    u, v = canvas.x[:, columns] - x, canvas.y[rows] - y
    tower = polygon(u, v, [(-0.017, -0.085), (0.017, -0.085), (0.027, 0.01), (-0.027, 0.01)])
    shade = mix((0.93, 0.90, 0.83), (0.55, 0.50, 0.48), step(u, -0.03, 0.03)[0][None] + 0 * v)
    canvas.paint(canvas.cover(tower), shade, area)
    cap = polygon(u, v, [(0.0, -0.118), (0.022, -0.082), (-0.022, -0.082)])
    canvas.paint(canvas.cover(cap), (0.55, 0.20, 0.14), area)
    door = polygon(u, v, [(-0.006, -0.02), (0.006, -0.02), (0.006, 0.01), (-0.006, 0.01)])
    canvas.paint(canvas.cover(door), (0.30, 0.19, 0.13), area)
    for hx in (-0.14, 0.12):
        _house(canvas, x + hx, y + 0.045)

    sails = Canvas((-0.1, -0.1, 0.1, 0.1), canvas.height_px, rng)
    for quarter in range(4):
        cos, sin = math.cos(quarter * math.pi / 2), math.sin(quarter * math.pi / 2)
        u, v = sails.x * cos + sails.y * sin, sails.y * cos - sails.x * sin
        blade = np.maximum(np.abs(u - 0.012) - 0.0095, np.abs(v + 0.055) - 0.033)
        sails.paint(sails.cover(blade), (0.94, 0.90, 0.80))
        spar = np.maximum(np.abs(u) - 0.0026, np.abs(v + 0.045) - 0.046)
        sails.paint(sails.cover(spar), (0.32, 0.22, 0.16))
    sails.paint(sails.cover(disc(sails.x, sails.y, 0.006)), (0.25, 0.17, 0.12))
    turning = Motion(start=(x, y - 0.088), spin=0.035)
    return [canvas.layer(0.32), sails.layer(0.32, turning)]


def _bush(canvas: Canvas, x: float, y: float, radius: float, palette: Palette, haze: float) -> None:
    pale, squash = canvas.rng.uniform(0, 0.5), canvas.rng.uniform(0.9, 1.25)
    rows, columns = area = canvas.area(x, y, 1.6 * radius)
    u, v = canvas.x[:, columns] - x, canvas.y[rows] - y + 0.7 * radius
    leaf = mix(palette.leaf, palette.hill, pale)
    lit = mix(mix(leaf, (0, 0.02, 0.05), 0.45), mix(leaf, palette.sun, 0.3),
              0.5 - 0.45 * (v + 0.4 * u) / radius)  # fmt: skip
    canvas.paint(canvas.cover(disc(u, v, radius, squash)), mix(lit, palette.horizon, haze), area)


def _house(canvas: Canvas, x: float, y: float) -> None:
    rows, columns = area = canvas.area(x, y, 0.06)
    u, v = canvas.x[:, columns] - x, canvas.y[rows] - y
    wall = polygon(u, v, [(-0.026, -0.026), (0.026, -0.026), (0.026, 0.006), (-0.026, 0.006)])
    canvas.paint(canvas.cover(wall), (0.93, 0.88, 0.76), area)
    roof = polygon(u, v, [(-0.02, -0.048), (0.02, -0.048), (0.033, -0.024), (-0.033, -0.024)])
    canvas.paint(canvas.cover(roof), (0.72, 0.26, 0.17), area)
    for wx in (-0.013, 0.013):
        window = np.maximum(np.abs(u - wx) - 0.0045, np.abs(v + 0.011) - 0.006)
        canvas.paint(canvas.cover(window), (0.22, 0.27, 0.36), area)


def _water(canvas: Canvas, palette: Palette, sun_x: float, shore: float) -> Layer:
    below = canvas.y - shore
    near = step(below, 0.0, 0.32)
    # Waves look flatter and denser towards the far shore.
    rows = np.sqrt(np.maximum(below, 0) + 0.004) * 0.9
    waves = canvas.noise((5.0, 26.0), 5, 0.62, rows)
    color = mix(mix(palette.water, palette.horizon, 0.62), palette.water, (near**0.7)[:, :1])
    color = mix(color, palette.horizon, 0.16 + 0.20 * waves)
    color = mix(color, mix(palette.water, (0, 0.03, 0.08), 0.5), 0.10 - 0.24 * waves)
    bank = step(0.035 + 0.008 * waves - below, 0.0, 0.03)
    color = mix(color, mix(palette.hill, palette.water, 0.5), 0.6 * bank)
    path = np.exp(-(((canvas.x - sun_x) / (0.05 + 0.35 * np.maximum(below, 0))) ** 2))
    glitter = step(waves + 1.2 * path, 1.25, 2.0) * path
    canvas.paint(canvas.cover(-below), mix(color, mix(palette.sun, (1, 1, 1), 0.5), 0.85 * glitter))
    return canvas.layer(parallax=0.45)


def _field(canvas: Canvas, palette: Palette, shore: float) -> Layer:
    """Ploughed and sown strips where other landscapes have water."""
    below = canvas.y - shore + 0.006 * canvas.profile(1.0, 3)
    rough = canvas.noise((9.0, 30.0), 5, 0.7)
    strips = step(canvas.noise((0.8, 9.0), 3, 0.4, np.sqrt(np.maximum(below, 0) + 0.01)), -0.3, 0.3)
    furrow = np.sin(2 * math.pi * 38 * (np.sqrt(np.maximum(below, 0) + 0.02) + 0.02 * canvas.x))
    color = mix(mix(palette.meadow, palette.hill, 0.4), mix(palette.meadow, (0.85, 0.72, 0.4), 0.6),
                strips)  # fmt: skip
    canvas.paint(canvas.cover(-below), color * (1 + 0.10 * rough + 0.07 * furrow)[..., None])
    return canvas.layer(parallax=0.45)


def _meadow(canvas: Canvas, palette: Palette, side: float) -> Layer:
    """The near bank: grass, a path and flowers, higher on the side of the tree."""
    rise = step(side * canvas.x, -0.5, 0.95)
    bank = float(canvas.y[0, 0]) + 0.25 - 0.13 * rise - 0.012 * canvas.profile(1.2, 3)
    below = canvas.y - bank
    blades = canvas.noise((34.0, 8.0), 4, 0.75)
    ground = mix(palette.meadow, palette.meadow_shade,
                 0.25 + 1.1 * step(below, 0.0, 0.42) + 0.22 * canvas.noise((2.5, 6.0), 3)
                 )  # fmt: skip
    ground = ground * (1 + 0.11 * blades)[..., None]
    centre = -side * 0.15 + 0.28 * side * np.sqrt(np.maximum(below, 0)) * np.cos(9 * below)
    track = np.abs(canvas.x - centre) - (0.012 + 0.16 * np.maximum(below, 0)) + 0.004 * blades
    earth = mix((0.80, 0.70, 0.52), palette.meadow, 0.2) * (1 + 0.06 * blades)[..., None]
    ground = mix(ground, earth, step(-track, -0.012, 0.012))
    ragged = below + 0.0035 * blades
    canvas.paint(canvas.cover(-ragged), ground)
    rng = canvas.rng
    for depth in np.sort(rng.uniform(0.03, 1, 380)):
        x = rng.uniform(float(canvas.x[0, 0]), float(canvas.x[0, -1]))
        column = min(int((x - canvas.origin[0]) * canvas.density), canvas.x.size - 1)
        y = float(bank[0, column]) + 0.4 * depth
        radius = 0.002 + 0.006 * depth * rng.uniform(0.6, 1.2)
        petal = palette.flowers[rng.integers(len(palette.flowers))]
        rows, columns = area = canvas.area(x, y, 2 * radius)
        row = min(int((y - canvas.origin[1]) * canvas.density), canvas.y.size - 1)
        if track[row, column] < 0.01:
            continue
        u, v = canvas.x[:, columns] - x, canvas.y[rows] - y
        canvas.paint(canvas.cover(disc(u, v, radius, 0.8)), petal, area)
        canvas.paint(canvas.cover(disc(u, v, 0.35 * radius)), (0.95, 0.78, 0.25), area)
    return canvas.layer(parallax=0.8)


def _tree(
    height_px: int, rng: np.random.Generator, palette: Palette, x: float, side: float
) -> Layer:
    """A tree so near that it leaves the picture at the top."""
    canvas = Canvas((x - 0.5, -0.75, x + 0.5, 0.6), height_px, rng)
    u = canvas.x - x
    bark = canvas.noise((28.0, 5.0), 4, 0.7)
    lean = 0.03 * np.sin(4.0 * canvas.y + 1.0)
    girth = 0.026 + 0.02 * step(canvas.y, 0.1, 0.45) + 0.03 * step(canvas.y, 0.3, 0.42)
    trunk = np.abs(u - lean) - girth + 0.002 * bark
    blades = canvas.noise((34.0, 8.0), 4, 0.75)
    trunk = np.maximum(trunk, canvas.y - 0.42)
    wood = mix((0.22, 0.15, 0.11), (0.55, 0.42, 0.30), 0.5 - 9 * side * (u - lean) + 0.22 * bark)
    canvas.paint(canvas.cover(trunk), wood)
    mound = disc(u - lean, canvas.y - 0.432, 0.13, 0.16) + 0.006 * blades
    grass = mix(palette.meadow_shade, palette.meadow, 0.35 + 0.25 * blades)
    canvas.paint(canvas.cover(mound), grass)
    ragged = 0.016 * canvas.noise(16.0, 4, 0.7)
    leaves = canvas.noise(30.0, 3, 0.75)
    crowns = sorted(
        ((np.clip(rng.normal(0, 0.14), -0.33, 0.33), rng.uniform(-0.62, -0.12),
          rng.uniform(0.06, 0.12)) for _ in range(44)), key=lambda crown: -crown[1] + crown[2],
    )  # fmt: skip
    for cx, cy, radius in crowns:
        rows, columns = area = canvas.area(x + cx, cy, 1.7 * radius)
        p, q = u[:, columns] - cx, canvas.y[rows] - cy
        lit = 0.42 - 0.42 * (q + 0.5 * side * p) / radius + 0.26 * leaves[rows, columns]
        leaf = mix(
            mix(palette.leaf, (0.0, 0.03, 0.06), 0.55), mix(palette.leaf, palette.sun, 0.38), lit
        )
        canvas.paint(canvas.cover(disc(p, q, radius) + ragged[rows, columns]), leaf, area)
    return canvas.layer(parallax=1.0)


def _balloon(
    height_px: int, rng: np.random.Generator, palette: Palette, wide: float, side: float
) -> Layer:
    size = rng.uniform(0.055, 0.075)
    canvas = Canvas((-1.3 * size, -1.3 * size, 1.3 * size, 2.3 * size), height_px, rng)
    x, y = canvas.x / size, canvas.y / size
    narrow = 1 - 0.62 * step(y, 0.25, 1.35)
    body = np.maximum(np.hypot(x / narrow, y * np.where(y > 0, 0.74, 1.0)) - 1, y - 1.22) * size
    gores = np.floor(
        np.arcsin(np.clip(x / (narrow * np.sqrt(np.clip(1 - 0.5 * y * y, 0.2, 1))), -1, 1)) * 2.55
        + 20.5
    )
    first, second = (palette.flowers[i] for i in rng.permutation(len(palette.flowers))[:2])
    cloth = np.where((gores % 2 == 0)[..., None], np.array(first), np.array(second))
    cloth = mix(cloth, (1, 1, 1), 0.9 * step(-np.abs(y - 0.1) + 0.13, 0, 0.04)[:, :1] + 0 * x)
    cloth = cloth * (0.86 - 0.30 * side * x - 0.16 * y)[..., None]
    for rope in (-1, 1):
        line = np.maximum(
            np.abs(x - rope * (0.36 - 0.14 * (y - 1.2))) - 0.025, np.abs(y - 1.45) - 0.3
        )
        canvas.paint(canvas.cover(line * size), (0.25, 0.18, 0.14))
    canvas.paint(canvas.cover(body.astype(np.float32)), cloth)
    basket = np.maximum(np.abs(x) - 0.24, np.abs(y - 1.85) - 0.17) * size
    canvas.paint(canvas.cover(basket), (0.50, 0.32, 0.18))
    drift = side * rng.uniform(0.001, 0.0022)
    motion = Motion(start=(rng.uniform(-0.25, 0.15), rng.uniform(-0.26, -0.18)),
                    velocity=(drift, 0), swing=(0, 0.02), period=110, phase=rng.uniform(0, 6),
                    sway=0.03, wrap=wide + 2.5 * size)  # fmt: skip
    return canvas.layer(0.25, motion)


def _boat(
    height_px: int,
    rng: np.random.Generator,
    palette: Palette,
    wide: float,
    y: float,
    side: float,
) -> Layer:
    """A sailing boat with its reflection; heads for the side of the tree."""
    canvas = Canvas((-0.12, -0.2, 0.12, 0.12), height_px, rng)
    u, v = side * canvas.x, canvas.y
    mirror = np.maximum(np.abs(u - 0.005) - 0.05 - 0.012 * np.sin(160 * v), np.abs(v - 0.05) - 0.05)
    canvas.paint(canvas.cover(mirror) * 0.4 * step(0.1 - v, 0.0, 0.1), (0.75, 0.70, 0.66))
    mast = np.maximum(np.abs(u + 0.002) - 0.0022, np.abs(v + 0.085) - 0.09)
    canvas.paint(canvas.cover(mast), (0.30, 0.20, 0.14))
    flip = slice(None, None, int(side))  # the mirrored outline runs the other way round
    aft = [(-0.008, -0.165), (-0.008, -0.022), (-0.072, -0.022)]
    fore = [(0.004, -0.15), (0.066, -0.022), (0.004, -0.022)]
    x = canvas.x

    def outline(corners: list[tuple[float, float]]) -> Array:
        return polygon(x, v, [(side * cx, cy) for cx, cy in corners][flip])

    belly = step(u, -0.08, 0.06) * 0.25 + 0 * v
    canvas.paint(canvas.cover(outline(aft)), mix((0.98, 0.95, 0.88), (0.80, 0.68, 0.55), belly * 2))
    canvas.paint(canvas.cover(outline(fore)), mix(palette.flowers[0], (1, 0.8, 0.6), belly))
    hull = [(-0.082, -0.014), (0.092, -0.017), (0.06, 0.014), (-0.066, 0.014)]
    wood = mix((0.55, 0.26, 0.14), (0.28, 0.12, 0.08), step(v, -0.014, 0.014)[:, :1] + 0 * x)
    canvas.paint(canvas.cover(outline(hull)), wood)
    rail = np.maximum(np.abs(u - 0.004) - 0.083, np.abs(v + 0.0125) - 0.0022)
    canvas.paint(canvas.cover(rail), (0.95, 0.90, 0.78))
    start = (-side * rng.uniform(0.2, 0.5), y)
    motion = Motion(start=start, velocity=(side * rng.uniform(0.0022, 0.0038), 0), swing=(0, 0.003),
                    period=45, sway=0.035, phase=rng.uniform(0, 6), wrap=wide + 0.15)  # fmt: skip
    return canvas.layer(0.45, motion)


def _bird(height_px: int, rng: np.random.Generator, wide: float) -> Layer:
    """A gull: two arcs; the beat of the wings is a change of height, so the flow stays exact."""
    size = rng.uniform(0.026, 0.04)
    canvas = Canvas((-1.2 * size, -0.7 * size, 1.2 * size, 0.7 * size), height_px, rng)
    x, y = np.abs(canvas.x) / size, canvas.y / size
    arc = 0.5 * (x - 0.45) ** 2 * 2.2 - 0.25
    thick = 0.10 * (1.05 - x)
    wing = np.maximum(np.abs(y - arc) - thick, x - 1.0) * size
    canvas.paint(canvas.cover(wing), (0.13, 0.14, 0.19))
    canvas.paint(
        canvas.cover(disc(canvas.x, canvas.y - 0.18 * size, 0.13 * size)), (0.13, 0.14, 0.19)
    )
    motion = Motion(start=(rng.uniform(-0.6, 0.6), rng.uniform(-0.36, -0.12)),
                    velocity=(rng.choice((-1, 1)) * rng.uniform(0.003, 0.005), 0), swing=(0, 0.02),
                    period=rng.uniform(16, 24), phase=rng.uniform(0, 6), flap=0.6,
                    wrap=wide + 1.3 * size)  # fmt: skip
    return canvas.layer(0.6, motion)
