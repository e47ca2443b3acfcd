"""A picture painted in tiles, pixel for pixel as if it had been painted whole."""

from collections.abc import Callable, Iterator

import numpy as np


def paint_tiles(
    paint: Callable[[np.ndarray], np.ndarray],
    frame: np.ndarray,
    tile_px: int,
    reach_px: int,
    cell_px: int,
) -> np.ndarray:
    """Paint a picture through windows that overlap by what the network sees.

    All windows have one size, because engines are built for one. The picture is first extended to
    multiples of the network's cell by repeating its last row and column, as the networks do
    themselves. Windows start at multiples of two cells, because engines may take columns in pairs.

    Args:
        paint: a network with folded statistics; uint8 (1, H, W, 3) to the same.
        frame: uint8 RGB (H, W, 3).
        tile_px: side of a tile, rounded up to a multiple of two cells.
        reach_px: how far the network sees, rounded up likewise.
        cell_px: see `graph.reach`.
    """
    h, w = frame.shape[:2]
    whole = np.pad(frame, ((0, -h % cell_px), (0, -w % cell_px), (0, 0)), mode="edge")
    pair = 2 * cell_px
    tile, reach_px = (-(-length // pair) * pair for length in (tile_px, reach_px))
    # What the picture has beyond pairs of cells the windows have too: the last one ends with it.
    window = [min(side, tile + 2 * reach_px + side % pair) for side in whole.shape[:2]]
    painted = np.empty_like(whole)
    for y, top in _starts(whole.shape[0], window[0], tile, reach_px):
        for x, left in _starts(whole.shape[1], window[1], tile, reach_px):
            part = paint(whole[None, top : top + window[0], left : left + window[1]])[0]
            target = painted[y : y + tile, x : x + tile]
            rows, columns = target.shape[:2]
            target[:] = part[y - top : y - top + rows, x - left : x - left + columns]
    return painted[:h, :w]


def _starts(side: int, window: int, tile: int, reach: int) -> Iterator[tuple[int, int]]:
    """Where each tile and its window start along one side."""
    for start in range(0, side, tile):
        yield start, min(max(0, start - reach), side - window)
