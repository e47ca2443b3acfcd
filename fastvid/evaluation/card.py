"""The figures of a network on its card, with what is needed to make them again."""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from fastvid.evaluation.clips import SCENE_PREFIX
from fastvid.evaluation.pairs import MASK_THRESHOLD
from fastvid.evaluation.report import HEADLINES
from fastvid.files import write_atomically
from fastvid.runtime.report import write_json

DIGITS = 4
# Of each clip, beside the figures: what they were measured on and by.
CLIP_FACTS = (
    *("source", "frames", "width_px", "height_px"),
    *("flow_method", "certainty_rule", "mask_coverage_gap1", "not_stylized"),
)


def read_card(path: Path) -> dict[str, Any]:
    """The card of a network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a card.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no card {path}; train.py writes one beside the network")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a card ({error}); expected JSON") from None
    if not isinstance(card, dict):
        raise ValueError(f"{path}: not a card; expected a JSON object, found a list or a value")
    return card


def write_scores(path: Path, scores: Mapping[str, Any]) -> None:
    """Put `scores` in the place of a card's earlier ones; all else in it stays as it is.

    Their means go into the metadata of the network beside the card too, where there is one.
    """
    write_json(path, read_card(path) | {"scores": dict(scores)})
    network = path.with_suffix(".onnx")
    if network.is_file():
        model = onnx.load(str(network))
        properties = {p.key: p.value for p in model.metadata_props}
        onnx.helper.set_model_props(model, properties | {"scores": json.dumps(scores["mean"])})
        write_atomically(network, model.SerializeToString())


def card_scores(report: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What a card says of a measured network.

    Args:
        report: of `fastvid evaluate --net` on one or more clips, with style image and provenance.
        command: see `command_line`.

    Returns:
        `mean` (over the clips, of `HEADLINES`), `clips` (the same and `CLIP_FACTS` of each),
        `probes` and `probes_adapted` with `probe_image`; then what it was measured by.
    """
    return {
        "mean": _rounded(report["mean"]),
        "clips": [
            _rounded({name: clip.get(name) for name in (*CLIP_FACTS, *HEADLINES)})
            for clip in report["clips"]
        ],
        "probe_image": report["probe_image"],
        "probes": _rounded(report["probes"]),
        "probes_adapted": _rounded(report["probes_adapted"]),
        "adapted": report["clips"][0]["adapted"],
        "mask_threshold": MASK_THRESHOLD,
        "vgg_weights": report["clips"][0]["vgg_weights"],
        "style_image": report["style_image"],
        "engine": report["engine"],
        "versions": report["versions"],
        "command": command,
    }


def command_line(args: argparse.Namespace) -> str:
    """The call of `fastvid evaluate --net` that gives the same figures, files by name alone."""
    words = ["fastvid", "evaluate", *map(_name, args.clips), "--net", _name(args.net)]
    for option, value in (("--style", args.style), ("--image", args.image), ("--card", args.card)):
        if value is not None:
            words += [option, _name(str(value))]
    for option, value, default in (
        ("--flow", args.flow, "dis"),
        ("--frames", args.frames, None),
        ("--height", args.height, None),
        ("--device", args.device, "auto"),
    ):
        if value != default:
            words += [option, str(value)]
    if args.adapt:
        words.append("--adapt")
    return shlex.join(words)


def _name(text: str) -> str:
    return text if text.startswith(SCENE_PREFIX) else Path(text).name


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures to four decimals; all that can be trusted of them, and a card that can be read."""
    return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in values.items()}
