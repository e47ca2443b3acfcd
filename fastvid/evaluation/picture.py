"""One picture of a measured clip: the error over time, the worst pair, and a row through time."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont  # comes with torchvision; used for text and lines

from fastvid.evaluation.metrics import EvenSample
from fastvid.evaluation.pairs import PairMeter, WorstPair
from fastvid.image import resize_image

Color = tuple[int, int, int]

WIDTH_PX = 1280
MARGIN_PX = 32
GUTTER_PX = 16
PLOT_HEIGHT_PX = 220
AXIS_PX = 64  # room for the numbers left of a plot
SLICE_ROWS = 1200  # at most so many frames are kept for the row through time
PAPER: Color = (250, 250, 250)
INK: Color = (33, 37, 41)
FAINT: Color = (134, 142, 150)
RULE: Color = (222, 226, 230)
OUTPUT: Color = (201, 42, 42)
SOURCE: Color = (73, 110, 160)
# Dark to light with growing luma, so that the map also reads in grey.
HEAT = ((0, 0, 0), (52, 16, 94), (143, 36, 107), (221, 81, 58), (251, 165, 26), (252, 255, 200))


class RowSlice:
    """The middle row of both clips, frame by frame: what moves draws lines, what flickers dots."""

    def __init__(self) -> None:
        self._rows: EvenSample[tuple[np.ndarray, np.ndarray]] = EvenSample(SLICE_ROWS)

    def update(self, source: np.ndarray, stylized: np.ndarray) -> None:
        """Take the next frame of both clips, uint8 (H, W, 3)."""
        row = len(source) // 2
        self._rows.add((source[row].copy(), stylized[row].copy()))

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and output, uint8 (T, W, 3): time runs down."""
        source, stylized = zip(*self._rows.kept, strict=True)
        return np.stack(source), np.stack(stylized)


def draw_clip(meter: PairMeter, rows: RowSlice, title: str, subtitle: str) -> np.ndarray:
    """The picture of a measured clip, uint8 (H, 1280, 3).

    Args:
        meter: after the last frame, of at least two.
        rows: fed with the same frames.
        title: first line.
        subtitle: second line, smaller.

    Raises:
        ValueError: if there is no pair of consecutive frames to show.
    """
    pairs = meter.pairs.get("gap1", [])
    if not pairs:
        raise ValueError("the picture needs pairs at gap 1: two frames at least")
    inner = WIDTH_PX - 2 * MARGIN_PX
    parts = [text_image(title, 26, INK, inner), text_image(subtitle, 15, FAINT, inner)]
    parts.append(
        text_image("Error between neighbouring frames (RMS, 1 = full range)", 17, INK, inner)
    )
    parts.append(_plot(pairs[0].cur, {
        "output": (OUTPUT, [math.sqrt(pair.output_mse) for pair in pairs]),
        "source": (SOURCE, [math.sqrt(pair.source_mse) for pair in pairs]),
    }, inner))  # fmt: skip
    worst = meter.worst
    if worst is not None:
        error = worst.error
        heading = (
            f"Worst pair: frames {error.prev} and {error.cur}, "
            f"RMS {math.sqrt(error.output_mse):.3f}; right: where, "
            f"black = none or not trusted, white = {_error_scale(worst):.2f}"
        )
        parts += [text_image(heading, 17, INK, inner), _row_of(_worst_images(worst), inner)]
    source, stylized = rows.images()
    heading = "The middle row over time, downwards: source, output"
    parts += [text_image(heading, 17, INK, inner), _slices(source, stylized, inner)]
    gap = np.full((GUTTER_PX, inner, 3), PAPER, np.uint8)
    column = np.concatenate([piece for part in parts for piece in (part, gap)])
    return np.pad(column, ((MARGIN_PX, MARGIN_PX - GUTTER_PX), (MARGIN_PX, MARGIN_PX), (0, 0)),
                  constant_values=PAPER[0])  # fmt: skip


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_image(text: str, size: int, color: Color, width: int) -> np.ndarray:
    """One line on paper, uint8 (about 1.35 size, width, 3); what does not fit is cut off."""
    canvas = Image.new("RGB", (width, round(size * 1.35)), PAPER)
    ImageDraw.Draw(canvas).text((0, 0), text, color, _font(size))
    return np.asarray(canvas)


def _plot(first: int, series: dict[str, tuple[Color, Sequence[float]]], width: int) -> np.ndarray:
    """Lines over frame numbers from `first`, with a scale from 0 and a legend."""
    over = 3  # drawn larger and reduced: smooth lines
    top = max(max(values) for _, values in series.values())
    ticks = _ticks(max(top, 1e-3) * 1.05)
    left, bottom = AXIS_PX, PLOT_HEIGHT_PX - 28
    count = max(len(values) for _, values in series.values())

    def place(index: float, value: float) -> tuple[float, float]:
        x = left + (width - left - 8) * index / max(count - 1, 1)
        return x, bottom - (bottom - 8) * value / ticks[-1]

    canvas = Image.new("RGB", (width * over, PLOT_HEIGHT_PX * over), PAPER)
    draw = ImageDraw.Draw(canvas)
    for tick in ticks:
        y = place(0, tick)[1] * over
        draw.line((left * over, y, width * over, y), RULE, over)
    for color, values in reversed(series.values()):
        points = [tuple(over * c for c in place(i, v)) for i, v in enumerate(values)]
        if len(points) > 1:
            draw.line(points, color, 2 * over, joint="curve")
        peak = int(np.argmax(values))
        x, y = points[peak] if color == OUTPUT or len(points) == 1 else (-99.0, -99.0)
        draw.ellipse((x - 4 * over, y - 4 * over, x + 4 * over, y + 4 * over), color)
    canvas = canvas.resize((width, PLOT_HEIGHT_PX), Image.Resampling.BOX)
    draw, font = ImageDraw.Draw(canvas), _font(13)
    for tick in ticks:
        draw.text((left - 10, place(0, tick)[1]), f"{tick:g}", FAINT, font, anchor="rm")
    for index in _frame_ticks(count):
        place_x = place(index, 0)[0]
        draw.text((place_x, bottom + 16), str(first + index), FAINT, font, anchor="mm")
    draw.text((0, bottom + 16), "frame", FAINT, font, anchor="lm")
    x = float(width - 8)
    for name, (color, _) in reversed(series.items()):
        draw.text((x, 16), name, color, _font(15), anchor="rm")
        x -= draw.textlength(name, _font(15)) + 18
    return np.asarray(canvas)


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 to just above `top`, three to six of them."""
    step = 10 ** math.floor(math.log10(top))
    step *= next(f for f in (0.2, 0.25, 0.5, 1.0, 2.0) if top / (f * step) <= 5)
    return [step * i for i in range(math.ceil(top / step) + 1)]


def _frame_ticks(count: int) -> list[int]:
    step = max(1, 10 ** max(0, math.floor(math.log10(max(count, 1)))))
    step = next((s for s in (step // 5, step // 2, step, 2 * step) if s and count / s <= 10), step)
    return list(range(0, count, step))


def _error_scale(worst: WorstPair) -> float:
    """The error drawn white: the 99.5th percentile of the trusted pixels."""
    trusted = worst.error_map[worst.error_map > 0]
    return max(float(np.percentile(trusted, 99.5)), 0.02) if trusted.size else 1.0


def _worst_images(worst: WorstPair) -> list[np.ndarray]:
    level = (worst.error_map / _error_scale(worst)).clip(0, 1)
    anchors = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(level, anchors, channel) for channel in np.transpose(HEAT)], -1)
    return [worst.prev, worst.cur, heat.round().astype(np.uint8)]


def _row_of(images: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Pictures of one size side by side."""
    each = (width - GUTTER_PX * (len(images) - 1)) // len(images)
    height = max(1, round(each * images[0].shape[0] / images[0].shape[1]))
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    for index, image in enumerate(images):
        left = index * (each + GUTTER_PX)
        canvas[:, left : left + each] = resize_image(image, size=(height, each))
    return canvas


def _slices(source: np.ndarray, stylized: np.ndarray, width: int) -> np.ndarray:
    """Both row slices; short clips are stretched in time by whole rows, so flicker stays sharp."""
    frames = len(source)
    repeat = max(1, 200 // frames)
    each = (width - GUTTER_PX) // 2
    height = min(frames * repeat, 420)
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    for left, rows in ((0, source), (each + GUTTER_PX, stylized)):
        wide = resize_image(rows, size=(frames, each)).repeat(repeat, axis=0)
        canvas[:, left : left + each] = resize_image(wide, size=(height, each))
    return canvas
