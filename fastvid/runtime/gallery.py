"""The shipped styles: the networks in `fastvid/styles` and their cards; `fastvid styles`."""

import argparse
import difflib
import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Models = Mapping[Path, float]  # ONNX files, and shares that sum to 1

# NAME:SHARE,NAME:SHARE; no slash follows, as it does in the path of a Windows drive
_MIXTURE = re.compile(r":[^/\\,]*(,|$)")
_TIMED = re.compile(r"@[0-9.]+\s*(,|$)")
STYLES_DIR = Path(__file__).resolve().parent.parent / "styles"
DEFAULT_STYLE = "starry_night"
# Of a card's scores.mean, shown in the table; `fastvid evaluate --cards` writes them.
SCORES = ("style_distance", "stability_ratio_gap1")


def list_styles(folder: Path = STYLES_DIR) -> dict[str, dict[str, Any]]:
    """Names of the networks in a folder, each with its card.

    `NAME.onnx` is listed as `NAME`, its smaller sister `NAME.small.onnx` as `NAME.small`; each has
    its own card, and a sister without one shows that of `NAME`. A network without a readable card
    is listed with an empty one.
    """
    cards: dict[str, dict[str, Any]] = {}
    for model in sorted(folder.glob("*.onnx")):
        name = model.name.removesuffix(".onnx")
        own, base = folder / f"{name}.json", folder / f"{name.split('.')[0]}.json"
        cards[name] = _read_card(own if own.is_file() else base)
    return cards


def sisters(name: str, folder: Path = STYLES_DIR) -> list[str]:
    """The other styles of a size: each `NAME.small` for `the_scream.small`, else each `NAME`."""
    names = [other for other in list_styles(folder) if other != name]
    size = name.partition(".")[2]
    same = [other for other in names if other.partition(".")[2] == size]
    return same or [other for other in names if "." not in other]


def find_model(style: str | Path, folder: Path = STYLES_DIR) -> Path:
    """Path of the ONNX file that a style's name, or a path, stands for.

    Args:
        style: a name of `list_styles`, or a path (anything that ends in `.onnx` or names a folder).
        folder: where the named styles lie.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if there is no such style; the text lists the choices.
    """
    text = str(style)
    if isinstance(style, Path) or text.endswith(".onnx") or "/" in text or "\\" in text:
        path = Path(text).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"model not found: {path}")
        return path
    path = folder / f"{text}.onnx"
    if text and path.is_file():
        return path
    names = list(list_styles(folder))
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    choices = ", ".join(names) or "none is installed"
    raise ValueError(f"unknown style {text!r}; choices: {choices}{hint}")


def find_models(style: str | Path, folder: Path = STYLES_DIR) -> dict[float, Models]:
    """The networks of a style, of a mixture, or of a transition from one to the next.

    Args:
        style: as for `find_model`; or a mixture, `starry_night:0.7,the_scream:0.3`, whose shares
            are scaled to a sum of 1; or a transition, `starry_night@0,the_scream@4`, which is all
            the one until its second of the film and all the other from its own on.
        folder: where the named styles lie.

    Returns:
        Seconds of the film, rising, to ONNX files with their shares; one entry, at 0, for anything
        but a transition.

    Raises:
        FileNotFoundError, ValueError: as `find_model`; or the text is none of these.
    """
    if not isinstance(style, str) or not _TIMED.search(style):
        return {0.0: _find_mixture(style, folder)}
    moments: dict[float, Models] = {}
    for name, seconds in _numbered(style, "@", "SECONDS"):
        if moments and seconds <= max(moments):
            raise ValueError(f"style {style!r}: times must rise, found {name}@{seconds:g}")
        moments[seconds] = {find_model(name, folder): 1.0}
    return moments


def _find_mixture(style: str | Path, folder: Path) -> Models:
    if not isinstance(style, str) or not _MIXTURE.search(style):
        return {find_model(style, folder): 1.0}
    shares: dict[Path, float] = {}
    for name, share in _numbered(style, ":", "SHARE"):
        path = find_model(name, folder)
        shares[path] = shares.get(path, 0.0) + share
    total = sum(shares.values())
    if not total:
        raise ValueError(f"style {style!r}: at least one share must be above 0")
    return {path: share / total for path, share in shares.items() if share}


def _numbered(style: str, sign: str, meaning: str) -> Iterator[tuple[str, float]]:
    """Names and numbers of `NAME<sign>NUMBER,...`; ValueError unless finite and not negative."""
    for part in style.split(","):
        name, _, text = part.strip().rpartition(sign)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or not 0 <= value < math.inf:
            raise ValueError(
                f"style {style!r}: expected NAME{sign}{meaning}, found {part.strip()!r}"
            )
        yield name, value


def name_of(moments: Mapping[float, Models]) -> str:
    """What `find_models` found in one word, which names the output files.

    `starry_night`; `starry_night70+the_scream30` for a mixture, `starry_night-the_scream` for a
    transition.
    """
    return "-".join(_name_of_mixture(models) for models in moments.values())


def _name_of_mixture(models: Models) -> str:
    names = {path.name.removesuffix(".onnx"): share for path, share in models.items()}
    if len(names) == 1:
        return next(iter(names))
    return "+".join(f"{name}{100 * share:.0f}" for name, share in names.items())


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        log.warning("card %s cannot be read (%s)", path.name, error)
        return {}
    return card if isinstance(card, dict) else {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid styles`."""
    parser.add_argument("--json", action="store_true", help="names and whole cards as JSON")


def run(args: argparse.Namespace) -> int:
    """`fastvid styles`: one line per style on stdout; returns the exit code."""
    cards = list_styles(STYLES_DIR)
    if args.json:
        sys.stdout.write(json.dumps(cards, indent=2) + "\n")
        return 0
    if not cards:
        log.warning("no style is installed in %s; train one with train.py style=NAME", STYLES_DIR)
    columns = ("title", "artist", "year", "net")
    rows: list[tuple[str, ...]] = [("style", *columns, *SCORES)]
    for name, card in cards.items():
        known = [str(card.get(column) or "-") for column in columns]
        rows.append((name, *known, *[_score(card, score) for score in SCORES]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows if cards else ():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _score(card: dict[str, Any], name: str) -> str:
    """A headline figure of a card, the mean over the clips it was measured on."""
    scores = card.get("scores")
    mean = scores.get("mean") if isinstance(scores, dict) else None
    value = mean.get(name) if isinstance(mean, dict) else None
    return f"{value:.3f}" if isinstance(value, int | float) else "-"
