"""The figures of a network on its card, with what is needed to make them again."""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from fastvid.evaluation.clips import HOLDOUT_PREFIX, SCENE_PREFIX
from fastvid.evaluation.links import MASK_THRESHOLD
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


def card_scores(report: Mapping[str, Any], label: str, command: str) -> dict[str, Any]:
    """What a card says of a measured network: its first result at full strength.

    Args:
        report: of `fastvid evaluate --net` on one or more clips, with provenance.
        label: of the network in it.
        command: see `command_line`.

    Returns:
        `mean` (over the films, of `HEADLINES`; `mean_scenes` where there are scenes too), `clips`
        (the same and `CLIP_FACTS` of each), `probes` and `probes_adapted` with `probe_image`; then
        what it was measured by.
    """
    net = next(net for net in report["nets"] if net["net"] == label)
    result = next(r for r in report["results"] if r["net"] == label and r["strength"] == 1)
    means = {key: _rounded(result[key]) for key in ("mean", "mean_scenes") if key in result}
    return {
        **means,
        "clips": [
            _rounded({name: clip.get(name) for name in (*CLIP_FACTS, *HEADLINES)})
            for clip in result["clips"]
        ],
        "probe_image": net["probe_image"],
        "probes": _rounded(net["probes"]),
        "probes_adapted": _rounded(net["probes_adapted"]),
        "statistics": result["statistics"],
        "mask_threshold": MASK_THRESHOLD,
        "vgg_weights": result["clips"][0]["vgg_weights"],
        "style_image": net["style_image"],
        "engine": net["engine"],
        "versions": report["versions"],
        "command": command,
    }


def command_line(args: argparse.Namespace) -> str:
    """The call of `fastvid evaluate --net` that gives the same figures, files by name alone."""
    words = ["fastvid", "evaluate", *map(_name, args.clips), "--net", *map(_name, args.net)]
    for option, value in (("--style", args.style), ("--image", args.image)):
        if value is not None:
            words += [option, _name(value)]
    for option, value, default in (
        ("--flow", args.flow, "dis"),
        ("--frames", args.frames, None),
        ("--height", args.height, None),
        ("--device", args.device, "auto"),
        ("--engine", args.engine, "onnxruntime"),
    ):
        if value != default:
            words += [option, str(value)]
    return shlex.join([*words, "--statistics", *args.statistics, "--cards"])


def _name(text: str) -> str:
    return text if text.startswith((SCENE_PREFIX, HOLDOUT_PREFIX)) else Path(text).name


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures to four decimals; all that can be trusted of them, and a card that can be read."""
    return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in values.items()}
