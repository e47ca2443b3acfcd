"""The paintings: found, brought to size, and reduced to their Gram matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastvid.image import read_image, to_tensor
from fastvid.perceptual.losses import gram_matrices
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.mode import Mode

SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Painting:
    """One style image as the objective sees it.

    Attributes:
        path: of the file.
        size: (H, W) at which its statistics were taken.
        grams: Gram matrix by style layer, (1, C, C).
    """

    path: Path
    size: tuple[int, int]
    grams: Mapping[str, Tensor]


def find_painting(name: str, data_root: Path) -> Path:
    """The file of a painting: a path, or a file or stem in `<data root>/styles`.

    Raises:
        FileNotFoundError: there is none of these.
    """
    for folder in (Path(), data_root / "styles"):
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            if name and path.is_file():
                return path
    raise FileNotFoundError(
        f"no painting {name!r}, neither here nor in {data_root / 'styles'}; set style.image to a "
        "picture, or FASTVID_DATA to a folder that has styles/"
    )


def load_painting(
    path: Path,
    vgg: VGGFeatures,
    layers: Sequence[str],
    mode: Mode,
    content_size: tuple[int, int],
    style_scale: float = 1.0,
) -> Painting:
    """A painting whose area is that of the frame times `style_scale` squared.

    Args:
        path: image file.
        vgg: network, on the device where the Gram matrices are wanted.
        layers: style layers.
        mode: pixel space.
        content_size: (H, W) of the frames.
        style_scale: factor on the sides; larger gives larger strokes.
    """
    image = to_tensor(read_image(path))
    height, width = image.shape[-2:]
    factor = math.sqrt(content_size[0] * content_size[1] / (height * width)) * style_scale
    size = (max(1, int(height * factor)), max(1, int(width * factor)))  # cut, as by torch7
    device = vgg.get_buffer("input_scale").device
    with torch.no_grad():
        pixels = mode.encode(resample(image, size).to(device))
        features = vgg(mode.vgg_input(pixels))
        grams = gram_matrices({name: features[name] for name in layers})
    return Painting(path, size, grams)


def blend_grams(paintings: Sequence[Painting], weights: Sequence[float]) -> dict[str, Tensor]:
    """Weighted sum of the Gram matrices by layer; the weights are brought to the sum 1."""
    total = sum(weights)
    layers = paintings[0].grams
    return {
        name: torch.stack(
            [p.grams[name] * (w / total) for p, w in zip(paintings, weights, strict=True)]
        ).sum(0)
        for name in layers
    }


def resample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The image at another size by the "bilinear" of torch7's image package.

    Each axis on its own: box average over the covered pixels where it shrinks, linear between
    pixel centres with the corners aligned where it grows.

    Args:
        image: (B, C, H, W).
        size: new (H, W).
    """
    rows = _axis_weights(image.shape[-2], size[0]).to(image)
    columns = _axis_weights(image.shape[-1], size[1]).to(image)
    return rows @ image @ columns.T


def _axis_weights(old: int, new: int) -> Tensor:
    """Matrix (new, old) whose rows sum to 1."""
    if new >= old:
        position = torch.arange(new) * ((old - 1) / max(new - 1, 1))
        return (1 - (position[:, None] - torch.arange(old)).abs()).clamp_min(0)
    edges = torch.arange(new + 1, dtype=torch.float64) * (old / new)
    pixels = torch.arange(old, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    weights = overlap.clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float()
