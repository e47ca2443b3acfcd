"""The speed of networks on the same frames in turns, beside a yardstick."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation.apart import paint_apart
from fastvid.evaluation.contestants import painting_of
from fastvid.evaluation.table import Table, number
from fastvid.evaluation.timing import span, speed_ups, take_turns, timing_figures
from fastvid.nets import NAMES
from fastvid.runtime.engines.distance import psnr
from fastvid.runtime.gallery import find_model
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import Device, EngineName, OnnxStylizer

YARDSTICK = "johnson"
SEED = 0
Row = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A network to time.

    Attributes:
        path: ONNX file.
        painting: what it was trained on, where that is known; None for random weights.
    """

    path: Path
    painting: Path | None = None


def collect_models(names: Sequence[str], folder: Path) -> dict[str, Model]:
    """The contestants by name, the yardstick first.

    Args:
        names: architectures (`base`, `small`, ...: exported with random weights, which cost the
            same time as trained ones), shipped styles or ONNX files. A file called `johnson.onnx`
            or `NAME.johnson.onnx` is the yardstick.
        folder: where the exports go.

    Raises:
        ValueError, FileNotFoundError: if a name is none of these.
    """
    models: dict[str, Model] = {}
    for name in names:
        if name in NAMES:
            models[name] = Model(_export_random(name, folder))
        else:
            path = find_model(name)
            stem = path.name.removesuffix(".onnx")
            is_yardstick = stem.split(".")[-1] == YARDSTICK
            models[YARDSTICK if is_yardstick else stem] = Model(path, painting_of(path))
    yardstick = models.pop(YARDSTICK, None) or Model(_export_random(YARDSTICK, folder))
    return {YARDSTICK: yardstick, **models}


def measure_nets(
    models: Mapping[str, Path],
    images: np.ndarray,
    *,
    rounds: int,
    batch: int = 1,
    device: Device = "auto",
    engines: Sequence[EngineName] = ("auto",),
    statistics: str = "shot",
) -> list[Row]:
    """Times of every net in every engine on the same frames in turns, the yardstick first.

    Args:
        models: ONNX files by name; `YARDSTICK` is one of them.
        images: uint8 (N, H, W, 3), N a multiple of the batch.
        rounds: calls of each net that count.
        batch: frames a call.
        device: `auto`, `cpu` or `cuda`; a call returns when its frames are back in memory.
        engines: see `fastvid.runtime.loading.load`. The yardstick runs in the first one alone.
        statistics: `shot` holds those of the frames, `frame` takes them of each frame.

    Returns:
        One row a net and engine, `net` with the engine's name but for the first: `net_ms_p50` and
        `_p95` per frame, `fps`, `speed_up` (how many times the yardstick's frame rate, within the
        same round) with `_min` and `_max`, `load_ms`, `first_frame_ms`, `model_kib`, what it ran
        on, and `psnr_db`, the least of its paintings to those in the first engine, None there.
    """
    height, width = images.shape[1:3]
    stylizers: dict[str, OnnxStylizer] = {}
    rows: list[Row] = []
    runs = [
        (name, engine)
        for name in sorted(models, key=lambda n: n != YARDSTICK)
        for engine in (engines[:1] if name == YARDSTICK else engines)
    ]
    for name, engine in runs:
        label = name if engine == engines[0] else f"{name}, {engine}"
        begin = time.perf_counter()
        stylizer = stylizers[label] = load(models[name], device, engine)
        if statistics == "shot":
            stylizer.adapt(images)
        loaded = time.perf_counter()
        stylizer(images[:1])
        first = time.perf_counter()
        distance = None if label == name else _least_psnr(stylizers[name], stylizer, images)
        rows.append(
            {
                "net": label,
                "width_px": width,
                "height_px": height,
                "batch": batch,
                "statistics": statistics,
                "engine": stylizer.engine,
                "load_ms": round((loaded - begin) * 1e3, 1),
                "first_frame_ms": round((first - loaded) * 1e3, 1),
                "model_kib": round(models[name].stat().st_size / 1024),
                "psnr_db": distance,
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
        row |= ratios[name].as_dict("speed_up")
    return rows


def _least_psnr(one: OnnxStylizer, other: OnnxStylizer, images: np.ndarray) -> float:
    """Of the paintings of the images by both, dB; 100 for equal ones, which JSON can hold."""
    pairs = ((one(image[None]), other(image[None])) for image in images)
    return round(min(100.0, *(psnr(*pair) for pair in pairs)), 1)


def peak_memories(
    models: Mapping[str, Path], size: tuple[int, int], device: Device, engine: EngineName
) -> dict[str, float | None]:
    """Peak memory in MiB of a process that paints frames of (H, W) pixels one by one, by net."""
    found = {name: paint_apart(path, size, device, engine) for name, path in models.items()}
    return {name: each["peak_memory_mib"] if each else None for name, each in found.items()}


def net_table(rows: Sequence[Row]) -> Table:
    """What `measure_nets` found, with the `peak_memory_mib` of each row."""
    first = rows[0]
    engines = ", ".join(dict.fromkeys(row["engine"] for row in rows))
    title = (
        f"{first['width_px']}x{first['height_px']}, batch {first['batch']}, {engines}, "
        f"statistics per {first['statistics']}"
    )
    header = ["net", "ms p50", "p95", "first frame ms", "frames/s", f"times {YARDSTICK}'s rate",
              "memory MiB", "file KiB", "dB"]  # fmt: skip
    if all(row["psnr_db"] is None for row in rows):
        del header[-1]
    body = [
        [
            row["net"],
            number(row["net_ms_p50"], 1),
            number(row["net_ms_p95"], 1),
            number(row["first_frame_ms"], 0),
            number(row["fps"], 1),
            span(row, "speed_up"),
            number(row["peak_memory_mib"], 0),
            number(row["model_kib"]),
            number(row["psnr_db"], 1),
        ][: len(header)]
        for row in rows
    ]
    return Table(title, header, body)


def core_table(rows: Sequence[Row]) -> Table:
    """What `measure_cores` found."""
    first = rows[0]
    body = [
        [
            row["net"],
            str(row["cores"]),
            number(row["net_ms_p50"], 1),
            number(row["fps"], 1),
            span(row, "speed_up"),
        ]
        for row in rows
    ]
    title = (
        f"{first['width_px']}x{first['height_px']} by cores, a process each, statistics per frame"
    )
    return Table(title, ["net", "cores", "ms p50", "frames/s", "times one core's rate"], body)


def _export_random(name: str, folder: Path) -> Path:
    import torch

    from fastvid.export import export_onnx
    from fastvid.nets import build_net

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return export_onnx(build_net(name), folder / f"{name}.onnx", {"title": "random weights"})
