"""A network in a process that does nothing else: its peak memory, its speed on some of the cores.

    python -m fastvid.evaluation.apart MODEL.onnx HEIGHT WIDTH DEVICE ENGINE CORES FRAMES

prints `peak_memory_mib` and `net_ms` of every frame as JSON. CORES 0 takes all there are. Imports
the runtime alone, as `infer.py` does.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation.timing import spread
from fastvid.runtime.loading import load
from fastvid.runtime.report import peak_memory_mib
from fastvid.runtime.stylizer import Device, EngineName

FRAMES = 3
WARM_UP_FRAMES = 2
TIMEOUT_S = 600  # a 4K frame of the slowest net takes half a minute on one core
THREADS = Path("/proc/self/task")


def paint_apart(
    model: Path,
    size: tuple[int, int],
    device: Device = "auto",
    engine: EngineName = "auto",
    cores: int = 0,
) -> dict[str, Any] | None:
    """Paint a few frames of (H, W) pixels in a fresh process.

    Args:
        model: ONNX file.
        size: (H, W).
        device: `auto`, `cpu` or `cuda`.
        engine: see `fastvid.runtime.loading.load`.
        cores: that the process may use; 0 is all.

    Returns:
        `peak_memory_mib`, of a process with interpreter, libraries and network, without that of a
        GPU, and `net_ms` of each frame after the first two. None where the process failed, for want
        of memory for example, or took more than ten minutes.
    """
    words = [str(model), *map(str, size), device, engine, str(cores), str(FRAMES)]
    command = [sys.executable, "-m", "fastvid.evaluation.apart", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return None
    return found


def measure_cores(
    models: Mapping[str, Path],
    size: tuple[int, int],
    rounds: int,
    device: Device = "auto",
    engine: EngineName = "auto",
) -> list[dict[str, Any]]:
    """What a frame costs on one core, on two, up to all; every setting once per round.

    Args:
        models: ONNX files by name.
        size: (H, W).
        rounds: processes that count of every net and number of cores.
        device: `auto`, `cpu` or `cuda`.
        engine: see `fastvid.runtime.loading.load`.

    Returns:
        One row for each net and number of cores: `net_ms_p50` (median of the rounds' medians),
        `fps` and `speed_up` over one core with `_min` and `_max`. Nothing where the system does not
        let a process choose its cores.
    """
    if not THREADS.is_dir():
        return []
    counts = range(1, len(os.sched_getaffinity(0)) + 1)
    medians: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for name, model in models.items():
            found = {cores: paint_apart(model, size, device, engine, cores) for cores in counts}
            if all(found.values()):
                for cores, each in found.items():
                    assert each is not None
                    medians.setdefault((name, cores), []).append(float(np.median(each["net_ms"])))
    rows = []
    for (name, cores), values in medians.items():
        base = medians[name, 1]
        ratios = spread(one / own for one, own in zip(base, values, strict=True))
        median = spread(values).median
        rows.append(
            {
                "net": name,
                "width_px": size[1],
                "height_px": size[0],
                "cores": cores,
                "net_ms_p50": round(median, 3),
                "fps": round(1e3 / median, 2),
                **ratios.as_dict("speed_up"),
            }
        )
    return rows


def _confine(cores: int) -> None:
    """Keep every thread of this process on its first cores, ONNX Runtime's own ones too.

    It pins its threads when a session is made, whatever the process was allowed before.
    """
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    for thread in THREADS.iterdir():
        os.sched_setaffinity(int(thread.name), chosen)


def _high_water_mark_mib() -> float | None:
    """Linux counts the parent's size into getrusage of a child, so ask for this program's own."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return peak_memory_mib()


def _paint(words: Sequence[str]) -> dict[str, Any]:
    model, height, width, device, engine, cores, frames = words
    stylizer = load(Path(model), device, engine)  # type: ignore[arg-type]
    frame = np.random.default_rng(0).integers(0, 256, (1, int(height), int(width), 3), np.uint8)
    if int(cores):
        stylizer(frame)  # the threads for this size of frames are there now
        _confine(int(cores))
    times = []
    for _ in range(WARM_UP_FRAMES + int(frames)):
        begin = time.perf_counter()
        stylizer(frame)
        times.append(round((time.perf_counter() - begin) * 1e3, 3))
    return {"peak_memory_mib": _high_water_mark_mib(), "net_ms": times[WARM_UP_FRAMES:]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_paint(sys.argv[1:])))
