"""`fastvid benchmark`: nets against a yardstick in turns, the program against its stages."""

import argparse
import logging
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation.clips import Clip
from fastvid.evaluation.memory import peak_memory_of
from fastvid.evaluation.report import format_table, machine, markdown_table, number, provenance
from fastvid.evaluation.throughput import STAGES, measure_program, write_demo_clip
from fastvid.evaluation.timing import speed_ups, take_turns, timing_figures
from fastvid.files import check_target, write_atomically
from fastvid.image import resize_image
from fastvid.nets import NAMES
from fastvid.runtime.gallery import find_model
from fastvid.runtime.report import write_json
from fastvid.runtime.stylizer import DEVICES, Device, OnnxStylizer, load

log = logging.getLogger(__name__)

YARDSTICK = "johnson"
SIZES = ("640x360",)
ROUNDS = 12
PROGRAM_ROUNDS = 3
PROGRAM_FRAMES = 72
SAMPLE_FRAMES = 4  # different pictures that the nets paint in turn
SEED = 0
Row = dict[str, Any]


def collect_models(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """ONNX files of the contestants, the yardstick among them.

    Args:
        names: architectures (`base`, `small`, ...: exported with random weights, which cost the
            same time as trained ones), shipped styles or ONNX files. A file called
            `johnson.onnx` is the yardstick.
        folder: where the exports go.

    Raises:
        ValueError, FileNotFoundError: if a name is none of these.
    """
    models: dict[str, Path] = {}
    for name in names:
        if name in NAMES:
            models[name] = _export_random(name, folder)
        else:
            path = find_model(name)
            models[path.name.removesuffix(".onnx")] = path
    if YARDSTICK not in models:
        models[YARDSTICK] = _export_random(YARDSTICK, folder)
    return models


def measure_nets(
    models: Mapping[str, Path],
    images: np.ndarray,
    *,
    rounds: int = ROUNDS,
    batch: int = 1,
    device: Device = "auto",
    adapt: bool = False,
) -> list[Row]:
    """Times of every net on the same frames in turns, the yardstick first.

    Args:
        models: ONNX files by name; `YARDSTICK` is one of them.
        images: uint8 (N, H, W, 3), N a multiple of the batch.
        rounds: calls of each net that count.
        batch: frames a call.
        device: `auto`, `cpu` or `cuda`; a call returns when its frames are back in memory.
        adapt: measure the nets with the statistics of the frames folded in.

    Returns:
        One row a net: `net_ms_p50` and `_p95` per frame, `fps`, `speed_up` (how many times the
        yardstick's frame rate, within the same round) with `_p10` and `_p90`, `load_ms`,
        `first_frame_ms`, `model_kib` and what it ran on.
    """
    height, width = images.shape[1:3]
    stylizers: dict[str, OnnxStylizer] = {}
    rows: list[Row] = []
    for name in sorted(models, key=lambda n: n != YARDSTICK):
        begin = time.perf_counter()
        stylizers[name] = load(models[name], device)
        if adapt:
            stylizers[name].adapt(images)
        loaded = time.perf_counter()
        stylizers[name](images[:1])
        first = time.perf_counter()
        rows.append(
            {
                "net": name,
                "width_px": width,
                "height_px": height,
                "batch": batch,
                "adapted": adapt,
                "engine": stylizers[name].engine,
                "load_ms": round((loaded - begin) * 1e3, 1),
                "first_frame_ms": round((first - loaded) * 1e3, 1),
                "model_kib": round(models[name].stat().st_size / 1024),
            }
        )
    batches = len(images) // batch

    def paint(stylizer: OnnxStylizer, turn: int) -> None:
        start = turn % batches * batch
        stylizer(images[start : start + batch])

    calls = {name: lambda turn, s=s: paint(s, turn) for name, s in stylizers.items()}
    seconds = take_turns(calls, rounds)
    ratios = speed_ups(seconds, YARDSTICK)
    for row in rows:
        name = row["net"]
        row |= timing_figures([value / batch for value in seconds[name]], "net")
        row["fps"] = round(1e3 / row["net_ms_p50"], 2)
        row["speed_up"] = round(ratios[name].median, 3)
        row["speed_up_p10"] = round(ratios[name].p10, 3)
        row["speed_up_p90"] = round(ratios[name].p90, 3)
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid benchmark`."""
    parser.add_argument(
        "video", nargs="?", metavar="VIDEO", help="frames to paint; default: the clip of --demo"
    )
    parser.add_argument(
        "--nets",
        nargs="+",
        default=[name for name in NAMES if name != YARDSTICK],
        metavar="NET",
        help=f"{', '.join(NAMES)} (random weights), shipped styles or ONNX files; "
        f"{YARDSTICK} always runs too. The first one drives the whole program: name a trained one "
        "there, what random weights paint is hard to encode",
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH", help="default: 640x360")
    parser.add_argument("--batches", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--frames",
        type=int,
        default=PROGRAM_FRAMES,
        metavar="N",
        help="frames for the whole program, 0 leaves it out; default: %(default)s",
    )
    parser.add_argument(
        "--adapt", action="store_true", help="nets with the statistics of the frames folded in"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid benchmark`; tables go to stdout. Returns the exit code.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: one line for people.
    """
    sizes = [_parse_size(text, args) for text in args.sizes]
    if min([args.rounds, *args.batches]) < 1 or args.frames < 0:
        args.usage_error("--rounds and --batches take 1 or more, --frames 0 or more")
    for path in (args.json, args.markdown):
        if path is not None:
            check_target(path, args.overwrite)
    report: dict[str, Any] = {"yardstick": YARDSTICK, "rounds": args.rounds, "nets": []}
    tables: list[tuple[str, list[str], list[list[str]]]] = []
    with tempfile.TemporaryDirectory(prefix="fastvid-benchmark-") as name:
        folder = Path(name)
        video = Path(args.video or folder / "demo.mp4")
        if args.video is None:
            write_demo_clip(video, max(args.frames, SAMPLE_FRAMES))
        report["video"] = video.name
        models = collect_models(args.nets, folder)
        most = max(SAMPLE_FRAMES, *args.batches)
        frames = Clip(str(video), num_frames=8 * most).spread_frames(most)
        for size in sizes:
            images = np.stack([resize_image(frame, size=size) for frame in frames])
            peaks = {name: peak_memory_of(path, size, args.device) for name, path in models.items()}
            for batch in args.batches:
                log.info("%dx%d, batch %d: %s", size[1], size[0], batch, ", ".join(models))
                rows = measure_nets(
                    models, images, rounds=args.rounds, batch=batch, device=args.device,
                    adapt=args.adapt,
                )  # fmt: skip
                for row in rows:
                    row["peak_memory_mib"] = peaks[row["net"]]
                report["nets"] += rows
                tables.append(_net_table(rows))
                _show(*tables[-1])
        if args.frames:
            first = next(iter(models))
            stylizer = load(models[first], args.device)
            log.info("whole program with %s, %d frames", first, args.frames)
            program = measure_program(video, stylizer, args.frames, PROGRAM_ROUNDS)
            report["program"] = {"net": first, **program}
            tables.append(_program_table(report["program"]))
            _show(*tables[-1])
    report |= provenance()
    if args.json is not None:
        write_json(args.json, report)
    if args.markdown is not None:
        write_atomically(args.markdown, _markdown(tables).encode())
    return 0


def _export_random(name: str, folder: Path) -> Path:
    import torch

    from fastvid.export import export_onnx
    from fastvid.nets import build_net

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return export_onnx(build_net(name), folder / f"{name}.onnx", {"title": "random weights"})


def _parse_size(text: str, args: argparse.Namespace) -> tuple[int, int]:
    """(H, W) of `WxH`."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(map(int, match.groups())) < 16:
        args.usage_error(f"--sizes: expected WIDTHxHEIGHT of at least 16x16, found {text!r}")
    assert match is not None
    return int(match[2]), int(match[1])


def _net_table(rows: Sequence[Row]) -> tuple[str, list[str], list[list[str]]]:
    first = rows[0]
    title = f"{first['width_px']}x{first['height_px']}, batch {first['batch']}, {first['engine']}"
    if first["adapted"]:
        title += ", statistics folded in"
    header = ["net", "ms p50", "p95", "first frame ms", "frames/s", f"times {YARDSTICK}'s rate",
              "memory MiB", "file KiB"]  # fmt: skip
    body = [
        [
            row["net"],
            number(row["net_ms_p50"], 1),
            number(row["net_ms_p95"], 1),
            number(row["first_frame_ms"], 0),
            number(row["fps"], 1),
            f"{row['speed_up']:.2f} ({row['speed_up_p10']:.2f}-{row['speed_up_p90']:.2f})",
            number(row["peak_memory_mib"], 0),
            number(row["model_kib"]),
        ]
        for row in rows
    ]
    return title, header, body


def _program_table(program: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    title = (
        f"Whole program, {program['net']}, {program['width_px']}x{program['height_px']}, "
        f"{program['frames']} frames: {program['program_fps']:.1f} frames/s, "
        f"{program['share_of_slowest']:.0%} of {program['slowest_stage']} alone "
        f"({program['share_of_slowest_p10']:.0%}-{program['share_of_slowest_p90']:.0%}); first "
        f"frame after {program['first_frame_ms']:.0f} ms"
    )
    body = [
        [
            stage,
            number(program[f"{stage}_ms_p50"], 1),
            number(program[f"{stage}_ms_p95"], 1),
            number(program[f"{stage}_alone_fps"], 1),
        ]
        for stage in STAGES
    ]
    return title, ["stage", "ms p50", "p95", "alone, frames/s"], body


def _show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The result of the command, to stdout."""
    sys.stdout.write(f"{title}\n\n{format_table(header, rows)}\n\n")
    sys.stdout.flush()


def _markdown(tables: Sequence[tuple[str, list[str], list[list[str]]]]) -> str:
    found = machine()
    parts = [
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, {found['system']}"
    ]
    for title, header, rows in tables:
        parts += [title, markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"
