"""Still images to arrays and tensors and back, for training, evaluation and the reference.

cv2 and torch are imported by the functions that need them. What only paints films goes through
`fastvid.video`, which needs neither.
"""

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fastvid.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


def load_cv2() -> ModuleType:
    """OpenCV, or a RuntimeError that names the remedy where its libraries are missing."""
    try:
        import cv2
    except ImportError as error:
        raise RuntimeError(
            f"OpenCV cannot be loaded ({error}); install the system package libgl1, "
            "or replace opencv-python by opencv-python-headless"
        ) from None
    return cv2


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """uint8 (H, W, 3) RGB of an image file, turned upright by its EXIF tag.

    Grey becomes three equal channels, 16 bit becomes 8, alpha is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the file is not an image that OpenCV reads, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file")
    cv2 = load_cv2()
    # imdecode rather than imread: it takes any file name on any system and prints no warning
    data = np.fromfile(path, dtype=np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # sizes beyond OpenCV's limit
        image = None
    if image is None:
        raise RuntimeError(f"{path}: not a readable image (empty, damaged or of an unknown format)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB in the format of the suffix; complete or not at all.

    JPEG and WebP are written at quality 95.

    Raises:
        ValueError: the array is not uint8 (H, W, 3), or the suffix is no image format.
        RuntimeError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"write_image: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    cv2 = load_cv2()
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise ValueError(f"{path}: no image format of this suffix; use .png, .jpg or .webp")
    # Only the format's own option: OpenCV warns of any other.
    quality = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    }.get(path.suffix.lower(), [])
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    try:
        write_atomically(path, data.tobytes())
    except OSError as error:
        raise RuntimeError(f"{path}: cannot be written ({error.strerror})") from None


def resize_image(
    image: np.ndarray, height_px: int | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """The image at `height_px` rows (aspect kept) or at `size` (H, W).

    Area average when shrinking, cubic when enlarging.

    Raises:
        ValueError: neither or both of `height_px` and `size` are given, or one is below 1.
    """
    if (height_px is None) == (size is None):
        raise ValueError("resize_image: give either height_px or size")
    rows, columns = image.shape[:2]
    if size is None:
        assert height_px is not None
        size = height_px, max(1, round(columns * height_px / rows))
    if min(size) < 1:
        raise ValueError(f"resize_image: size must be at least 1x1, got {size[0]}x{size[1]}")
    if size == (rows, columns):
        return image
    cv2 = load_cv2()
    shrinks = size[0] * size[1] < rows * columns
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


def to_tensor(image: np.ndarray) -> "Tensor":
    """Float (N, 3, H, W) in [0, 1] from uint8 (H, W, 3) or (N, H, W, 3); a copy.

    Raises:
        ValueError: another dtype or shape.
    """
    import torch

    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
        raise ValueError(
            f"to_tensor: expected uint8 (H, W, 3) or (N, H, W, 3), got {image.dtype} {image.shape}"
        )
    batch = image[None] if image.ndim == 3 else image
    channels_first = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    return torch.from_numpy(channels_first).to(torch.float32) / 255


def to_array(tensor: "Tensor") -> np.ndarray:
    """uint8 (N, H, W, 3) from float (N, 3, H, W) or (3, H, W); clamps to [0, 1] and rounds.

    Raises:
        ValueError: another shape.
    """
    import torch

    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3:
        raise ValueError(f"to_array: expected (N, 3, H, W) or (3, H, W), got {tuple(tensor.shape)}")
    batch = tensor[None] if tensor.ndim == 3 else tensor
    levels = batch.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
