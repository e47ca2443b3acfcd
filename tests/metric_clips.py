"""Small clips with a known motion, for the tests of the metrics."""

import numpy as np
import torch

from fastvid.evaluation.judge import STYLE_LAYERS
from fastvid.evaluation.metrics import ClipMeter
from fastvid.perceptual.vgg import VGGFeatures, VGGWeights, layer_index

SIZE = (40, 56)


def still(_prev, _cur, prev, _frame):
    """Motion of a clip in which nothing moves."""
    b, _, h, w = prev.shape
    return torch.zeros(b, 2, h, w), torch.ones(b, 1, h, w)


def pan(step_px):
    """Motion of a clip that slides left by so many whole columns a frame."""

    def motion(prev_index, cur_index, prev, _frame):
        b, _, h, w = prev.shape
        shift = step_px * (cur_index - prev_index)
        flow = torch.zeros(b, 2, h, w)
        flow[:, 0] = shift
        certainty = torch.zeros(b, 1, h, w)
        certainty[..., : w - shift] = 1.0
        return flow, certainty

    return motion


def texture(height=SIZE[0], width=SIZE[1], seed=0):
    """A smooth random picture, uint8."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(40, 215, (height // 4 + 2, width // 4 + 2, 3))
    big = small.repeat(4, axis=0).repeat(4, axis=1)
    for axis in (0, 1):
        big = (big + np.roll(big, 1, axis) + np.roll(big, 2, axis) + np.roll(big, 3, axis)) / 4
    return big[4 : 4 + height, 4 : 4 + width].round().astype(np.uint8)


def panning_clip(frames=6, step_px=2, seed=0):
    wide = texture(SIZE[0], SIZE[1] + frames * step_px, seed)
    return np.stack([wide[:, t * step_px : t * step_px + SIZE[1]] for t in range(frames)])


def measure(source, stylized, motion, gaps=(1, 4, 10)):
    meter = ClipMeter(gaps, motion=motion)
    for pair in zip(source, stylized, strict=True):
        meter.update(*pair)
    return meter


def tiny_vgg(seed=0):
    """VGG-19 to relu4_1 with random weights of a few channels: real code, no files."""
    generator = torch.Generator().manual_seed(seed)
    tensors, channels = {}, 3
    for name, index in layer_index("vgg19").items():
        if name > "relu4_1":
            break
        tensors[f"features.{index}.weight"] = torch.randn(6, channels, 3, 3, generator=generator)
        tensors[f"features.{index}.bias"] = torch.randn(6, generator=generator)
        channels = 6
    return VGGFeatures(STYLE_LAYERS, VGGWeights("vgg19", "torchvision", tensors))
