"""3x3 convolution with frozen weights by Winograd's minimal filtering, for training on a CPU.

F(4x4, 3x3) of Lavin and Gray 2016 ("Fast algorithms for convolutional neural networks"): tiles of
6x6 give 4x4 results with 36 products a channel pair in place of 144. The transforms are passes
through memory, so it pays where there are many channels: with 256 of them it takes half the time of
torch's own convolution on a processor with AVX2, with 64 it takes longer.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_CHANNELS = 128
_TILE, _PATCH = 4, 6

_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_FILTER = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div(24)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)


def is_faster_here() -> bool:
    """On processors with AVX2 and no AVX-512, where it was measured.

    Wider vectors double torch's own convolution, but not the passes through memory here.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def pays(weight: Tensor) -> bool:
    """Whether a convolution with this weight (O, C, 3, 3) has channels enough, both ways."""
    return min(weight.shape[:2]) >= MIN_CHANNELS


def filters(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The transformed weights that `conv3x3` takes.

    Args:
        weight: (O, C, 3, 3) float32.

    Returns:
        (36, C, O) for the convolution itself and (36, O, C) for its gradient.
    """
    backward = weight.flip(2, 3).transpose(0, 1)
    return _transformed(weight), _transformed(backward)


def conv3x3(x: Tensor, bias: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)` in float32, to about 1e-5 of its largest value.

    Only `x` gets a gradient, once: it is no function to differentiate twice.

    Args:
        x: (B, C, H, W), fastest when it is channels-last in memory.
        bias: (O,).
        forward: the first of `filters`.
        backward: the second of `filters`.

    Returns:
        (B, O, H, W), channels-last in memory.
    """
    return cast(Tensor, _Conv3x3.apply(x, bias, forward, backward))


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.save_for_backward(backward)
        return _convolve(x, forward).add_(bias.view(1, -1, 1, 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (backward,) = ctx.saved_tensors
        return _convolve(grads[0], backward), None, None, None


def _transformed(weight: Tensor) -> Tensor:
    num_out, num_in = weight.shape[:2]
    spectrum = torch.einsum("ia,ocab,jb->ijco", _FILTER, weight.double(), _FILTER)
    return spectrum.reshape(_PATCH**2, num_in, num_out).float().contiguous()


def _convolve(x: Tensor, spectrum: Tensor) -> Tensor:
    """Zero-padded convolution of (B, C, H, W), picture by picture so that the tiles stay cached."""
    height, width = x.shape[2:]
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    num_out = spectrum.shape[2]
    to_tiles = torch.kron(_INPUT, _INPUT).float()
    from_tiles = torch.kron(_OUTPUT, _OUTPUT).float()
    pictures = x.permute(0, 2, 3, 1)
    padding = (0, 0, 1, columns * _TILE - width + 1, 1, rows * _TILE - height + 1)
    result = x.new_empty(len(x), rows, _TILE, columns, _TILE, num_out)
    for picture, painted in zip(pictures, result, strict=True):
        patches = F.pad(picture, padding).unfold(0, _PATCH, _TILE).unfold(1, _PATCH, _TILE)
        tiles = patches.permute(3, 4, 0, 1, 2).reshape(_PATCH**2, -1)
        tiles = (to_tiles @ tiles).view(_PATCH**2, rows * columns, -1)
        products = torch.bmm(tiles, spectrum).view(_PATCH**2, -1)
        blocks = (from_tiles @ products).view(_TILE, _TILE, rows, columns, num_out)
        painted.copy_(blocks.permute(2, 0, 3, 1, 4))
    result = result.view(len(x), rows * _TILE, columns * _TILE, num_out)
    return result[:, :height, :width].permute(0, 3, 1, 2)
