"""Building blocks of the transformer networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SCALE = 4.0  # brings photographs, (x - 0.5), to a standard deviation of about 1
# Under the usual 1e-5, channels that are all but constant in a dark or empty frame are amplified
# three hundredfold, grain included.
EPSILON = 1e-3


def conv3x3(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """3x3 convolution that keeps the size (divided by the stride) by padding with zeros.

    Zeros cost nothing, where every other padding is a pass over memory before each convolution;
    what they do to the border falls into the margin that `extend` adds.
    """
    return nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, groups=groups
    )


class InstanceNorm(nn.Module):
    """Affine instance norm with one row of scales and shifts per style.

    The statistics are those of the picture, at test time too, or of all frames of a shot taken
    together, see `normalizing`. With several rows it is the conditional instance norm of Dumoulin
    et al. 2017: one network, many paintings.
    """

    def __init__(self, channels: int, num_styles: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_styles, channels))
        self.bias = nn.Parameter(torch.zeros(num_styles, channels))
        self.style = 0
        self.frames_per_shot = 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        weight, bias = self.weight[self.style], self.bias[self.style]
        k = self.frames_per_shot
        if k == 1:
            return F.instance_norm(x, weight=weight, bias=bias, eps=EPSILON)
        # The frames of a shot below each other are one tall picture.
        b, c, h, w = x.shape
        tall = x.view(b // k, k, c, h, w).transpose(1, 2).reshape(b // k, c, k * h, w)
        tall = F.instance_norm(tall, weight=weight, bias=bias, eps=EPSILON)
        return tall.view(b // k, c, k, h, w).transpose(1, 2).reshape(b, c, h, w)


@contextmanager
def normalizing(net: nn.Module, style: int = 0, frames_per_shot: int = 1) -> Iterator[None]:
    """Let the norms of a network use one style's row and pool the statistics of shots.

    Args:
        net: any module with `InstanceNorm` layers.
        style: row of scales and shifts.
        frames_per_shot: so many frames that follow each other in the batch share their statistics;
            must divide the batch.
    """
    norms = [module for module in net.modules() if isinstance(module, InstanceNorm)]
    before = [(norm.style, norm.frames_per_shot) for norm in norms]
    try:
        for norm in norms:
            norm.style, norm.frames_per_shot = style, frames_per_shot
        yield
    finally:
        for norm, (row, frames) in zip(norms, before, strict=True):
            norm.style, norm.frames_per_shot = row, frames


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), dense 3x3; the first convolution may be dilated."""

    def __init__(self, channels: int, dilation: int = 1, num_styles: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels, dilation=dilation)
        self.norm1 = InstanceNorm(channels, num_styles)
        self.conv2 = conv3x3(channels, channels)
        self.norm2 = InstanceNorm(channels, num_styles)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class SeparableBlock(nn.Module):
    """Residual block of a depthwise 3x3 and a pointwise convolution: a ninth of the arithmetic."""

    def __init__(self, channels: int, dilation: int = 1, num_styles: int = 1) -> None:
        super().__init__()
        self.depthwise = conv3x3(channels, channels, dilation=dilation, groups=channels)
        self.norm1 = InstanceNorm(channels, num_styles)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.norm2 = InstanceNorm(channels, num_styles)

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
        return F.pixel_shuffle(F.conv2d(x, weight, bias, padding=1), 2)


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


def extend(
    x: Tensor, multiple: int, margin_px: int = 0, dims: tuple[int, int] = (-2, -1)
) -> Tensor:
    """Repeat the border: a margin all around, and more below and right up to a multiple.

    By indexing rather than padding, so that the exported graph stays free in H and W.

    Args:
        x: any tensor with two sides.
        multiple: the sides, without the margin, become multiples of this; at least 1.
        margin_px: rows and columns added on each of the four sides.
        dims: where the sides are.
    """
    for dim in dims:
        size = x.shape[dim]
        padded = (size + multiple - 1) // multiple * multiple
        index = torch.arange(-margin_px, padded + margin_px, device=x.device)
        x = x.index_select(dim, index.clamp(0, size - 1))
    return x
