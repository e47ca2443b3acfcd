"""What a run was and where its time went, in plain values with units in the key names."""

import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastvid.files import write_atomically
from fastvid.runtime.stages import Timing


@dataclass(frozen=True)
class Report:
    """One painted film.

    Attributes:
        source: what was read.
        target: the file, folder or pattern written.
        style: the style's or model's name.
        engine: what really ran the network.
        device: `cpu` or `cuda`, what really ran.
        frames: frames written, as many as were read.
        frames_replaced: frames the network failed on, where the source's own frame stands.
        statistics: what the normalisation was held at: `shot`, `frame`, or live `slow`, an average.
        shots: how often it was taken anew; 0 where every frame has its own.
        frames_missing: frames that the source promises and does not hold, or images of it that
            could not be read.
        packets_damaged: packets or images of the source that were not decoded cleanly.
        damage: the same in words, empty for a sound source.
        width_px: columns of a frame painted.
        height_px: rows of a frame painted.
        wall_s: seconds from the first read to the finished file.
        first_frame_s: seconds until the first painted frame had gone to the encoder.
        fps: frames / wall_s.
        frames_at_once: frames that the net worked on side by side.
        stages: for each stage (of a film `decode`, `net` and `encode`) a mapping with `ms_p50` and
            `ms_p95`, from the beginning of its work on a frame to the end, and `busy_fraction`, the
            share of wall_s in which it was at work, not waiting (the mean of its threads).
        bottleneck: the stage with the largest busy_fraction.
        peak_memory_mib: largest resident size of the process so far, None where unknown.
        versions: of fastvid and of the packages that did the work.
        live: `frames_captured`, `frames_dropped`, `latency_ms_p50` and `latency_ms_p95` of a source
            that does not wait, from a frame's capture to its showing; None for others.
        decoder: what really decoded, `software` or the kind of device, see `VideoReader`; empty
            where nothing was decoded here.
        encoder: FFmpeg's name of what really encoded; empty where nothing was written.
    """

    source: str
    target: str
    style: str
    engine: str
    device: str
    frames: int
    frames_replaced: int
    statistics: str
    shots: int
    frames_missing: int
    packets_damaged: int
    damage: str
    width_px: int
    height_px: int
    wall_s: float
    first_frame_s: float
    fps: float
    frames_at_once: int
    stages: Mapping[str, Mapping[str, float]]
    bottleneck: str
    peak_memory_mib: float | None
    versions: Mapping[str, str]
    live: Mapping[str, float] | None = None
    decoder: str = ""
    encoder: str = ""

    @property
    def complete(self) -> bool:
        """Whether every frame that the source promises was read."""
        return not self.frames_missing

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the stages become keys like `net_ms_p50`."""
        flat = asdict(self)
        for stage, row in flat.pop("stages").items():
            flat |= {f"{stage}_{key}": value for key, value in row.items()}
        live = flat.pop("live") or {}
        return flat | live


def describe_stages(
    timings: Mapping[str, Timing], wall_s: float
) -> tuple[dict[str, dict[str, float]], str]:
    """Figures of the stages, and the name of the busiest of them."""
    stages = {
        name: {
            "ms_p50": round(timing.percentile_ms(50), 3),
            "ms_p95": round(timing.percentile_ms(95), 3),
            "busy_fraction": round(min(1.0, timing.total_s / wall_s), 4),
        }
        for name, timing in timings.items()
    }
    return stages, max(stages, key=lambda name: stages[name]["busy_fraction"])


def peak_memory_mib() -> float | None:
    """Largest resident size of this process so far; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def free_memory_mib() -> float | None:
    """Memory that a new program could have without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) / 2**10
    except (OSError, KeyError, ValueError):  # not Linux
        return None


def versions() -> dict[str, str]:
    """Versions of Python, fastvid and the packages of the runtime that are installed."""
    found = {"python": platform.python_version()}
    for name in ("fastvid", "onnxruntime", "onnxruntime-gpu", "openvino", "av", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that appears under its name only when complete."""
    try:
        write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
    except OSError as error:
        raise RuntimeError(f"{path}: cannot be written ({error.strerror})") from None
