"""A trained network with everything needed to use it, loadable without running any code.

A `.safetensors` file holds the exported weights; its metadata say how to build the network and
where it comes from. A training checkpoint (`.ckpt`) holds the whole state of a run and the same
description, so that an unfinished run can be exported too.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from fastvid.files import write_atomically
from fastvid.nets import TransformerNet, build_net

DESCRIPTION_KEY = "fastvid"
AVERAGED_PREFIX = "averaged.module."


@dataclass(frozen=True)
class Description:
    """How to build a network again, and its provenance.

    Attributes:
        net: name for `build_net`.
        settings: its settings, plain values.
        style: the fields of `StyleConfig`, plain values.
        training: the whole configuration of the run, plain values.
        step: optimiser steps behind the weights.
        git_revision: of the code that trained it.
        versions: of the packages that trained it.
    """

    net: str
    settings: dict[str, Any] = field(default_factory=dict)
    style: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    git_revision: str = "unknown"
    versions: dict[str, str] = field(default_factory=dict)


def save(path: Path | str, net: TransformerNet, description: Description) -> Path:
    """Write weights and description as `.safetensors`; complete or not at all."""
    path = Path(path)
    tensors = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    metadata = {DESCRIPTION_KEY: json.dumps(vars(description))}
    write_atomically(path, serialize(tensors, metadata))
    return path


def load(path: Path | str) -> tuple[TransformerNet, Description]:
    """Network in evaluation mode and its description, from `.safetensors` or `.ckpt`.

    Of a `.ckpt`, the averaged weights are taken.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a fastvid checkpoint, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt") as file:
                description = json.loads((file.metadata() or {})[DESCRIPTION_KEY])
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            description = state[DESCRIPTION_KEY]
            tensors = averaged_weights(state["state_dict"])
        what = Description(**description)
        net = build_net(what.net, what.settings)
        net.load_state_dict(tensors)
    except (
        KeyError, TypeError, EOFError, RuntimeError,
        pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError,
    ) as error:  # fmt: skip
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(
            f"{path} is not a fastvid checkpoint, or is damaged "
            f"({type(error).__name__}: {reason}); expected the .safetensors or .ckpt of train.py"
        ) from None
    return net.eval(), what


def averaged_weights(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The averaged network's part of a training module's state."""
    return {
        key.removeprefix(AVERAGED_PREFIX): value
        for key, value in state_dict.items()
        if key.startswith(AVERAGED_PREFIX)
    }


def git_revision() -> str:
    """Commit of the working copy the package lies in, `+` if it has changes, or `unknown`."""
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip() or "unknown"


def package_versions() -> dict[str, str]:
    """Versions that matter for repeating a training run."""
    names = ("fastvid", "torch", "pytorch-lightning", "onnx", "opencv-python", "av", "numpy")
    return {name: version(name) for name in names}
