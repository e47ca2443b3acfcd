"""The fast networks: space-to-depth stem, a body at a quarter of the resolution, a light tail."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from fastvid.nets.blocks import (
    INPUT_SCALE,
    PlainUpsampleConv,
    ResidualBlock,
    SeparableBlock,
    UpsampleConv,
    conv3x3,
    instance_norm,
    pad_to_multiple,
)


@dataclass(frozen=True)
class FastNetConfig:
    """Shape of a `FastNet`.

    Attributes:
        unshuffle: space-to-depth factor of the input, 2 or 4; with 2 a strided convolution makes
            up the rest of the factor 4.
        stem_channels: outputs of the first convolution (unused with `unshuffle` 4).
        channels: width of the body.
        dilations: one residual block each, with this dilation in its first convolution.
        separable: depthwise separable blocks instead of dense ones.
        tail_channels: outputs of the half-resolution convolutions before the last one.
    """

    unshuffle: int = 2
    stem_channels: int = 32
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 2, 1)
    separable: bool = False
    tail_channels: tuple[int, ...] = (32, 16)

    def __post_init__(self) -> None:
        if self.unshuffle not in (2, 4):
            raise ValueError(f"unshuffle is 2 or 4, not {self.unshuffle}")
        object.__setattr__(self, "dilations", tuple(self.dilations))
        object.__setattr__(self, "tail_channels", tuple(self.tail_channels))


class FastNet(nn.Module):
    """Feed-forward painter after `Johnson et al. 2016`, five times lighter.

    Space-to-depth replaces the convolutions at full resolution; the convolutions of the tail run
    below their output's resolution (`UpsampleConv`). Instance norm sits in the stem and the body
    only: in the last stages it invites blobs (`EmptySamurai/pytorch-reconet`) and costs time.
    """

    multiple = 4

    def __init__(self, config: FastNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or FastNetConfig()
        c = self.config
        stem: list[nn.Module]
        if c.unshuffle == 2:
            stem = [
                nn.PixelUnshuffle(2),
                conv3x3(12, c.stem_channels),
                instance_norm(c.stem_channels),
                nn.ReLU(),
                conv3x3(c.stem_channels, c.channels, stride=2),
            ]
        else:
            stem = [nn.PixelUnshuffle(4), conv3x3(48, c.channels)]
        self.stem = nn.Sequential(*stem, instance_norm(c.channels), nn.ReLU())
        block = SeparableBlock if c.separable else ResidualBlock
        self.body = nn.Sequential(*[block(c.channels, dilation) for dilation in c.dilations])
        first, *rest = c.tail_channels
        # The plain form of UpsampleConv: with 64 inputs it is the faster one, and the file smaller.
        tail: list[nn.Module] = [nn.Upsample(scale_factor=2), conv3x3(c.channels, first), nn.ReLU()]
        width = first
        for channels in rest:
            tail += [conv3x3(width, channels), nn.ReLU()]
            width = channels
        self.tail = nn.Sequential(*tail, UpsampleConv(width, 3))

    def settings(self) -> dict[str, Any]:
        """What `build_net` needs to make this network again; plain values."""
        return asdict(self.config)

    def forward(self, frames: Tensor) -> Tensor:
        """Paint.

        Args:
            frames: (B, 3, H, W) RGB in [0, 1], H and W at least 16.

        Returns:
            Same shape; nominally [0, 1], not clamped.
        """
        h, w = frames.shape[-2:]
        return self.paint(pad_to_multiple(frames, self.multiple))[..., :h, :w]

    def paint(self, frames: Tensor) -> Tensor:
        """`forward` for sides that are multiples of `multiple`."""
        features: Tensor = self.body(self.stem((frames - 0.5) * INPUT_SCALE))
        return self.tail(features) + 0.5

    def merged(self) -> FastNet:
        """The same function with the upsampling kernels stored ready to run; for export.

        Changes this network in place and returns it.
        """
        last = self.tail[-1]
        if isinstance(last, UpsampleConv):
            self.tail[-1] = PlainUpsampleConv(last)
        return self
