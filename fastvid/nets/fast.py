"""The fast networks: space-to-depth stem, a body at a quarter of the resolution, a light tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from fastvid.nets.blocks import (
    INPUT_SCALE,
    InstanceNorm,
    PlainUpsampleConv,
    ResidualBlock,
    SeparableBlock,
    UpsampleConv,
    conv3x3,
    extend,
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
        margin_px: border that is painted too and then cropped, in whole cells of 4 px. It holds the
            worst of what the zeros around every convolution do; depthwise convolutions need more.
        num_styles: rows of scales and shifts in every norm; the network of one painting has 1.
    """

    unshuffle: int = 2
    stem_channels: int = 32
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 2, 1)
    separable: bool = False
    tail_channels: tuple[int, ...] = (32, 16)
    margin_px: int = 4
    num_styles: int = 1

    def __post_init__(self) -> None:
        if self.unshuffle not in (2, 4):
            raise ValueError(f"unshuffle is 2 or 4, not {self.unshuffle}")
        if self.margin_px < 0 or self.margin_px % 4:
            raise ValueError(f"margin_px is a multiple of 4, not {self.margin_px}")
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
        self.margin_px = c.margin_px
        stem: list[nn.Module]
        if c.unshuffle == 2:
            stem = [
                nn.PixelUnshuffle(2),
                conv3x3(12, c.stem_channels),
                InstanceNorm(c.stem_channels, c.num_styles),
                nn.ReLU(),
                conv3x3(c.stem_channels, c.channels, stride=2),
            ]
        else:
            stem = [nn.PixelUnshuffle(4), conv3x3(48, c.channels)]
        self.stem = nn.Sequential(*stem, InstanceNorm(c.channels, c.num_styles), nn.ReLU())
        block = SeparableBlock if c.separable else ResidualBlock
        self.body = nn.Sequential(*[block(c.channels, d, c.num_styles) for d in c.dilations])
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
        m = self.margin_px
        painted = self.paint(extend(frames, self.multiple, m))
        return painted[..., m : m + h, m : m + w]

    def paint(self, frames: Tensor) -> Tensor:
        """`forward` for frames that `extend` has prepared; the margin stays on."""
        features: Tensor = self.body(self.stem((frames - 0.5) * INPUT_SCALE))
        return self.tail(features) + 0.5

    def styles(self, rows: Sequence[int]) -> FastNet:
        """A copy of this network that holds these rows of the norms, in this order.

        `styles([3])` is the network of painting 3 alone, `styles([0] * 5)` makes room for five.
        """
        copy = FastNet(replace(self.config, num_styles=len(rows)))
        state = self.state_dict()
        for name, module in self.named_modules():
            if isinstance(module, InstanceNorm):
                for part in ("weight", "bias"):
                    state[f"{name}.{part}"] = state[f"{name}.{part}"][list(rows)]
        copy.load_state_dict(state)
        return copy

    def merged(self) -> FastNet:
        """The same function with the upsampling kernels stored ready to run; for export.

        Changes this network in place and returns it.
        """
        last = self.tail[-1]
        if isinstance(last, UpsampleConv):
            self.tail[-1] = PlainUpsampleConv(last)
        return self
