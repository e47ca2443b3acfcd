"""Between coded frames and upright RGB: matrix, range, size, orientation, HDR."""

import threading
from functools import lru_cache
from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

# Without these three swscale darkens a 1080p picture by 1.4 levels and is off by up to 12
# (here: 0.0 and 3), for 10 ms a frame in place of 1.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP

# swscale writes planes three times as fast as packed pixels, and both give the same RGB array. Of
# larger pictures, 4K for example, the second copy would cost a whole program 170 MiB.
_LARGE_PIXELS = 2**22

# H.273 matrix number (FFmpeg's AVColorSpace) -> swscale's number of the same matrix
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
LIMITED, FULL = 1, 2
PQ, HLG = 16, 18
SDR_WHITE_NITS = 203.0  # diffuse white of PQ and HLG programmes, ITU-R BT.2408
_KNEE = 0.7  # share of SDR white below which tone mapping is the identity

_kept = threading.local()

# Display matrix (a, b, c, d): the pixel at (x, y) is shown at (a x + c y, b x + d y), x right, y
# down, as in the mp4 track header. Entries are -1, 0 or 1 here.
Orientation = tuple[int, int, int, int]
UPRIGHT: Orientation = (1, 0, 0, 1)


def default_matrix(size: tuple[int, int]) -> int:
    """H.273 matrix of an untagged film of (H, W): 1 (BT.709) for HD, 6 (BT.601) below.

    The rule of common players: HD starts at 1280 columns or above 576 rows.
    """
    height, width = size
    return 1 if width >= 1280 or height > 576 else 6


def matrix_of(space: int, size: tuple[int, int]) -> int:
    """H.273 matrix of a film by its tag, or by its size (H, W) when the tag says nothing."""
    return space if space in _SWSCALE_MATRIX else default_matrix(size)


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a decoded frame has to be turned or mirrored, by its display matrix.

    Asking a frame for its side data ties it into a reference cycle (PyAV 18), which keeps its
    picture in memory until Python's garbage collector comes by, after some 150 frames: ask one
    frame of a film, not each.
    """
    try:
        for data in cast(SideDataContainer, frame.side_data):
            if data.type.name == "DISPLAYMATRIX":
                a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5]
                if abs(a) + abs(d) >= abs(b) + abs(c):
                    return int(np.sign(a)), 0, 0, int(np.sign(d))
                return 0, int(np.sign(b)), int(np.sign(c)), 0
    except ValueError:  # PyAV does not know every kind of side data
        pass
    by_quarter: list[Orientation] = [UPRIGHT, (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
    return by_quarter[round(frame.rotation / 90) % 4]


def is_turned(orientation: Orientation) -> bool:
    """Whether width and height swap."""
    return orientation[0] == 0


def rotation_of(orientation: Orientation) -> int:
    """Degrees counter-clockwise, mirroring left aside."""
    a, b, c, _ = orientation
    return {(1, 0): 0, (-1, 0): 180, (0, 1): 270, (0, -1): 90}[(a, b) if a else (0, -c)]


def upright(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """The image (H, W, C) as it is meant to be seen, contiguous."""
    a, b, c, d = orientation
    if is_turned(orientation):
        image = image.transpose(1, 0, 2)
    if (c if is_turned(orientation) else a) < 0:
        image = image[:, ::-1]
    if (b if is_turned(orientation) else d) < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def to_rgb(
    frame: VideoFrame, size: tuple[int, int] | None = None, orientation: Orientation = UPRIGHT
) -> np.ndarray:
    """Upright uint8 (H, W, 3) RGB of a decoded frame.

    Args:
        frame: any pixel format; alpha is dropped, PQ and HLG are tone-mapped to BT.709.
        size: (H, W) wanted, upright; by area average where it is smaller than the frame.
        orientation: of the frame, from `orientation_of`.
    """
    coded = (frame.height, frame.width)
    target = coded if size is None else size[::-1] if is_turned(orientation) else size
    hdr = frame.color_trc in (PQ, HLG)
    method = Interpolation.AREA if target[0] < coded[0] else Interpolation.BICUBIC
    matrix = None
    if not frame.format.is_rgb:
        matrix = _SWSCALE_MATRIX[matrix_of(frame.colorspace, coded)]
    rgb = _reformat(
        frame,
        width=target[1],
        height=target[0],
        format="rgb48le" if hdr else "rgb24" if target[0] * target[1] > _LARGE_PIXELS else "gbrp",
        src_colorspace=matrix,
        interpolation=method | _EXACT,
    ).to_ndarray()
    if hdr:
        rgb = tone_map(rgb, frame.color_trc)
    return upright(rgb, orientation)


def from_rgb(
    image: np.ndarray,
    size: tuple[int, int],
    pixel_format: str,
    matrix: int = 6,
    color_range: int = LIMITED,
) -> VideoFrame:
    """A frame to encode, of `size` (H, W), from uint8 (H, W, 3) RGB.

    Args:
        image: the picture; scaled when it has another size.
        size: (H, W) of the frame.
        pixel_format: FFmpeg's name.
        matrix: H.273 number, one of `matrix_of`'s results; unused for RGB formats.
        color_range: LIMITED or FULL.
    """
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    method = Interpolation.AREA if size[0] < frame.height else Interpolation.BICUBIC
    is_rgb = pixel_format in ("rgb24", "bgr0", "bgra", "gbrp")
    return _reformat(
        frame,
        width=size[1],
        height=size[0],
        format=pixel_format,
        dst_colorspace=None if is_rgb else _SWSCALE_MATRIX[matrix],
        dst_color_range=None if is_rgb else color_range,
        interpolation=method | _EXACT,
    )


def _reformat(frame: VideoFrame, *, width: int, height: int, **options: Any) -> VideoFrame:
    """`VideoFrame.reformat`, whose tables are made once for a thread and not for every frame.

    Threads of its own cost swscale more of the processor's time than they save, but for large
    frames.
    """
    if not hasattr(_kept, "reformatter"):
        _kept.reformatter = VideoReformatter()
    threads = 0 if width * height > _LARGE_PIXELS else 1
    scaled: VideoFrame = _kept.reformatter.reformat(
        frame, width=width, height=height, threads=threads, **options
    )
    return scaled


@lru_cache(maxsize=2)
def _linear_light(transfer: int) -> np.ndarray:
    """Light of each 16-bit code, 1 = SDR white, float32 (65536,). SMPTE ST 2084, BT.2100."""
    code = np.arange(65536) / 65535
    if transfer == PQ:
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = code ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        # the OOTF of a 1000 nit display, per channel instead of by luminance
        nits = 1000 * scene**1.2
    return (nits / SDR_WHITE_NITS).astype(np.float32)


def tone_map(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """SDR BT.709 uint8 (H, W, 3) of PQ or HLG BT.2020 uint16 (H, W, 3).

    Light up to 0.7 of SDR white keeps its value, brighter light rolls off towards white; the
    curve works on the largest channel, so hues stay. BT.2020 to BT.709 primaries: BT.2087.
    """
    light = _linear_light(transfer)[rgb]
    to_709 = np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
        dtype=np.float32,
    )
    light = np.maximum(light @ to_709.T, 0)
    peak = light.max(axis=2, keepdims=True)
    above = np.maximum(peak - _KNEE, 0) / (1 - _KNEE)
    mapped = np.where(peak > _KNEE, _KNEE + (1 - _KNEE) * above / (1 + above), peak)
    light *= mapped / np.maximum(peak, 1e-6)
    return np.rint(255 * light ** np.float32(1 / 2.4)).astype(np.uint8)  # BT.1886 display
