"""Between coded frames and upright RGB: matrix, range, rotation, size."""

import numpy as np
from av.video.frame import VideoFrame

# swscale's number for each H.273 matrix (FFmpeg's AVColorSpace)
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def default_matrix(width: int, height: int) -> int:
    """H.273 matrix of an untagged film: BT.709 for HD, BT.601 (SMPTE 170M) below, as players do."""
    return 1 if width >= 1280 or height > 576 else 6


def matrix_of(space: int, width: int, height: int) -> int:
    """H.273 matrix that a film of this tag and size is coded with."""
    return space if space in _MATRICES else default_matrix(width, height)


def to_rgb(frame: VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
    """Upright uint8 (H, W, 3) RGB of a decoded frame, at `size` (H, W) when given."""
    turns = frame.rotation // 90 % 4
    height, width = size or (
        (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
    )
    if turns % 2:
        height, width = width, height
    matrix = _MATRICES[matrix_of(frame.colorspace, frame.width, frame.height)]
    shrinks = height < frame.height
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        interpolation="AREA" if shrinks else "BICUBIC",
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, turns))


def from_rgb(
    image: np.ndarray, size: tuple[int, int], pixel_format: str, matrix: int, color_range: int
) -> VideoFrame:
    """A frame to encode, of `size` (H, W), from uint8 (H, W, 3) RGB."""
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        width=size[1],
        height=size[0],
        format=pixel_format,
        dst_colorspace=_MATRICES[matrix],
        dst_color_range=color_range,
        interpolation="BICUBIC",
    )
