"""What happens to a painted frame after the network: colours, strength, the source beside it."""

from dataclasses import dataclass

import numpy as np

# Luma of R'G'B' (ITU-R BT.709-6, item 3.2).
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Finish:
    """The chosen finish.

    Attributes:
        strength: 0 gives the source, 1 the painting, between them a blend.
        keep_colors: luma of the painting, chroma of the source.
        side_by_side: source left, painting right, in one picture of twice the width.
    """

    strength: float = 1.0
    keep_colors: bool = False
    side_by_side: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength is {self.strength}, expected 0 to 1")

    def __call__(self, source: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """The picture to write, uint8 (H, W, 3) or (H, 2W, 3), from two of (H, W, 3)."""
        if self.keep_colors:
            stylized = keep_colors(source, stylized)
        stylized = blend(source, stylized, self.strength)
        return side_by_side(source, stylized) if self.side_by_side else stylized

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the picture to write for frames of this (H, W)."""
        h, w = size
        return (h, 2 * w) if self.side_by_side else size


def keep_colors(source: np.ndarray, stylized: np.ndarray) -> np.ndarray:
    """The luma of the painting with the chroma of the source.

    Adding the same number to R, G and B changes the luma by that number and leaves the colour
    differences B' - Y' and R' - Y' as they are; so the luma difference is all that is needed, and
    no conversion there and back. Where a channel leaves [0, 255] it is clipped.

    Args:
        source: uint8 (H, W, 3) RGB.
        stylized: same shape and type.
    """
    _check_pair(source, stylized)
    lift = stylized @ LUMA - source @ LUMA  # (H, W)
    mixed = source + np.rint(lift, out=lift)[..., None]
    return np.clip(mixed, 0, 255, out=mixed).astype(np.uint8)


def blend(source: np.ndarray, stylized: np.ndarray, strength: float) -> np.ndarray:
    """Between source (strength 0) and painting (1), linear, rounded; weights in steps of 1/256.

    Args:
        source: uint8 (H, W, 3) RGB.
        stylized: same shape and type.
        strength: in [0, 1].
    """
    _check_pair(source, stylized)
    weight = np.uint16(round(strength * 256))
    if weight == 256:
        return stylized
    mixed = source * (np.uint16(256) - weight)  # at most 255 * 256: fits 16 bits
    mixed += stylized * weight
    mixed += np.uint16(128)
    mixed >>= np.uint16(8)
    return mixed.astype(np.uint8)


def side_by_side(source: np.ndarray, stylized: np.ndarray) -> np.ndarray:
    """Source left, painting right: uint8 (H, 2W, 3) from two of (H, W, 3)."""
    _check_pair(source, stylized)
    return np.concatenate([source, stylized], axis=1)


def _check_pair(source: np.ndarray, stylized: np.ndarray) -> None:
    if source.shape != stylized.shape or {source.dtype, stylized.dtype} != {np.dtype(np.uint8)}:
        raise ValueError(
            "expected two uint8 pictures of one size, got "
            f"{source.dtype} {source.shape} and {stylized.dtype} {stylized.shape}"
        )
