"""The network of Johnson, Alahi and Fei-Fei 2016: the yardstick for style, speed and size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fastvid.nets.blocks import INPUT_SCALE, extend


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=padding, padding_mode="reflect"
    )


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(channels, channels, 3), _norm(channels)
        self.conv2, self.norm2 = _conv(channels, channels, 3), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class JohnsonNet(nn.Module):
    """c9s1-32, d64, d128, R128 x5, u64, u32, c9s1-3 with instance norm.

    The widespread form: every convolution pads by reflection, and nearest-neighbour upsampling
    with a convolution takes the place of the transposed convolutions (no checkerboard). 1.68 M
    parameters, 35 G multiply-adds at 640x360. Departure: output + 0.5, as the fast networks have,
    instead of a scaled tanh.
    """

    multiple = 4
    margin_px = 0

    def __init__(self, width: int = 32, num_blocks: int = 5) -> None:
        super().__init__()
        self.width, self.num_blocks = width, num_blocks
        w = width
        self.layers = nn.Sequential(
            *(_conv(3, w, 9), _norm(w), nn.ReLU()),
            *(_conv(w, 2 * w, 3, 2), _norm(2 * w), nn.ReLU()),
            *(_conv(2 * w, 4 * w, 3, 2), _norm(4 * w), nn.ReLU()),
            *(_Block(4 * w) for _ in range(num_blocks)),
            *(nn.Upsample(scale_factor=2), _conv(4 * w, 2 * w, 3), _norm(2 * w), nn.ReLU()),
            *(nn.Upsample(scale_factor=2), _conv(2 * w, w, 3), _norm(w), nn.ReLU()),
            _conv(w, 3, 9),
        )

    def settings(self) -> dict[str, Any]:
        """What `build_net` needs to make this network again; plain values."""
        return {"width": self.width, "num_blocks": self.num_blocks}

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> same shape, not clamped; H and W at least 16."""
        h, w = frames.shape[-2:]
        return self.paint(extend(frames, self.multiple))[..., :h, :w]

    def paint(self, frames: Tensor) -> Tensor:
        """`forward` for sides that are multiples of `multiple`."""
        return self.layers((frames - 0.5) * INPUT_SCALE) + 0.5

    def merged(self) -> JohnsonNet:
        """Nothing to merge; same interface as `FastNet`."""
        return self
