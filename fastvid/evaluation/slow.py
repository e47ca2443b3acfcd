"""The slow optimiser beside the networks: the same frames, the same painting, the same judge."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastvid.config import StyleConfig
from fastvid.evaluation.metrics import Comparison
from fastvid.evaluation.table import Table, number
from fastvid.evaluation.timing import span, spread, take_turns
from fastvid.image import read_image, to_array, to_tensor, write_image
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.build import build_flow, build_method, build_studio
from fastvid.reference.descent import StopRule, lbfgs
from fastvid.reference.flows import Lookahead
from fastvid.reference.footage import Stills
from fastvid.reference.image import noise
from fastvid.reference.objective import Losses, Objective
from fastvid.reference.settings import OptimizeConfig
from fastvid.reference.single_pass import paint_single_pass
from fastvid.reference.state import State

NAME = "optimiser"
LAYERS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]  # those that the networks are trained on
CONTENT_LAYER = "relu4_1"
FRAME_NAME = "%06d.png"
Row = dict[str, Any]
Painter = Callable[[np.ndarray], np.ndarray]


def settings(painting: Path, iterations: int, init: str = "random") -> OptimizeConfig:
    """The paper's method (single pass, temporal loss) on the layers of our training losses.

    Args:
        painting: image file.
        iterations: of every frame; no other stopping rule.
        init: of the first frame, `random` or `image`; later ones start from the warped result.
    """
    config = OptimizeConfig(
        style=StyleConfig(image=str(painting)),
        content_layers=[CONTENT_LAYER],
        style_layers=list(LAYERS),
        init=[init, "prevWarped"],
        num_iterations=[iterations, iterations],
        tol_loss_relative=0.0,
        print_iter=0,
    )
    config.data.root = os.environ.get("FASTVID_DATA", "data")
    return config


@dataclass
class SlowPainter:
    """`fastvid optimize` over a few frames, one of them at a call.

    Attributes:
        config: see `settings`.
        frames: uint8 (N, H, W, 3), consecutive.
        folder: an empty one, for frames and results.
    """

    config: OptimizeConfig
    frames: np.ndarray
    folder: Path
    _state: State = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "frames").mkdir()
        for number_, frame in enumerate(self.frames, start=1):
            write_image(self.folder / "frames" / (FRAME_NAME % number_), frame)
        self._state = State(self.folder / "state", {})
        self._studio = build_studio(self.config, self._footage(len(self.frames)), self._state)
        self._method = build_method(self.config)

    def __call__(self, turn: int) -> None:
        """Paint frame `turn`, counted from 0, after those before it."""
        studio = replace(self._studio, footage=self._footage(turn + 1))
        flows = Lookahead(build_flow(self.config, studio))
        try:
            paint_single_pass(studio, self._method, flows, self.config.iterations)
        finally:
            flows.close()

    def result(self, turn: int) -> np.ndarray:
        """A finished frame as it would be seen, uint8 (H, W, 3)."""
        return to_array(self._studio.result(1, turn))[0]

    def objective(self) -> tuple[Objective, torch.Tensor]:
        """What the first frame is optimised for, and where that starts, (1, 3, H, W)."""
        studio, recipe = self._studio, self._studio.recipe
        content = recipe.mode.encode(studio.frame(0))
        grams = studio.paintings[0].grams
        objective = Objective(
            studio.vgg, recipe.mode, recipe.weights, content, recipe.content_layers, grams
        )
        if self.config.inits[0] == "image":
            return objective, content
        return objective, noise(studio.size, self.config.seed, studio.device)

    def loss(self, objective: Objective, painted: np.ndarray) -> float:
        """Weighted content and style loss of a painting of the first frame, uint8 (H, W, 3)."""
        pixels = self._studio.recipe.mode.encode(to_tensor(painted).to(self._studio.device))
        return _perceptual(objective.losses(pixels))

    @property
    def vgg(self) -> VGGFeatures:
        """The network that it looks through."""
        return self._studio.vgg

    def _footage(self, count: int) -> Stills:
        return Stills(self.folder / "frames" / FRAME_NAME, num_frames=count)


class _Reached(Exception):
    """All losses asked for are undercut."""


def iterations_to(
    objective: Objective, start: torch.Tensor, losses: Mapping[str, float], limit: int
) -> dict[str, int | None]:
    """After how many L-BFGS iterations content and style loss are at most these.

    Args:
        objective: of one frame, without a temporal loss.
        start: where the optimiser starts, (1, 3, H, W) in its pixel space.
        losses: by name.
        limit: iterations at most.

    Returns:
        By name; None where the limit did not suffice.
    """
    found: dict[str, int | None] = dict.fromkeys(losses)

    def note(done: int, loss: float) -> None:
        for name, wanted in losses.items():
            if found[name] is None and loss <= wanted:
                found[name] = done
        if None not in found.values():
            raise _Reached

    def on_iteration(iteration: int, _pixels: torch.Tensor, before: Losses) -> None:
        note(iteration - 1, _perceptual(before))  # the losses are those before the step

    try:
        descent = lbfgs(objective, start, StopRule(limit), on_iteration=on_iteration)
        note(descent.num_iterations, _perceptual(objective.losses(descent.pixels)))
    except _Reached:
        pass
    return found


def seconds_per_iteration(painter: SlowPainter, iterations: int, rounds: int) -> list[float]:
    """Seconds of an L-BFGS iteration on the first frame, one value a round."""
    objective, start = painter.objective()
    rule = StopRule(iterations)
    seconds = take_turns({NAME: lambda _turn: lbfgs(objective, start, rule)}, rounds, warm_up=1)
    return [value / iterations for value in seconds[NAME]]


def compare(
    painter: SlowPainter, nets: Mapping[str, Painter], judged: Sequence[str], limit: int
) -> list[Row]:
    """The optimiser and the networks on the same frames, a frame each in turns.

    Args:
        painter: the optimiser, with its frames and its painting.
        nets: function that paints one frame, uint8 (H, W, 3), by name.
        judged: names of those trained on this painting; the others are timed only.
        limit: iterations for `worth_iterations`.

    Returns:
        The optimiser's row, then the networks': `s_per_frame` (median), its `_min` and `_max`,
        `fps`, `speed_up` over the optimiser within the same round with its band; of those judged
        the scores of `Comparison` (e_warp at gap 1), `loss` (content and style in the optimiser's
        weighting, first frame) and `worth_iterations`: how many the optimiser needs to get there,
        None where `limit_iterations` do not suffice.
    """
    frames = painter.frames
    results: dict[str, list[np.ndarray]] = {name: [] for name in nets}

    def paint(name: str, turn: int) -> None:
        results[name].append(nets[name](frames[max(turn, 0)]))

    def optimize(turn: int) -> None:
        if turn >= 0:
            painter(turn)

    calls: dict[str, Callable[[int], object]] = {NAME: optimize}
    calls |= {name: partial(paint, name) for name in nets}
    seconds = take_turns(calls, rounds=len(frames), warm_up=1)
    painted = {name: results[name][1:] for name in judged}  # the first one was the warm-up
    painted[NAME] = [painter.result(turn) for turn in range(len(frames))]
    comparison = Comparison(painted, gaps=(1,))
    for turn, frame in enumerate(frames):
        comparison.update(frame, {name: images[turn] for name, images in painted.items()})
    style = read_image(painter.config.style.image)
    scores = comparison.scores(dict.fromkeys(painted, style))
    objective, start = painter.objective()
    losses = {name: painter.loss(objective, images[0]) for name, images in painted.items()}
    wanted = {name: loss for name, loss in losses.items() if name != NAME}
    worth = iterations_to(objective, start, wanted, limit) if wanted else {}
    rows = []
    for name, values in seconds.items():
        ratios = spread(slow / own for slow, own in zip(seconds[NAME], values, strict=True))
        found = spread(values)
        row: Row = {
            "net": name,
            **found.as_dict("s_per_frame"),
            "fps": float(f"{1 / found.median:.5g}"),
        }
        row |= ratios.as_dict("speed_up") | scores.get(name, {})
        if name in losses:
            row["loss"] = losses[name]
        if name in worth:
            row |= {"worth_iterations": worth[name], "limit_iterations": limit}
        rows.append(row)
    return rows


def describe(painter: SlowPainter) -> str:
    """The settings of the optimiser in one line."""
    config = painter.config
    return (
        f"L-BFGS, {config.iterations[0]} iterations a frame from {config.inits[0]}, then from the "
        f"warped result, content {CONTENT_LAYER}, style {LAYERS[0]} to {LAYERS[-1]}, weights "
        f"{config.content_weight:g} : {config.style_weight:g} : {config.temporal_weight:g} "
        f"(temporal), {config.precision}, DIS flow"
    )


def duel_table(painter: SlowPainter, rows: Sequence[Row]) -> Table:
    """What `compare` found."""
    height, width = painter.frames.shape[1:3]
    title = (
        f"{Path(painter.config.style.image).stem}, {len(painter.frames)} frames of "
        f"{width}x{height}; optimiser: {describe(painter)}"
    )
    header = ["", "s a frame", "frames/s", f"times the {NAME}'s rate", "style_distance",
              "content_distance", "e_warp", "stability_ratio", "worth iterations"]  # fmt: skip
    body = []
    for row in rows:
        worth = number(row.get("worth_iterations"))
        if "limit_iterations" in row and row["worth_iterations"] is None:
            worth = f"> {row['limit_iterations']}"
        body.append(
            [
                row["net"],
                span(row, "s_per_frame", 3),
                number(row["fps"], 3),
                span(row, "speed_up", 1),
                number(row.get("style_distance")),
                number(row.get("content_distance")),
                number(row.get("e_warp_gap1"), 4),
                number(row.get("stability_ratio_gap1"), 2),
                worth,
            ]
        )
    return Table(title, header, body)


def _perceptual(losses: Losses) -> float:
    return losses.content + losses.style
