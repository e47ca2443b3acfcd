"""The command of the trials."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastvid.evaluation.trials.bench import Options
from fastvid.evaluation.trials.border import border
from fastvid.evaluation.trials.disocclusion import disocclusion
from fastvid.evaluation.trials.methods import methods
from fastvid.evaluation.trials.speed import speed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one trial; its figures and options go to stdout."""
    words = vars(_parser().parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = words.pop("name")
    special = {key: words.pop(key) for key in ("passes", "clips", "step", "rounds") if key in words}
    options = Options(**words)
    figures: dict[str, Any]
    if name == "disocclusion":
        figures = disocclusion(options)
    elif name == "border":
        figures = border(options, special["passes"])
    elif name == "methods":
        figures = methods(options, special["clips"], special["step"])
    else:
        figures = speed(options, special["rounds"])
    report = {"trial": name} | figures | {"options": asdict(options) | special}
    sys.stdout.write(json.dumps(report, indent=1, default=str) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastvid.evaluation.trials",
        description="Experiments on the reference (fastvid optimize).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--style", default="starry_night", help="path, or name in <data root>/styles"
    )
    common.add_argument("--weights", help="file of VGG weights")
    common.add_argument(
        "--init", default="image", choices=("image", "random"), help="start of first frames"
    )
    common.add_argument("--picture", type=Path, help="sheet of frames to write")
    trials = parser.add_subparsers(dest="name", required=True)

    def add(name: str, height: int, frames: int, iterations: int) -> argparse.ArgumentParser:
        trial = trials.add_parser(name, parents=[common], formatter_class=parser.formatter_class)
        trial.add_argument("--height", type=int, default=height, help="rows of the frames")
        trial.add_argument("--frames", type=int, default=frames, help="of the clip")
        trial.add_argument(
            "--iterations", type=int, default=iterations, help="per frame, over all passes"
        )
        return trial

    add("disocclusion", 120, 9, 60)
    add("border", 120, 8, 120).add_argument("--passes", type=int, default=4, help="of multi-pass")
    clips = add("methods", 120, 4, 100)
    clips.add_argument("clips", nargs="+", help="films or patterns of images")
    clips.add_argument("--step", type=int, default=1, help="take every so many frames")
    add("speed", 120, 1, 20).add_argument("--rounds", type=int, default=5, help="turns of both")
    return parser


if __name__ == "__main__":
    sys.exit(main())
