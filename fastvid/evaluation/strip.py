"""A strip of frames for a card or a page: the source on top, the painting below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastvid.evaluation.clips import SCENE_PREFIX, Clip
from fastvid.image import resize_image, write_image
from fastvid.runtime.stylizer import Stylizer

WIDTH_PX = 1600
MAX_ROW_PX = 360
GUTTER_PX = 8
COLUMNS = 4  # one clip, or two, show several frames each
MAX_CLIPS = 6
MAX_BYTES = 600_000
CARD_BYTES = 100_000
PAPER = 255

Column = tuple[np.ndarray, np.ndarray]


def chosen_clips(texts: Sequence[str]) -> set[int]:
    """Which of these clips a strip shows: of the films, else of the scenes, six evenly spread."""
    films = [i for i, text in enumerate(texts) if not text.startswith(SCENE_PREFIX)]
    places = films or list(range(len(texts)))
    count = min(len(places), MAX_CLIPS)
    return {places[round(i)] for i in np.linspace(0, len(places) - 1, count)}


def columns_of(source: Clip, stylized: Clip | Stylizer, num_clips: int) -> list[Column]:
    """Frames from inside a clip, each with its painting, uint8 (H, W, 3).

    Args:
        source: the clip.
        stylized: its painting of as many frames, or the network that paints it now.
        num_clips: clips that share the strip.

    Raises:
        MediaError: if a clip cannot be read.
    """
    count = max(1, COLUMNS // num_clips)

    def inner(clip: Clip) -> np.ndarray:
        frames = clip.spread_frames(2 * count)
        return frames[1::2] if len(frames) > 1 else frames  # the first one is often black

    frames = inner(source)
    painted = inner(stylized) if isinstance(stylized, Clip) else stylized(frames)
    return list(zip(frames, painted, strict=True))


def draw_strip(columns: Sequence[Column]) -> np.ndarray:
    """All columns side by side, one height, at most 1600 px wide; uint8 (H, W, 3).

    Raises:
        ValueError: if there is no column.
    """
    if not columns:
        raise ValueError("draw_strip: expected at least one pair of frames, found none")
    aspects = [frame.shape[1] / frame.shape[0] for frame, _ in columns]
    room = WIDTH_PX - GUTTER_PX * (len(columns) - 1)
    row = max(1, min(MAX_ROW_PX, int(room / sum(aspects))))
    widths = [max(1, int(row * aspect)) for aspect in aspects]
    width = sum(widths) + GUTTER_PX * (len(columns) - 1)
    canvas = np.full((2 * row + GUTTER_PX, width, 3), PAPER, np.uint8)
    left = 0
    for pair, each in zip(columns, widths, strict=True):
        for top, image in zip((0, row + GUTTER_PX), pair, strict=True):
            canvas[top : top + row, left : left + each] = resize_image(image, size=(row, each))
        left += each + GUTTER_PX
    return canvas


def write_strip(path: Path, strip: np.ndarray, max_bytes: int = MAX_BYTES) -> None:
    """Write it in the format of the suffix, reduced until the file has at most `max_bytes`.

    A PNG has to shrink to about half a JPEG's sides for that.

    Raises:
        ValueError, RuntimeError: see `write_image`.
    """
    while True:
        write_image(path, strip)
        size = path.stat().st_size
        if size <= max_bytes or strip.shape[0] < 32:
            return
        factor = min(0.95, (max_bytes / size) ** 0.5)
        strip = resize_image(strip, height_px=int(strip.shape[0] * factor))
