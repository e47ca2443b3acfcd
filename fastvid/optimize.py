"""`fastvid optimize INPUT [key=value ...]`: the entry point that composes configs/optimize.yaml."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvid.runtime.console import USAGE
from fastvid.runtime.jobs import default_target
from fastvid.video.stills import OUTPUT_IMAGE_SUFFIXES

if TYPE_CHECKING:
    from fastvid.reference.settings import OptimizeConfig

log = logging.getLogger(__name__)

IMAGES_READ_ONLY = (".ppm", ".pgm")
# Keys that are plain values here and groups for train.py: Hydra would look for a file of that name.
NOT_GROUPS = ("init",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Input, output, and Hydra's `key=value` words."""
    parser.fromfile_prefix_chars = "@"
    parser.description = (
        "Stylise an image or a clip by optimisation (Ruder, Dosovitskiy and Brox 2016): slow, and "
        "what the fast networks are measured against."
    )
    parser.epilog = (
        "Keys, with their defaults, are in configs/optimize.yaml; docs/options.md explains them. "
        "Examples: style=the_scream passes=multi flow=raft num_iterations=[500,200] "
        "temporal_weight=2000 init=[image,prevWarped] report=report.json"
    )
    parser.add_argument(
        "input", help="image, film, folder, printf or glob pattern of images; @FILE: words of FILE"
    )
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings, Hydra's grammar"
    )
    parser.add_argument("-o", "--output", help="default: <stem>.<style>.<ext> beside the input")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace) -> int:
    """Compose, optimise, and print the path of what was written as the last line of stdout."""
    try:
        config = compose_config(args.settings)
    except (HydraException, OmegaConfBaseException) as error:
        log.error("%s", " ".join(str(error).split()))
        return USAGE
    from fastvid.reference.run import optimize  # after composition: it takes seconds

    source = Path(args.input).expanduser()
    target = Path(args.output).expanduser() if args.output else target_beside(source, config)
    written = optimize(config, source, target, args.overwrite)
    sys.stdout.write(f"{written}\n")
    return 0


def compose_config(overrides: Sequence[str]) -> OptimizeConfig:
    """The settings of configs/optimize.yaml with these overrides.

    Raises:
        FileNotFoundError: there is no configs folder.
        HydraException: an override is misspelt, or names no choice of its group.
        OmegaConfBaseException: a value is missing or of the wrong type.
    """
    from fastvid.reference.settings import OptimizeConfig

    ConfigStore.instance().store("base_optimize", OptimizeConfig)
    values = [word for word in overrides if word.partition("=")[0] in NOT_GROUPS]
    others = [word for word in overrides if word not in values]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("optimize", overrides=others)
    for override in OverridesParser.create().parse_overrides(values):
        OmegaConf.update(composed, override.key_or_group, override.value())
    config = OmegaConf.to_object(composed)
    assert isinstance(config, OptimizeConfig)
    return config


def config_folder() -> Path:
    """The configs of the checkout that this package runs from, else of the current folder.

    Raises:
        FileNotFoundError: there are none.
    """
    folders = [Path(__file__).resolve().parents[1] / "configs", Path.cwd() / "configs"]
    for folder in folders:
        if (folder / "optimize.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no configs/optimize.yaml in {folders[0].parent} or here; run from a checkout of fastvid"
    )


def target_beside(source: Path, config: OptimizeConfig) -> Path:
    """`<stem>.<style>.<ext>` beside the source; frames of a kind that is only read become PNG."""
    target = default_target(source, config.style.name)
    if source.suffix.lower() in IMAGES_READ_ONLY and target.suffix not in OUTPUT_IMAGE_SUFFIXES:
        return target.with_suffix(".png")
    return target
