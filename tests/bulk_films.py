"""Films with several shots and a network with norms, for the tests of painting in pieces."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from media import write_video
from tiny_clips import SIZE

INFER = Path(__file__).parent.parent / "infer.py"
CUTS = (0, 70, 300)  # a short shot, a long one and the rest


def scene(t, size=SIZE):
    """Frame t of a film that cuts from one colour to another; it moves, and never repeats."""
    shot = sum(t >= cut for cut in CUTS)
    y, x = np.mgrid[: size[0], : size[1]]
    wave = 40 * np.sin((x + 2 * t) / 9 + shot) + 20 * np.cos((y - t) / 7)
    color = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200), (90, 90, 30)])[shot % 4]
    return np.clip(color + wave[..., None] + t % 13, 0, 255).astype(np.uint8)


def write_film(path, num_frames=400, **more):
    """A film with sound whose shots begin at `CUTS`, with B-frames and few key frames."""
    return write_video(
        path, num_frames, SIZE, picture=scene, time_base=Fraction(1, 12288), sound="aac",
        options={"g": "100", "preset": "veryfast"}, **more,
    )  # fmt: skip


def start(*words, cwd):
    """`infer.py` as a process of its own, to be waited for with a timeout."""
    return subprocess.Popen(
        [sys.executable, str(INFER), *map(str, words)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process, timeout_s=120):
    """Exit code, lines of stdout, lines of stderr; a process that hangs is killed."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return process.returncode, out.splitlines(), err.splitlines()
