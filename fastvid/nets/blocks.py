"""Building blocks of the transformer networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SCALE = 4.0  # brings photographs, (x - 0.5), to a standard deviation of about 1


def conv3x3(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """3x3 convolution that keeps the size (divided by the stride) by replicating the border."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        3,
        stride,
        padding=dilation,
        dilation=dilation,
        groups=groups,
        padding_mode="replicate",
    )


def instance_norm(channels: int) -> nn.InstanceNorm2d:
    """Affine instance norm with the frame's own statistics, at test time too."""
    return nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), dense 3x3; the first convolution may be dilated."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels, dilation=dilation)
        self.norm1 = instance_norm(channels)
        self.conv2 = conv3x3(channels, channels)
        self.norm2 = instance_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class SeparableBlock(nn.Module):
    """Residual block of a depthwise 3x3 and a pointwise convolution: a ninth of the arithmetic."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = conv3x3(channels, channels, dilation=dilation, groups=channels)
        self.norm1 = instance_norm(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.norm2 = instance_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x + self.norm2(self.pointwise(F.relu(self.norm1(self.depthwise(x)))))


class UpsampleConv(nn.Module):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution, computed at the low resolution.

    On a picture whose 2x2 cells are constant, a 3x3 kernel meets only 2x2 different cells, one
    arrangement for each of the four positions inside a cell. So the pair equals one 3x3
    convolution with four times the outputs, followed by a pixel shuffle; the kernels of the four
    positions are sums of the same nine taps. It runs at the price of a pixel-shuffle stage, but a
    flat input can only give a flat output: the two-pixel grid of free pixel-shuffle kernels
    cannot arise (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, 3)  # for its initialisation
        assert conv.bias is not None
        self.weight = nn.Parameter(conv.weight.detach())
        self.bias = nn.Parameter(conv.bias.detach())
        # spread[p, k, t]: tap t of the high-resolution kernel lands on tap k of phase p.
        spread = torch.zeros(2, 3, 3)
        for phase in range(2):
            for tap in range(3):
                spread[phase, (phase + tap - 1) // 2 + 1, tap] = 1
        self.register_buffer("spread", spread, persistent=False)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Kernel (4*out, in, 3, 3) and bias (4*out,) in the order of `pixel_shuffle`."""
        spread = self.get_buffer("spread")
        kernel = torch.einsum("oiyx,pky,qlx->opqikl", self.weight, spread, spread)
        return kernel.flatten(0, 2), self.bias.repeat_interleave(4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, 2H, 2W)."""
        weight, bias = self.merged()
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, weight, bias), 2)


class PlainUpsampleConv(nn.Module):
    """`UpsampleConv` with its merged kernel stored: what the exported graph holds."""

    def __init__(self, trained: UpsampleConv) -> None:
        super().__init__()
        weight, bias = trained.merged()
        self.conv = conv3x3(weight.shape[1], weight.shape[0])
        self.conv.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, 2H, 2W)."""
        return F.pixel_shuffle(self.conv(x), 2)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of `multiple`.

    By indexing rather than padding, so that the exported graph stays free in H and W.

    Args:
        x: (B, C, H, W).
        multiple: at least 1.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        padded = (size + multiple - 1) // multiple * multiple
        index = torch.arange(padded, device=x.device).clamp(max=size - 1)
        x = x.index_select(dim, index)
    return x
