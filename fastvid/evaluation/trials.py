"""Experiments on the reference: `python -m fastvid.evaluation.trials NAME [options]`.

| name | question |
|---|---|
| disocclusion | does the long-term loss bring back the texture of what was covered? |
| border | does multi-pass do better than single pass where new content comes in? |
| methods | do the methods stand in the order of the paper by `e_warp`? |
| speed | what does an iteration cost beside a plain PyTorch loop? |

Each writes its figures as JSON to stdout, and a picture where there is something to see.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastvid.config import StyleConfig
from fastvid.evaluation.exact import ExactFlow, Frames
from fastvid.evaluation.metrics import ClipMeter
from fastvid.evaluation.passing import PassingScene
from fastvid.evaluation.timing import speed_ups, spread, take_turns
from fastvid.image import resize_image, to_array, to_tensor, write_image
from fastvid.motion import scenes
from fastvid.motion.warp import warp
from fastvid.perceptual.losses import gram_matrix, luminance
from fastvid.reference.build import build_method, build_passes, build_studio
from fastvid.reference.descent import StopRule, lbfgs
from fastvid.reference.flows import EstimatedFlow, FlowSource, Lookahead
from fastvid.reference.footage import Footage
from fastvid.reference.methods import Method
from fastvid.reference.multi_pass import paint_multi_pass
from fastvid.reference.objective import Objective
from fastvid.reference.settings import OptimizeConfig
from fastvid.reference.single_pass import paint_single_pass
from fastvid.reference.state import State
from fastvid.reference.studio import Studio
from fastvid.video import VideoReader

log = logging.getLogger(__name__)

LONG_TERM = [1, 2, 4, 6]
PAN_STRIDE = 3  # frames of the scene between two frames of the trial


def settings(args: argparse.Namespace, **changes: Any) -> OptimizeConfig:
    """The paper's settings on layers that the assets reach, with a fixed number of iterations."""
    base = OptimizeConfig(
        style=StyleConfig(image=args.style),
        content_layers=["relu4_1"],
        style_layers=["relu1_1", "relu2_1", "relu3_1", "relu4_1"],
        init=["image", "prevWarped"],
        num_iterations=[args.iterations, args.iterations],
        tol_loss_relative=0.0,
        weights=args.weights,
        print_iter=0,
    )
    if args.weights is None:
        base.data.root = os.environ.get("FASTVID_DATA", "data")
    return replace(base, **changes)


def paint(config: OptimizeConfig, footage: Footage, source: FlowSource) -> list[Tensor]:
    """Run the reference; its finished frames, RGB (1, 3, H, W) in [0, 1]."""
    with tempfile.TemporaryDirectory() as folder:
        studio = build_studio(config, footage, State(Path(folder) / "state", {}))
        flows = Lookahead(source)
        try:
            if config.passes == "multi":
                paint_multi_pass(studio, build_passes(config), flows, config.iterations[0])
            else:
                method: Method = build_method(config)
                paint_single_pass(studio, method, flows, config.iterations)
        finally:
            flows.close()
        frames = [studio.result(studio.num_passes, k).cpu() for k in range(studio.num_frames)]
        return [frame.clamp(0, 1) for frame in frames]  # as they would be seen


def disocclusion(args: argparse.Namespace) -> dict[str, Any]:
    """Short-term against long-term on an object that passes behind another.

    The figure is the RMS difference, in [0, 1], between what reappears in a frame and the same
    spot in the last frame that showed it, over all frames.
    """
    size = (args.height, args.height * 8 // 5)
    scene = PassingScene(size, args.frames)
    footage = Frames([scene.frame(t) for t in range(args.frames)])
    source = ExactFlow(scene.flow, scene.visible)
    reappears = []  # (frame, last frame that showed it, where)
    for t in range(2, args.frames):
        hidden = ~scene.visible(t, t - 1)
        for distance in LONG_TERM[1:]:
            if t >= distance:
                back = hidden & scene.visible(t, t - distance)
                hidden &= ~back
                reappears.append((t, t - distance, torch.from_numpy(back)[None, None]))
    rms: dict[str, Any] = {}
    results = {}
    for name, distances in (("short_term", [1]), ("long_term", LONG_TERM)):
        frames = paint(settings(args, flow_relative_indices=distances), footage, source)
        total = area = 0.0
        for t, s, where in reappears:
            seen = warp(frames[s], source.motion(t, s).flow)
            total += float(((frames[t] - seen).square() * where).sum())
            area += 3 * float(where.sum())
        rms[name] = (total / area) ** 0.5 if area else None
        results[name] = frames
    _picture(args, [[to_tensor(footage.image(t)) for t in range(args.frames)], *results.values()])
    pixels = sum(int(where.sum()) for _, _, where in reappears)
    return {"rms_after_disocclusion": rms, "pixels": pixels, "distances": LONG_TERM}


def border(args: argparse.Namespace) -> dict[str, Any]:
    """Single pass against multi-pass with as many iterations under a pan.

    Looked at is what came into view from one frame to the next: `contrast` is the standard
    deviation of its luma over that of the rest of the frame (1: as well painted as the rest),
    `e_warp` how far the next frame departs from it, RMS in [0, 1].
    """
    scene = scenes.make("pan", (args.height, args.height * 8 // 5))
    footage = Frames([scene.frame(PAN_STRIDE * t) for t in range(args.frames)])

    def flow(current: int, other: int) -> np.ndarray:
        return scene.flow_bwd(PAN_STRIDE * current, PAN_STRIDE * (current - other))

    def visible(current: int, other: int) -> np.ndarray:
        return scene.visible(PAN_STRIDE * current, PAN_STRIDE * (current - other))

    source = ExactFlow(flow, visible)
    new = [torch.from_numpy(~visible(t, t - 1))[None, None] for t in range(1, args.frames)]
    per_pass = max(1, args.iterations // args.passes)
    runs = {
        "single": settings(args),
        "multi": settings(
            args,
            passes="multi",
            init="image",
            num_passes=args.passes,
            num_iterations=per_pass,
            temporal_weight=500.0,
            use_temporal_loss_after=args.passes // 2 + 1,
        ),
    }
    figures: dict[str, Any] = {"iterations_per_pass": per_pass}
    rows = [[to_tensor(footage.image(t)) for t in range(args.frames)]]
    for name, config in runs.items():
        frames = paint(config, footage, source)
        contrasts, errors = [], []
        for t, where in enumerate(new, start=1):
            luma = luminance(frames[t])
            contrasts.append(float(luma[where].std() / luma[~where].std()))
            if t + 1 < args.frames:
                motion = source.motion(t, t + 1)
                difference = (warp(frames[t + 1], motion.flow) - frames[t]).square().mean(1, True)
                trusted = where & (motion.certainty > 0.5)
                errors.append(float(difference[trusted].mean()) ** 0.5 if trusted.any() else 0.0)
        figures[name] = {
            "contrast": sum(contrasts) / len(contrasts),
            "e_warp": sum(errors) / max(len(errors), 1),
        }
        rows.append(frames)
    _picture(args, rows)
    return figures


def methods(args: argparse.Namespace) -> dict[str, Any]:
    """`e_warp` at gap 1 of the four methods on real clips; the paper's order is the last first."""
    table: dict[str, Any] = {}
    for path in args.clips:
        with VideoReader(path, height_px=args.height) as reader:
            images = [frame.image for frame, _ in zip(reader, range(args.frames), strict=False)]
        footage = Frames(images)
        rows = [[to_tensor(image) for image in images]]
        table[Path(path).name] = scores = {}
        for name in ("independent", "blend_previous", "blend_warped", "ruder"):
            config = settings(args, method=name, init=[args.init, "prevWarped"])
            source = EstimatedFlow(
                footage, "dis", "ruder2016", Path(config.data.root), torch.device("cpu")
            )
            frames = paint(config, footage, source)
            meter = ClipMeter(gaps=(1,))
            for image, frame in zip(images, frames, strict=True):
                meter.update(image, to_array(frame)[0])
            scores[name] = meter.scores()["e_warp_gap1"]
            rows.append(frames)
        _picture(args, rows)
    return table


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per L-BFGS iteration, ours beside a plain loop on the same VGG and image, in turns.

    `ratio` is ours over plain, within the same turn.
    """
    size = (args.height, args.height * 8 // 5)
    footage = Frames([scenes.make("demo", size).frame(0)])
    config = settings(args)
    with tempfile.TemporaryDirectory() as folder:
        studio = build_studio(config, footage, State(Path(folder) / "state", {}))
    frame = studio.frame(0)
    mode, recipe = studio.recipe.mode, studio.recipe
    start = mode.encode(frame)
    grams = dict(studio.paintings[0].grams)
    objective = Objective(studio.vgg, mode, recipe.weights, start, config.content_layers, grams)
    rule = StopRule(args.iterations)

    def ours(_turn: int) -> None:
        lbfgs(objective, start, rule)

    calls = {"ours": ours, "plain": plain_loop(studio, config, frame, args.iterations)}
    seconds = take_turns(calls, args.rounds, warm_up=1)
    return {
        "size": list(size),
        "iterations": args.iterations,
        "seconds_per_iteration": {
            name: round(spread(values).median / args.iterations, 4)
            for name, values in seconds.items()
        },
        "ratio": 1 / speed_ups(seconds, "plain")["ours"].median,
    }


def plain_loop(
    studio: Studio, config: OptimizeConfig, frame: Tensor, num_iterations: int
) -> Callable[[int], None]:
    """Image style transfer as PyTorch's tutorials write it: torch.optim.LBFGS and autograd."""
    grams = studio.paintings[0].grams
    with torch.no_grad():
        content = {name: studio.vgg(frame)[name] for name in config.content_layers}

    def loop(_turn: int) -> None:
        image = frame.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [image],
            max_iter=num_iterations,
            history_size=100,
            tolerance_grad=0,
            tolerance_change=0,
        )

        def closure() -> float:
            optimizer.zero_grad()
            features = studio.vgg(image)
            loss = sum(F.mse_loss(features[n], p) for n, p in content.items()) * 5
            loss = loss + 100 * sum(
                F.mse_loss(gram_matrix(features[n]), g) for n, g in grams.items()
            )
            dx, dy = image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]
            loss = loss + 1e-3 * (dx.square().sum() + dy.square().sum())
            loss.backward()
            return float(loss.detach())

        optimizer.step(closure)

    return loop


def _picture(args: argparse.Namespace, rows: Sequence[Sequence[Tensor]]) -> None:
    """Rows of frames as one image, if it is asked for."""
    if args.picture:
        strips = [np.concatenate([to_array(frame)[0] for frame in row], axis=1) for row in rows]
        sheet = np.concatenate(strips)
        if sheet.shape[1] > 3840:
            sheet = resize_image(sheet, height_px=round(sheet.shape[0] * 3840 / sheet.shape[1]))
        write_image(args.picture, sheet)


TRIALS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "disocclusion": disocclusion,
    "border": border,
    "methods": methods,
    "speed": speed,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one trial; its figures go to stdout."""
    parser = argparse.ArgumentParser(prog="python -m fastvid.evaluation.trials")
    parser.add_argument("name", choices=TRIALS)
    parser.add_argument("clips", nargs="*", help="films for `methods`")
    parser.add_argument("--height", type=int, default=120, help="rows of the frames")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--iterations", type=int, default=40, help="per frame, over all passes")
    parser.add_argument("--passes", type=int, default=4, help="of the multi-pass run")
    parser.add_argument("--rounds", type=int, default=3, help="turns of `speed`")
    parser.add_argument(
        "--style", default="starry_night", help="path, or name in <data root>/styles"
    )
    parser.add_argument(
        "--init",
        default="random",
        help="`methods`: start of the first frame, and of independent ones",
    )
    parser.add_argument("--weights", help="file of VGG weights")
    parser.add_argument("--picture", help="sheet of the frames: source above, results below")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = TRIALS[args.name](args) | {"options": vars(args)}
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
