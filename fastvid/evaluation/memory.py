"""Peak memory of painting a few frames, in a process that does nothing else.

    python -m fastvid.evaluation.memory MODEL.onnx HEIGHT WIDTH DEVICE

prints the peak resident size in MiB. Imports the runtime alone, as `infer.py` does.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from fastvid.runtime.report import peak_memory_mib
from fastvid.runtime.stylizer import Device, load

FRAMES = 3


def peak_memory_of(model: Path, size: tuple[int, int], device: Device = "auto") -> float | None:
    """Peak resident memory in MiB of a process that paints three frames of (H, W) pixels.

    Interpreter, libraries and network included; memory of a GPU is not. None where the process
    failed, for want of memory for example, or the system does not tell.
    """
    words = [sys.executable, "-m", "fastvid.evaluation.memory", str(model), *map(str, size), device]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return float(done.stdout)
    except ValueError:
        return None


def _high_water_mark_mib() -> float | None:
    """Linux counts the parent's size into getrusage of a child, so ask for this program's own."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return peak_memory_mib()


def _paint(model: str, height: str, width: str, device: Device) -> None:
    stylizer = load(Path(model), device)
    frame = np.random.default_rng(0).integers(0, 256, (1, int(height), int(width), 3), np.uint8)
    for _ in range(FRAMES):
        stylizer(frame)
    sys.stdout.write(f"{_high_water_mark_mib() or ''}")


if __name__ == "__main__":
    _paint(*sys.argv[1:])  # type: ignore[arg-type]
