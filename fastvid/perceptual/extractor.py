"""Which network judges the pictures while another one learns to paint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from fastvid.perceptual.mini import MiniFeatures
from fastvid.perceptual.vgg import candidate_files, load_vgg, reaches, read_weights

log = logging.getLogger(__name__)

MINI, AUTO = "mini", "auto"
PERCEPTUAL = (AUTO, MINI, "vgg19", "vgg16")


def choose(arch: str, layers: Sequence[str], data_root: Path | str) -> str:
    """`arch`, or for `auto` vgg19 where its weights are at hand and `mini` elsewhere.

    Raises:
        ValueError: for an unknown name.
    """
    if arch not in PERCEPTUAL:
        raise ValueError(f"perceptual network {arch!r} is unknown; choose from {PERCEPTUAL}")
    if arch != AUTO:
        return arch
    files = candidate_files("vgg19", Path(data_root))
    if any(reaches(read_weights(path, "vgg19"), layers) for path in files):
        return "vgg19"
    log.info("no VGG-19 here: training with the small perceptual network (perceptual=vgg19 else)")
    return MINI


def load_extractor(arch: str, layers: Sequence[str], data_root: Path | str) -> nn.Module:
    """The frozen network: RGB (B, 3, H, W) in [0, 1] to activations by layer name.

    Args:
        arch: `mini`, `vgg19` or `vgg16`.
        layers: layer names.
        data_root: where VGG's weights are looked for first.

    Raises:
        FileNotFoundError, ValueError: as `load_vgg` and `MiniFeatures`.
    """
    return MiniFeatures(layers) if arch == MINI else load_vgg(layers, arch, data_root, quick=True)
