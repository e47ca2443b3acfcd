"""The typed schema of every YAML file: what a key is called, its type, unit and default.

The values live in configs/. Hydra composes them against these classes in the entry points; code
below those receives the dataclasses, never a DictConfig. A misspelt key stops composition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class StyleConfig:
    """One painting.

    Attributes:
        name: identifier; names the output files.
        title: for people.
        artist: with the years of birth and death.
        year: of the painting, as text ("about 1831").
        image: file name below `<data.root>/styles`, or any path.
        licence: of the picture.
        height_px: rows of the painting when its statistics are taken; smaller gives coarser
            strokes. The figures of a card are taken at the output's height.
    """

    name: str = "custom"
    title: str = ""
    artist: str = ""
    year: str = ""
    image: str = ""
    licence: str = "unknown"
    height_px: int = 360


@dataclass
class NetConfig:
    """Which transformer network.

    Attributes:
        name: `base`, `small`, `nano` or `johnson`.
        settings: overrides of its shape, see `fastvid.nets`.
    """

    name: str = "base"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class FlowConfig:
    """Motion of real clips.

    Attributes:
        method: `dis` or `raft`.
        rule: certainty rule, `ruder2016` or `ruder2018`.
    """

    method: str = "dis"
    rule: str = "ruder2016"


@dataclass
class LossConfig:
    """Layers and weights. Every term is divided by its target's own size before it is weighted.

    Attributes:
        arch: the network that judges: `vgg19`, `vgg16`, `mini` (shipped, needs no download), or
            `auto`: vgg19 where its weights are at hand, else mini.
        content_layers: layers compared with the frame's own features.
        style_layers: layers whose Gram matrices are compared with the painting's.
        content_weight: of sum (F-P)^2 / sum P^2.
        style_weight: of the mean over layers of |G-A|^2 / |A|^2.
        color_weight: of the distance between the palettes, see `color_loss`.
        temporal_weight: of the luminance-aware consistency, a root mean square in [0, 1].
        total_variation_weight: of the mean squared differences of neighbours.
        range_weight: of the mean squared excess outside [0, 1].
        lattice_weight: of the weave of the network's own cells, in squared levels of 255.
    """

    arch: str = "auto"
    content_layers: list[str] = field(default_factory=lambda: ["relu4_1"])
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
    )
    content_weight: float = 1.0
    style_weight: float = 16.0
    color_weight: float = 2.0
    temporal_weight: float = 150.0
    total_variation_weight: float = 2.0
    range_weight: float = 10.0
    lattice_weight: float = 0.3


@dataclass
class DataConfig:
    """What the network looks at while it learns.

    Attributes:
        kind: `clips` (a folder of clips, and photos where there are some), `synthetic` (generated
            scenes, no files at all), or `auto`: clips where there are some, else synthetic.
        root: folder with video/ photos/ styles/ weights/.
        cache: where flow and certainty are kept; about 50 MB for a clip of ten seconds.
        holdout: stems of clips that training never sees; the sample strips show the first one.
        height_px: short side of the frames.
        crop_px: side of the square training crops.
        gaps: distances in frames between the two frames of a pair.
        anchor_every: one frame in so many is the later one of a pair per gap.
        real_fraction: share of pairs from real clips; the others are stills in synthetic motion.
        noise_std: largest standard deviation of the sensor noise that the network is shown
            (drawn uniformly from 0 up), pictures in [0, 1].
        exposure: the later frame of a pair is multiplied by a gain from 1 - exposure to
            1 + exposure.
        licence: of the clips and photos, for the card.
    """

    kind: str = "auto"
    root: str = "data"
    cache: str = ".cache/fastvid"
    holdout: list[str] = field(default_factory=list)
    height_px: int = 360
    crop_px: int = 224
    gaps: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    anchor_every: int = 32
    real_fraction: float = 0.5
    noise_std: float = 0.01
    exposure: float = 0.04
    licence: str = ""


@dataclass
class TrainerConfig:
    """How it runs; the names are Lightning's.

    Attributes:
        accelerator: `auto`, `cpu` or `gpu`.
        devices: number of devices, or `auto`.
        num_nodes: machines; each starts the same command, see docs/training.md.
        precision: Lightning's name, `bf16-mixed` or `32-true`, or `auto`: bf16-mixed on a GPU and
            on CPUs that compute in it, where it halves the time; 32-true on the others, where it is
            emulated and takes several times as long.
        num_workers: processes that load data, per device; 0 loads in the main process.
        threads: CPU threads of torch, 0 for torch's own choice.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    num_nodes: int = 1
    precision: str = "auto"
    num_workers: int = 0
    threads: int = 0


@dataclass
class TrainConfig:
    """One training run.

    Attributes:
        max_steps: optimiser steps in all.
        still_fraction: the first part of them, on single frames; the rest sees frame pairs.
        batch_size: frames, then pairs, per step over all devices of all machines together.
        learning_rate: of Adam, after the warm-up.
        warmup_steps: linear from 0.
        clip_norm: gradient norm that is never exceeded.
        ema_decay: of the averaged weights that are exported.
        temporal_ramp_steps: steps over which the temporal weight rises to its value.
        checkpoint_every: steps between checkpoints.
        sample_every: steps between sample strips.
        log_every: steps between rows of metrics.csv.
        seed: of weights, data order and augmentation.
        resume: nothing, `auto` (the newest unfinished run of this style) or a checkpoint.
        init_weights: checkpoint whose weights to start from, or `shipped`: the base network of the
            package. Of one that holds several styles, the row that paints most like this painting.
        paintings: style images, by name or path, for a base network of many styles; empty for a
            network of `style` alone. Each step trains one of them.
        row_rate: learning rate of a style's own rows of a base network, times `learning_rate`:
            only every so many steps is their painting's turn.
    """

    style: StyleConfig = field(default_factory=StyleConfig)
    net: NetConfig = field(default_factory=NetConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    max_steps: int = 2600
    still_fraction: float = 0.3
    batch_size: int = 4
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    clip_norm: float = 1.0
    ema_decay: float = 0.995
    temporal_ramp_steps: int = 200
    checkpoint_every: int = 100
    sample_every: int = 250
    log_every: int = 10
    seed: int = 0
    resume: str | None = None
    init_weights: str | None = None
    paintings: list[str] = field(default_factory=list)
    row_rate: float = 8.0

    @property
    def still_steps(self) -> int:
        """Steps on single frames before the pairs begin."""
        return round(self.max_steps * self.still_fraction)
