"""Transformer networks: RGB float (B, 3, H, W) in [0, 1] to the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastvid.nets.fast import FastNet, FastNetConfig
from fastvid.nets.johnson import JohnsonNet

TransformerNet = FastNet | JohnsonNet

# What sets the sizes apart; everything else is FastNetConfig's default, which is `base`.
SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "small": {
        "stem_channels": 24,
        "channels": 48,
        "dilations": (1, 2, 1, 4, 2, 1),
        "separable": True,
        "tail_channels": (24, 16),
        "margin_px": 12,
    },
    "nano": {
        "unshuffle": 4,
        "channels": 64,
        "dilations": (1, 2, 1, 4, 2, 1),
        "separable": True,
        "tail_channels": (16,),
        "margin_px": 12,
    },
}
NAMES = (*SIZES, "johnson")


def build_net(name: str, settings: Mapping[str, Any] | None = None) -> TransformerNet:
    """A network with fresh weights.

    Args:
        name: `base`, `small`, `nano` or `johnson`.
        settings: overrides of its configuration, as `net.settings()` returns them.

    Raises:
        ValueError: for an unknown name or setting.
    """
    if name not in NAMES:
        raise ValueError(f"unknown net {name!r}; choose from {', '.join(NAMES)}")
    values = dict(settings or {})
    try:
        if name == "johnson":
            return JohnsonNet(**values)
        return FastNet(FastNetConfig(**{**SIZES[name], **values}))
    except TypeError as error:
        raise ValueError(f"net {name}: {error}") from error
