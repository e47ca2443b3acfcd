"""What a network learns of a painting: Gram matrices of its features, and its palette.

Stored for the shipped paintings, in the coordinates of the small perceptual network, so that a
style can be trained where neither VGG nor the picture is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from fastvid.files import write_atomically
from fastvid.perceptual.losses import color_statistics, gram_matrices

SHIPPED = Path(__file__).with_name("paintings.safetensors")
_MEAN, _COVARIANCE = "palette_mean", "palette_covariance"


@dataclass(frozen=True)
class PaintingStatistics:
    """Targets of the style and the palette term.

    Attributes:
        grams: layer name -> (1, C, C).
        palette_mean: (3,), RGB in [0, 1].
        palette_covariance: (3, 3).
    """

    grams: Mapping[str, Tensor]
    palette_mean: Tensor
    palette_covariance: Tensor


@torch.no_grad()
def measure(features: nn.Module, painting: Tensor) -> PaintingStatistics:
    """Statistics of a painting.

    Args:
        features: picture to activations by layer name.
        painting: (1, 3, H, W) RGB in [0, 1], at the size its strokes shall have.
    """
    return PaintingStatistics(gram_matrices(features(painting)), *color_statistics(painting))


def write_statistics(path: Path, paintings: Mapping[str, PaintingStatistics]) -> None:
    """Store the statistics of several paintings by name, in half precision."""
    tensors = {}
    for name, statistics in paintings.items():
        for layer, gram in statistics.grams.items():
            tensors[f"{name}.{layer}"] = gram.half()
        tensors[f"{name}.{_MEAN}"] = statistics.palette_mean
        tensors[f"{name}.{_COVARIANCE}"] = statistics.palette_covariance
    write_atomically(path, serialize(tensors))


def read_statistics(name: str, path: Path = SHIPPED) -> PaintingStatistics | None:
    """The stored statistics of one painting; None if there are none."""
    if not path.is_file():
        return None
    with safe_open(str(path), framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(f"{name}.")]
        found = {key.removeprefix(f"{name}."): file.get_tensor(key).float() for key in keys}
    if not found:
        return None
    mean, covariance = found.pop(_MEAN), found.pop(_COVARIANCE)
    return PaintingStatistics(found, mean, covariance)
