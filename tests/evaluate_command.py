"""What the tests of `fastvid evaluate` share: the command and clips for it."""

import argparse
import json

import numpy as np

from fastvid.evaluation import evaluate
from fastvid.image import write_image

SIZE = (48, 64)


def write_frames(folder, frames):
    folder.mkdir()
    for index, frame in enumerate(frames):
        write_image(folder / f"{index:03d}.png", frame)
    return str(folder)


def texture_clip(frames=4, step_px=1):
    random = np.random.default_rng(0)
    wide = random.integers(60, 190, (SIZE[0] // 4, (SIZE[1] + 40) // 4, 3))
    wide = wide.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    return np.stack([wide[:, t * step_px : t * step_px + SIZE[1]] for t in range(frames)])


def command(*words):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args([str(word) for word in words]))


def without_clock(path):
    """A report as text, less the one key in which two runs may differ."""
    report = json.loads(path.read_text())
    assert set(report.pop("run")) == {"began_utc", "wall_s"}
    return json.dumps(report)


def write_probe(folder):
    """A picture that is large enough for the probes."""
    write_image(folder / "probe.png", np.tile(texture_clip(1)[0], (2, 4, 1)))
    return folder / "probe.png"
