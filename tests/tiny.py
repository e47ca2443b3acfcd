"""Tiny real components that tests share: a narrow VGG, a painting, a data root."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from fastvid.image import write_image
from fastvid.perceptual.vgg import VGGWeights, layer_index


def vgg_tensors(width: int = 4, last: str = "relu4_1", arch: str = "vgg19") -> dict:
    """Seeded random convolutions under torchvision's names, `width` channels everywhere."""
    generator = torch.Generator().manual_seed(1)
    index = layer_index(arch)
    tensors, channels = {}, 3
    for number in index.values():
        if number > index[last]:
            break
        weight = torch.randn(width, channels, 3, 3, generator=generator)
        tensors[f"features.{number}.weight"] = weight * (2 / (9 * channels)) ** 0.5
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(width, generator=generator)
        channels = width
    return tensors


def vgg_weights(convention="torchvision", **options) -> VGGWeights:
    return VGGWeights("vgg19", convention, vgg_tensors(**options), "tiny")


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise, uint8 (H, W, 3)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def data_root(folder: Path) -> Path:
    """A data root with VGG weights and a painting, no clips."""
    (folder / "weights").mkdir(parents=True)
    save_file(vgg_tensors(), str(folder / "weights" / "vgg19_caffe.safetensors"))
    (folder / "styles").mkdir()
    write_image(folder / "styles" / "tiny.png", texture(72, 96, seed=5))
    return folder
