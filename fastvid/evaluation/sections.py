"""The parts of `fastvid benchmark`: nets, cores, the slow optimiser, the whole program."""

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation import plots, slow, throughput
from fastvid.evaluation.apart import measure_cores
from fastvid.evaluation.clips import Clip
from fastvid.evaluation.roofline import measure_roofline, roofline_table
from fastvid.evaluation.speed import (
    YARDSTICK,
    collect_models,
    core_table,
    measure_nets,
    net_table,
    peak_memories,
)
from fastvid.evaluation.table import Table, show
from fastvid.evaluation.timing import spread
from fastvid.files import write_atomically
from fastvid.image import resize_image
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import OnnxStylizer

log = logging.getLogger(__name__)

SAMPLE_FRAMES = 4  # different pictures that the nets paint in turn
ITERATIONS_TIMED = 2  # of the optimiser, where only its cost is asked for
COST_ROUNDS = 3
PIXEL_PLOT, FRAME_PLOT, BAR_PLOT = "cost_pixels.svg", "cost_frames.svg", "seconds_a_frame.svg"
PLOTS = (PIXEL_PLOT, FRAME_PLOT, BAR_PLOT)
Size = tuple[int, int]


class Sections:
    """Measures one part after the other; every table is shown as soon as it is there.

    Args:
        args: the options of `fastvid benchmark`.
        sizes: (H, W) each.
        folder: an empty one for films, exports and the optimiser's state.

    Attributes:
        report: for the JSON file.
        tables: in the order of their making.

    Raises:
        ValueError, FileNotFoundError: if a net or the film is not there.
    """

    def __init__(self, args: argparse.Namespace, sizes: Sequence[Size], folder: Path) -> None:
        self.args, self.sizes, self.folder = args, list(sizes), folder
        self.tables: list[Table] = []
        self.lengths = [length for length in args.frames if length]
        self.models = collect_models(args.nets, folder)
        self.paths = {name: model.path for name, model in self.models.items()}
        self.driver = next((name for name in self.models if name != YARDSTICK), YARDSTICK)
        self.video = Path(args.video or folder / "demo.mp4")
        if args.video is None:
            count = max([SAMPLE_FRAMES, args.optimizer_frames, *self.lengths])
            throughput.write_demo_clip(self.video, count)
        self.report: dict[str, Any] = {
            "yardstick": YARDSTICK,
            "rounds": args.rounds,
            "video": self.video.name,
            "statistics": args.statistics,
            "random_weights": [n for n, model in self.models.items() if model.painting is None],
            "nets": [],
        }

    def run(self) -> None:
        """All parts that the options ask for."""
        self.measure_nets()
        if self.args.cores:
            self.measure_cores()
        if self.args.roofline:
            self.measure_roofline()
        if self.args.iterations:
            self.measure_optimizer()
        if self.lengths:
            self.measure_program()

    def measure_nets(self) -> None:
        """Every size and batch."""
        args = self.args
        most = max(SAMPLE_FRAMES, *args.batches)
        for size in self.sizes:
            images = self._sample(most, size)
            peaks = peak_memories(self.paths, size, args.device, args.engine[0])
            for batch in args.batches:
                log.info("%dx%d, batch %d: %s", size[1], size[0], batch, ", ".join(self.paths))
                rows = measure_nets(
                    self.paths, images, rounds=args.rounds, batch=batch, device=args.device,
                    engines=args.engine, statistics=args.statistics,
                )  # fmt: skip
                for row in rows:
                    row["peak_memory_mib"] = peaks.get(row["net"])
                self.report["nets"] += rows
                self._add(net_table(rows))

    def measure_cores(self) -> None:
        """Every net on 1, 2, ... cores, at the first size."""
        self.report["cores"] = measure_cores(
            self.paths, self.sizes[0], COST_ROUNDS, self.args.device, self.args.engine[0]
        )
        if self.report["cores"]:
            self._add(core_table(self.report["cores"]))
        else:
            log.warning("--cores: this system does not let a process choose its cores")

    def measure_roofline(self) -> None:
        """Every net beside the peaks of the processor, at the first size."""
        frames = self._sample(SAMPLE_FRAMES, self.sizes[0])
        args = self.args
        rows = measure_roofline(self.paths, frames, rounds=args.rounds, engine=args.engine[0])
        self.report["roofline"] = rows
        self._add(roofline_table(rows))

    def measure_optimizer(self) -> None:
        """The optimiser beside all nets at the first size, and its cost at the others."""
        args = self.args
        style = self.models[self.driver].painting if args.style is None else Path(args.style)
        if style is None:
            log.warning("no optimiser: name a trained net first in --nets, or give --style IMAGE")
            return
        frames = list(Clip(str(self.video), num_frames=args.optimizer_frames).frames())
        config = slow.settings(style, args.iterations, args.init)

        def painter(size: Size) -> slow.SlowPainter:
            folder = self.folder / f"optimiser-{size[1]}x{size[0]}"
            folder.mkdir()
            images = np.stack([resize_image(frame, size=size) for frame in frames])
            return slow.SlowPainter(config, images, folder)

        first = painter(self.sizes[0])
        log.info("optimiser, %d frames: %s", len(frames), slow.describe(first))
        nets = {name: self._adapted(name, first.frames) for name in self.paths}
        judged = [name for name, model in self.models.items() if model.painting == style]
        rows = slow.compare(
            first,
            {name: partial(_paint_one, stylizer) for name, stylizer in nets.items()},
            judged,
            args.limit or args.iterations,
        )
        self._add(slow.duel_table(first, rows))
        costs = []
        for size in self.sizes:
            if size[0] * size[1] > args.optimizer_pixels:
                continue
            each = first if size == self.sizes[0] else painter(size)
            found = spread(slow.seconds_per_iteration(each, ITERATIONS_TIMED, COST_ROUNDS))
            costs.append(
                {
                    "width_px": size[1],
                    "height_px": size[0],
                    **found.as_dict("s_per_iteration"),
                    "s_per_frame": round(found.median * args.iterations, 3),
                }
            )
        self.report["optimizer"] = {
            "settings": slow.describe(first),
            "style_image": style.name,
            "frames": len(frames),
            "rows": rows,
            "costs": costs,
        }

    def measure_program(self) -> None:
        """The whole program with the first net: its stages, and films of several lengths."""
        stylizer = self._load(self.driver)
        log.info("whole program with %s, %s frames", self.driver, self.lengths)
        count = max(self.lengths)
        stages = throughput.measure_program(self.video, stylizer, count, COST_ROUNDS)
        self.report["program"] = {"net": self.driver, **stages}
        self._add(throughput.program_table(self.report["program"]))
        rows = throughput.measure_lengths(self.video, stylizer, self.lengths, COST_ROUNDS)
        self.report["lengths"] = rows
        self._add(throughput.length_table(self.driver, rows))

    def draw(self, folder: Path) -> None:
        """The plots of what has been measured."""
        report = self.report
        optimizer = report.get("optimizer", {"costs": [], "rows": []})
        single = [row for row in report["nets"] if row["batch"] == 1]
        drawn = {}
        if len(self.sizes) > 1 and single:
            drawn[PIXEL_PLOT] = plots.pixel_plot(single, optimizer["costs"])
        if optimizer["rows"]:
            height, width = self.sizes[0]
            title = f"A frame of {width}x{height}, optimiser: {self.args.iterations} iterations"
            drawn[BAR_PLOT] = plots.frame_time_plot(title, optimizer["rows"])
        if len(report.get("lengths", [])) > 1:
            drawn[FRAME_PLOT] = plots.frame_plot(report["lengths"], self.driver)
        for name, chart in drawn.items():
            write_atomically(folder / name, chart.encode())

    def _sample(self, count: int, size: Size) -> np.ndarray:
        """Frames of the film far apart, uint8 (N, H, W, 3)."""
        frames = Clip(str(self.video), num_frames=8 * count).spread_frames(count)
        return np.stack([resize_image(frame, size=size) for frame in frames])

    def _adapted(self, name: str, frames: np.ndarray) -> OnnxStylizer:
        stylizer = self._load(name)
        if self.args.statistics == "shot":
            stylizer.adapt(frames)
        return stylizer

    def _load(self, name: str) -> OnnxStylizer:
        return load(self.paths[name], self.args.device, self.args.engine[0])

    def _add(self, table: Table) -> None:
        self.tables.append(table)
        show(table.text())


def _paint_one(stylizer: OnnxStylizer, frame: np.ndarray) -> np.ndarray:
    painted: np.ndarray = stylizer(frame[None])[0]
    return painted
