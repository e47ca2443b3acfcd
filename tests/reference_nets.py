"""A tiny VGG with random weights, and the paper's losses written out in numpy, for the tests."""

import math

import numpy as np
import torch

from fastvid.perceptual.vgg import CONVS_PER_STAGE, VGGFeatures, VGGWeights, layer_index

MEAN_RGB = np.array([123.68, 116.779, 103.939])


def tiny_weights(channels: int = 4, stages: int = 2, seed: int = 0) -> VGGWeights:
    """Caffe-style weights of a VGG-19 of few channels, scaled to keep activations in range."""
    generator = torch.Generator().manual_seed(seed)
    index = layer_index("vgg19")
    tensors: dict[str, torch.Tensor] = {}
    fan_in = 3
    for stage in range(1, stages + 1):
        for conv in range(1, CONVS_PER_STAGE["vgg19"][stage - 1] + 1):
            key = f"features.{index[f'relu{stage}_{conv}']}"
            std = math.sqrt(2 / (9 * fan_in))
            weight = torch.randn(channels, fan_in, 3, 3, generator=generator) * std
            tensors[f"{key}.weight"] = weight
            tensors[f"{key}.bias"] = torch.randn(channels, generator=generator)
            fan_in = channels
    return VGGWeights("vgg19", "caffe", tensors, "tiny")


def tiny_vgg(layers: list[str], pooling: str = "max") -> VGGFeatures:
    return VGGFeatures(
        layers,
        tiny_weights(),
        pooling=pooling,
        ceil_mode=pooling == "max",  # type: ignore[arg-type]
    )


def numpy_features(weights: VGGWeights, pixels: np.ndarray, last: str) -> dict[str, np.ndarray]:
    """Activations (C, H, W) in float64 of an RGB image (3, H, W) in pixel space (means off)."""
    x = pixels[::-1].astype(np.float64)  # caffe weights want BGR
    found = {}
    for name, number in layer_index("vgg19").items():
        if name.endswith("_1") and name != "relu1_1":
            x = ceil_max_pool(x)
        weight = weights.tensors[f"features.{number}.weight"].double().numpy()
        bias = weights.tensors[f"features.{number}.bias"].double().numpy()
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        h, w = x.shape[1:]
        x = np.zeros((len(weight), h, w)) + bias[:, None, None]
        for dy in range(3):
            for dx in range(3):
                patch = padded[:, dy : dy + h, dx : dx + w].reshape(padded.shape[0], -1)
                x += (weight[:, :, dy, dx] @ patch).reshape(-1, h, w)
        x = np.maximum(x, 0)
        found[name] = x
        if name == last:
            return found
    raise AssertionError(last)


def ceil_max_pool(x: np.ndarray) -> np.ndarray:
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, h % 2), (0, w % 2)), constant_values=-np.inf)
    return padded.reshape(len(x), (h + 1) // 2, 2, (w + 1) // 2, 2).max(axis=(2, 4))


def numpy_gram(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), -1)
    return flat @ flat.T / features.size


def numpy_warp(image: np.ndarray, flow: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Bilinear look-up of (H, W, 3) at p + flow(p), flow (H, W, 2); `fill` beyond the border."""
    h, w = image.shape[:2]
    x = np.arange(w) + flow[..., 0].astype(np.float64)
    y = np.arange(h)[:, None] + flow[..., 1].astype(np.float64)
    outside = (x < 0) | (x > w - 1) | (y < 0) | (y > h - 1)
    x, y = x.clip(0, w - 1), y.clip(0, h - 1)
    x0, y0 = np.floor(x).astype(int).clip(0, w - 2), np.floor(y).astype(int).clip(0, h - 2)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = (1 - a) * image[y0, x0] + a * image[y0, x0 + 1]
    bottom = (1 - a) * image[y0 + 1, x0] + a * image[y0 + 1, x0 + 1]
    warped = (1 - b) * top + b * bottom
    warped[outside] = fill
    return warped
