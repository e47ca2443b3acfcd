"""`fastvid sheet`: the same frames in every style, each with its name, on one sheet."""

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation.clips import SCENE_PREFIX, Clip, expand
from fastvid.evaluation.picture import FAINT, INK, PAPER, text_image
from fastvid.evaluation.strip import GUTTER_PX, write_strip
from fastvid.image import resize_image
from fastvid.runtime.gallery import STYLES_DIR, list_styles
from fastvid.runtime.loading import load

log = logging.getLogger(__name__)

DEFAULT_SOURCE = f"{SCENE_PREFIX}pan"
WIDTH_PX = 1600

Cell = tuple[Sequence[np.ndarray], str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid sheet`."""
    parser.add_argument("output", type=Path, metavar="OUT", help="image to make, .jpg or .png")
    parser.add_argument(
        "sources", nargs="*", default=[DEFAULT_SOURCE], metavar="SOURCE",
        help="films, holdout:NAME or scene:NAME to take a frame of; default: a generated scene",
    )  # fmt: skip
    parser.add_argument("--styles", nargs="+", metavar="STYLE", help="default: all of net base")
    parser.add_argument("--columns", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def run(args: argparse.Namespace) -> int:
    """Paint and write the sheet; returns the exit code.

    Raises:
        ValueError: the output exists, there is no style, or one is unknown.
        MediaError: a source cannot be read.
    """
    if args.output.exists() and not args.overwrite:
        raise ValueError(f"{args.output}: exists already; --overwrite replaces it")
    if args.columns < 1:
        raise ValueError(f"--columns is {args.columns}, expected at least 1")
    cards = list_styles(STYLES_DIR)
    styles = args.styles or [name for name in cards if "." not in name]
    if not styles:
        raise ValueError(f"no style is installed in {STYLES_DIR}; train one with train.py")
    clips = [Clip(text, height_px=360) for text in expand(args.sources)]
    frames = [middle_frame(clip) for clip in clips]
    cells: list[Cell] = [(frames, "source", "")]
    for style in styles:
        stylizer = load(style)
        log.info("painting in %s", style)
        painted = [stylizer(frame[None])[0] for frame in frames]
        cells.append((painted, *caption(style, cards.get(style, {}))))
    write_strip(args.output, draw_sheet(cells, args.columns))
    print(args.output)
    return 0


def middle_frame(clip: Clip) -> np.ndarray:
    """A frame from the middle of a clip, uint8 (H, W, 3)."""
    frames = clip.spread_frames(3)
    return np.asarray(frames[len(frames) // 2])


def caption(style: str, card: Mapping[str, Any]) -> tuple[str, str]:
    """The style's name, and painter, title and year as far as its card knows them."""
    artist = str(card.get("artist") or "").split(" (")[0]
    known = [artist, str(card.get("title") or ""), str(card.get("year") or "")]
    return style, ", ".join(part for part in known if part)


def draw_sheet(cells: Sequence[Cell], columns: int) -> np.ndarray:
    """Cells in rows, uint8 (H, 1600, 3).

    Args:
        cells: pictures to put below one another, all cells alike; a name and a line below it.
        columns: cells in a row.
    """
    width = (WIDTH_PX - GUTTER_PX * (columns - 1)) // columns
    drawn = []
    for pictures, name, line in cells:
        parts = []
        for picture in pictures:
            height = max(1, round(width * picture.shape[0] / picture.shape[1]))
            parts.append(resize_image(picture, size=(height, width)))
        parts += [text_image(name, 20, INK, width), text_image(line, 13, FAINT, width)]
        drawn.append(np.concatenate(parts))
    height = drawn[0].shape[0]
    rows = math.ceil(len(drawn) / columns)
    sheet = np.full((rows * (height + GUTTER_PX) - GUTTER_PX, WIDTH_PX, 3), PAPER[0], np.uint8)
    for place, cell in enumerate(drawn):
        row, column = divmod(place, columns)
        top, left = row * (height + GUTTER_PX), column * (width + GUTTER_PX)
        sheet[top : top + height, left : left + width] = cell
    return sheet
