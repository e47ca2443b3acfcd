"""A trained network as one self-contained ONNX file, and the proof that it paints the same.

`fastvid export CKPT` does to a checkpoint of any moment what the end of a training run does.

The contract of the file is in the documentation of the runtime: input `frames` uint8
(N, H, W, 3) RGB, output `stylized` likewise, N, H and W free.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from fastvid.checkpoint import Description, load
from fastvid.files import check_target
from fastvid.nets import TransformerNet
from fastvid.nets.blocks import extend

log = logging.getLogger(__name__)

OPSET = 18
# One even and one odd size: the parity check covers padding and cropping.
CHECK_SIZES = ((48, 64), (37, 53))
MAX_SIDE_PX = 16384


class UInt8Painter(nn.Module):
    """The network between 8-bit frames: scaling, padding, cropping and rounding inside."""

    def __init__(self, net: TransformerNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 RGB -> same."""
        h, w = frames.shape[1:3]
        m = self.net.margin_px
        x = extend(frames, self.net.multiple, m, dims=(1, 2))  # on bytes: a quarter of the traffic
        y = self.net.paint(x.permute(0, 3, 1, 2).float() / 255)
        y = (y.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return y[:, m : m + h, m : m + w]


def export_onnx(net: TransformerNet, path: Path | str, metadata: Mapping[str, str]) -> Path:
    """Write the network as ONNX, checked against torch before the file gets its name.

    Args:
        net: trained network; not changed.
        path: target `.onnx`; replaced only by a file that passed the check.
        metadata: text properties stored in the file (title, artist, licence, settings...).

    Raises:
        ValueError: if the network holds more than one style.
        RuntimeError: if ONNX Runtime and torch differ by more than 1 of 255 anywhere, or the
            weights are not finite.
    """
    path = Path(path)
    if net.settings().get("num_styles", 1) != 1:
        raise ValueError("export refused: this network holds many styles; export net.styles([row])")
    broken = [name for name, value in net.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise RuntimeError(f"export refused: {broken[0]} of the network is not finite")
    copy = type(net)(**_init_arguments(net))
    copy.load_state_dict(net.state_dict())
    painter = UInt8Painter(copy.cpu().float().eval().merged()).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder) / path.name
        _write(painter, draft, metadata)
        check_parity(painter, draft, CHECK_SIZES)
        os.replace(draft, path)
    log.info("exported %s (%.0f KiB)", path, path.stat().st_size / 1024)
    return path


def check_parity(painter: nn.Module, path: Path, sizes: Sequence[tuple[int, int]]) -> int:
    """Largest difference between ONNX Runtime and torch in 8-bit levels, over all sizes.

    Args:
        painter: (N, H, W, 3) uint8 -> same.
        path: the ONNX file.
        sizes: (H, W) to try, with batches of 1 and 2.

    Raises:
        RuntimeError: if it exceeds 1.
    """
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    worst = 0
    for (h, w), batch in zip(sizes, (2, 1), strict=False):
        frames = random.integers(0, 256, (batch, h, w, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = painter(torch.from_numpy(frames)).numpy()
        (found,) = session.run(["stylized"], {"frames": frames})
        if found.shape != expected.shape:
            raise RuntimeError(
                f"export refused: ONNX Runtime gives {found.shape} for {h}x{w}, "
                f"torch {expected.shape}"
            )
        worst = max(worst, int(np.abs(found.astype(int) - expected.astype(int)).max()))
    if worst > 1:
        raise RuntimeError(
            f"export refused: ONNX Runtime and torch differ by {worst} of 255 (at most 1 allowed)"
        )
    return worst


def onnx_metadata(description: Description) -> dict[str, str]:
    """Text properties of the exported file."""
    style = description.style
    return {
        "title": str(style.get("title") or style.get("name", "")),
        "artist": str(style.get("artist", "")),
        "licence": str(style.get("licence", "")),
        "net": description.net,
        "training": json.dumps(description.training),
        "step": str(description.step),
        "git_revision": description.git_revision,
    }


def default_target(checkpoint: Path, description: Description) -> Path:
    """`<style>.onnx` beside the checkpoint; its own name where it does not say which style."""
    # The name comes out of a file that anyone may have written: it never leaves the folder.
    style = Path(str(description.style.get("name") or "")).name
    return checkpoint.with_name(f"{style or checkpoint.stem}.onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid export`."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CKPT",
        help="the .safetensors or .ckpt that train.py writes; of a .ckpt, the averaged weights",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.onnx", help="default: STYLE.onnx beside CKPT"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid export`: the last line of stdout is the file's path; returns the exit code.

    Raises:
        FileNotFoundError, ValueError: there is no such checkpoint, or it is none.
        RuntimeError: the target exists, or the check of the exported file failed.
    """
    if args.output is not None and args.output.suffix != ".onnx":
        args.usage_error(f"--output is {args.output.name}, expected a name that ends in .onnx")
    net, description = load(args.checkpoint)
    target = args.output or default_target(args.checkpoint, description)
    check_target(target, args.overwrite)
    path = export_onnx(net, target, onnx_metadata(description))
    sys.stdout.write(f"{path}\n")
    return 0


def _init_arguments(net: TransformerNet) -> dict[str, Any]:
    config = getattr(net, "config", None)
    return {"config": config} if config is not None else net.settings()


def _write(painter: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    # A batch of 2 keeps the batch dimension free; odd sizes keep the padding general.
    sample = torch.zeros(2, 38, 54, 3, dtype=torch.uint8)
    shapes = {
        0: Dim("n", min=1, max=1024),
        1: Dim("h", min=16, max=MAX_SIDE_PX),
        2: Dim("w", min=16, max=MAX_SIDE_PX),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            painter,
            (sample,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frames"],
            output_names=["stylized"],
            dynamic_shapes={"frames": shapes},
            verbose=False,
        )
    assert program is not None  # always with dynamo=True; the types allow for the old exporter
    model = program.model_proto
    for key, value in {**metadata, "opset": str(OPSET)}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    del model.graph.value_info[:]  # shapes that every runtime infers by itself
    for node in model.graph.node:  # tracebacks of the exporting machine have no place in the file
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
