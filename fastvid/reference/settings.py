"""The typed schema of configs/optimize.yaml: what a key is called, its type, unit and default.

docs/options.md has the table from the options of artistic-videos to these keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastvid.config import FlowConfig, StyleConfig
from fastvid.reference.long_term import COMBINATIONS
from fastvid.reference.mode import MODES
from fastvid.reference.objective import CRITERIA

INITS = {
    "single": ("random", "image", "prev", "prevWarped", "first"),
    "multi": ("random", "image", "prevWarped"),
}
METHODS = ("ruder", "independent", "blend_previous", "blend_warped")
PRECISIONS = ("float32", "bfloat16")


@dataclass
class FlowSourceConfig(FlowConfig):
    """Where motion comes from: `dis`, `raft`, or `files`.

    In the patterns `[%d]` is the number of the frame on whose grid the flow lives, `{%d}` that of
    the frame it points to; `%04d` pads. Quote them on a command line:
    `'flow.backward="backward_[%d]_{%d}.flo"'`.

    Attributes:
        dir: folder of the patterns.
        backward: `.flo` to an earlier frame.
        forward: `.flo` to a later frame; multi-pass, and where a certainty map is missing.
        certainty: `.pgm` (or another image) in both directions, white = trust.
        invert: white = distrust.
    """

    dir: str = ""
    backward: str = "backward_[%d]_{%d}.flo"
    forward: str = "forward_[%d]_{%d}.flo"
    certainty: str = "reliable_[%d]_{%d}.pgm"
    invert: bool = False


@dataclass
class RootConfig:
    """Where paintings and weights are.

    Attributes:
        root: folder with styles/ and weights/.
    """

    root: str = "data"


@dataclass
class ScheduleKeyConfig:
    """Weights of the paintings at one moment of the film."""

    time_s: float = 0.0
    weights: list[float] = field(default_factory=list)


@dataclass
class OptimizeConfig:
    """One run of the slow reference.

    Attributes:
        style: the painting.
        flow: motion.
        data: where paintings and weights are.
        passes: `single` or `multi`.
        mode: `paper`, or `original` for the authors' program with its quirks.
        method: `ruder`, or one that came before it: `independent`, `blend_previous`,
            `blend_warped`; single pass only.
        style_images: several paintings in place of `style`: paths, or names in <root>/styles.
        style_blend_weights: one per painting; empty = equal.
        style_schedule: weights over time, linear between the keys, in place of the former.
        style_scale: factor on the sides of the painting, whose area is the frame's at 1.
        original_colors: luma of the result, chroma of the frame.
        arch: `vgg19` or `vgg16`.
        weights: file of VGG weights; empty looks in <root>/weights, then downloads.
        content_layers: ReLUs for the content loss.
        style_layers: ReLUs for the style loss.
        pooling: `max` or `avg`.
        content_weight: 0 = none: texture synthesis.
        style_weight: per layer; 0 = none: content reconstruction.
        temporal_weight: per earlier frame; 0 = none.
        tv_weight: total variation, in the gradient only.
        temporal_criterion: `mse` or `smoothl1`.
        normalize_gradients: divide each term's gradient by its L1 norm.
        optimizer: `lbfgs` or `adam`.
        learning_rate: of Adam, in grey levels.
        lbfgs_history: pairs that L-BFGS remembers.
        num_iterations: of the first and the later frames, or one number for both; multi-pass: of
            every frame in every pass.
        tol_loss_relative: stop when the loss changes by less than this share between two checks.
        tol_loss_relative_interval: iterations between checks.
        retry_early_stop: repeat a frame that L-BFGS leaves before iteration 10.
        init: of the first and the later frames, or one for both: `random`, `image`, `prev`,
            `prevWarped`, `first`; multi-pass (first pass): `random`, `image`, `prevWarped`.
        flow_relative_indices: distances of the earlier frames in the temporal loss.
        use_flow_every: also every n-th earlier frame down to the first; -1 = no.
        combine_flow_weights: `closestFirst` or `normalize`.
        blend_opacity: share of the previous result in `blend_previous` and `blend_warped`.
        num_passes: multi-pass: how many.
        blend_weight: multi-pass: of the neighbour done before in this pass.
        blend_weight_last_pass: multi-pass: of the other neighbour.
        use_temporal_loss_after: multi-pass: first pass with the temporal loss.
        start_number: number of the first frame; empty = the first there is.
        num_frames: how many; 0 = all.
        continue_with: do frames from this one on (counted from 1) anew; 0 = where it stopped.
        continue_with_pass: multi-pass: do passes from this one on anew; 0 = where it stopped.
        height_px: rows of the frames worked on; empty = the source's.
        seed: of the random start, the same for every frame; -1 draws anew for each.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        precision: of VGG: `float32` or `bfloat16`.
        report: JSON file with the losses per frame and iteration.
        print_iter: iterations between lines in the log; 0 = silent.
        save_iter: iterations between intermediate images in OUT.state/iterations; 0 = none.
        save_init: keep the initialisations there too.
        keep_state: keep OUT.state, with the results of all passes, when all is done.
    """

    style: StyleConfig = field(default_factory=StyleConfig)
    flow: FlowSourceConfig = field(default_factory=FlowSourceConfig)
    data: RootConfig = field(default_factory=RootConfig)
    passes: str = "single"
    mode: str = "paper"
    method: str = "ruder"
    style_images: list[str] = field(default_factory=list)
    style_blend_weights: list[float] = field(default_factory=list)
    style_schedule: list[ScheduleKeyConfig] = field(default_factory=list)
    style_scale: float = 1.0
    original_colors: bool = False
    arch: str = "vgg19"
    weights: str | None = None
    content_layers: list[str] = field(default_factory=lambda: ["relu4_2"])
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    )
    pooling: str = "max"
    content_weight: float = 5.0
    style_weight: float = 100.0
    temporal_weight: float = 1000.0
    tv_weight: float = 1e-3
    temporal_criterion: str = "mse"
    normalize_gradients: bool = False
    optimizer: str = "lbfgs"
    learning_rate: float = 10.0
    lbfgs_history: int = 100
    num_iterations: Any = field(default_factory=lambda: [2000, 1000])
    tol_loss_relative: float = 1e-4
    tol_loss_relative_interval: int = 50
    retry_early_stop: bool = True
    init: Any = field(default_factory=lambda: ["random", "prevWarped"])
    flow_relative_indices: list[int] = field(default_factory=lambda: [1])
    use_flow_every: int = -1
    combine_flow_weights: str = "closestFirst"
    blend_opacity: float = 0.2
    num_passes: int = 15
    blend_weight: float = 1.0
    blend_weight_last_pass: float = 0.0
    use_temporal_loss_after: int = 8
    start_number: int | None = None
    num_frames: int = 0
    continue_with: int = 0
    continue_with_pass: int = 0
    height_px: int | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    report: str | None = None
    print_iter: int = 100
    save_iter: int = 0
    save_init: bool = False
    keep_state: bool = False

    @property
    def iterations(self) -> tuple[int, int]:
        """Limits for the first and for later frames."""
        first, later = _pair(self.num_iterations, "num_iterations")
        return int(first), int(later)

    @property
    def inits(self) -> tuple[str, str]:
        """Initialisations of the first and of later frames."""
        first, later = _pair(self.init, "init")
        return str(first), str(later)

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ValueError: says key, value and choices.
        """
        choices = {
            "passes": tuple(INITS),
            "mode": tuple(MODES),
            "method": METHODS,
            "temporal_criterion": CRITERIA,
            "combine_flow_weights": tuple(COMBINATIONS),
            "precision": PRECISIONS,
            "flow.method": ("dis", "raft", "files"),
        }
        for key, allowed in choices.items():
            holder, name = (self.flow, "method") if key == "flow.method" else (self, key)
            _choose(key, getattr(holder, name), allowed)
        if self.flow.method == "files" and not self.flow.dir:
            raise ValueError("flow=files needs flow.dir, the folder of the .flo files")
        for value in self.inits:
            _choose("init", value, INITS[self.passes])
        if self.passes == "multi" and self.method != "ruder":
            raise ValueError(f"method={self.method} works in a single pass; set passes=single")
        if self.inits[0] in ("prev", "prevWarped", "first") and self.passes == "single":
            raise ValueError(
                f"init={self.inits[0]} for the first frame, which has none before it; "
                f"choose random or image, such as init=[random,{self.inits[1]}]"
            )
        if min(self.flow_relative_indices, default=1) < 1:
            raise ValueError("flow_relative_indices are distances >= 1 to earlier frames")
        if min(self.iterations) < 0 or self.tol_loss_relative_interval < 1:
            raise ValueError("num_iterations must be >= 0 and tol_loss_relative_interval >= 1")
        if not (self.content_weight or self.style_weight):
            raise ValueError("content_weight and style_weight are both 0: nothing to optimise for")
        if not 0 <= self.blend_opacity <= 1:
            raise ValueError(f"blend_opacity is {self.blend_opacity}, expected 0 to 1")
        if self.num_passes < 1:
            raise ValueError(f"num_passes is {self.num_passes}, expected 1 or more")
        images = self.style_images or [self.style.image]
        if self.style_blend_weights and len(self.style_blend_weights) != len(images):
            raise ValueError(
                f"style_blend_weights has {len(self.style_blend_weights)} values for "
                f"{len(images)} paintings"
            )


def _choose(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{key}={value} is not one of {', '.join(allowed)}")


def _pair(value: Any, key: str) -> tuple[Any, Any]:
    """One value for both kinds of frames, or one for each."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) not in (1, 2):
        raise ValueError(f"{key} takes one value, or [first,later]; found {values}")
    return values[0], values[-1]
