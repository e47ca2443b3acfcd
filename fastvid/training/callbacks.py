"""What a run shows and keeps while it goes on. Everything for people goes to stderr."""

from __future__ import annotations

import csv
import io
import logging
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from tqdm import tqdm

from fastvid.files import write_atomically
from fastvid.image import to_array, write_image
from fastvid.nets.blocks import normalizing
from fastvid.training.module import StyleTransferModule

log = logging.getLogger(__name__)

COLUMNS = (
    "step", "learning_rate", "seconds", "loss", "content", "style", "color", "temporal",
    "total_variation", "range", "lattice",
)  # fmt: skip


class ProgressLine(pl.Callback):
    """One line: steps done, time left, the weighted loss and its terms."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the line."""
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=trainer.max_steps,
                initial=trainer.global_step,
                unit="step",
                desc="training",
                dynamic_ncols=True,
                mininterval=0.5 if os.isatty(2) else 30,
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Advance it."""
        if self._bar is not None:
            terms = {
                k.removeprefix("train/"): float(v) for k, v in trainer.callback_metrics.items()
            }
            shown = {k: f"{terms[k]:.3f}" for k in ("loss", "style", "temporal") if k in terms}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(trainer.global_step - self._bar.n)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Close it."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class MetricsCsv(pl.Callback):
    """Appends to `metrics.csv`; a resumed run drops the rows that it is about to repeat."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self._start = time.monotonic()
        self._seconds_before = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep the rows up to the step resumed at, or begin the file."""
        if not trainer.is_global_zero:
            return
        self._start = time.monotonic()
        rows: list[dict[str, str]] = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["step"]) <= trainer.global_step]
        self._seconds_before = float(rows[-1]["seconds"]) if rows else 0.0
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, table.getvalue().encode())

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a row every so many steps; `seconds` counts over all parts of a resumed run."""
        if not trainer.is_global_zero or trainer.global_step % self.every:
            return
        row: dict[str, Any] = {
            key.removeprefix("train/"): f"{float(value):.6g}"
            for key, value in trainer.callback_metrics.items()
        }
        if "frame" in batch:
            row.pop("temporal", None)
        row["step"] = trainer.global_step
        row["learning_rate"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["seconds"] = f"{self._seconds_before + time.monotonic() - self._start:.1f}"
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)


class SampleStrips(pl.Callback):
    """A picture every so many steps: the frames, painted by the averaged network, above and below.

    A base network shows a few of its styles. Always the same frames, so that the strips in sequence
    show the network learn. The first strip comes at once: a wrong style image or a broken clip
    shows in the first minute.
    """

    def __init__(self, folder: Path, frames: Tensor, every: int) -> None:
        """Take the frames, (N, 3, H, W) RGB in [0, 1]."""
        self.folder, self.frames, self.every = folder, frames, every

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write the strip of this step, if it is due."""
        assert isinstance(module, StyleTransferModule)
        step = trainer.global_step
        if trainer.is_global_zero and (step % self.every == 0 or step == trainer.max_steps):
            net = module.averaged.module
            net.eval()
            painted_frames = []
            with torch.inference_mode():
                for k, frame in enumerate(self.frames):
                    with normalizing(net, k * len(module.paintings) // len(self.frames)):
                        painted_frames.append(net(frame.to(module.device)[None]))
            painted = torch.cat(painted_frames)
            rows = [np.concatenate(list(to_array(part)), axis=1) for part in (self.frames, painted)]
            self.folder.mkdir(parents=True, exist_ok=True)
            write_image(self.folder / f"step_{step:06d}.png", np.concatenate(rows))


class StopAtStepEnd(pl.Callback):
    """Ctrl-C and SIGTERM end the run after the current step, with a checkpoint of it.

    It is enough that one process of a distributed run hears of it: all stop after the same step, as
    none can take a step alone. A second Ctrl-C interrupts at once; the last regular checkpoint then
    counts.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take over the two signals."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self.interrupted and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.interrupted = True
            log.warning("stopping after this step")

        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, stop)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ask all processes whether one of them was told to stop."""
        self.interrupted = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)
        trainer.should_stop = self.interrupted

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
