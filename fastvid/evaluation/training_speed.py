"""`fastvid benchmark --training`: what a training step costs, and who takes how much of it."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from fastvid.config import StyleConfig, TrainConfig
from fastvid.evaluation.table import Table, number
from fastvid.evaluation.timing import span, spread, take_turns
from fastvid.nets import NAMES
from fastvid.reference.build import pick_device
from fastvid.runtime.gallery import DEFAULT_STYLE
from fastvid.training.build import build_module, build_samples
from fastvid.training.module import StyleTransferModule

PRECISIONS = ("32-true", "bf16-mixed")  # Lightning's names
STAGES = ("data", "net", "judge")
Batch = dict[str, Tensor]
Row = dict[str, Any]


def settings(net: str) -> TrainConfig:
    """A run as `train.py net=NET` has it, on generated scenes and in its part with frame pairs."""
    config = TrainConfig(style=StyleConfig(name=DEFAULT_STYLE, image=f"{DEFAULT_STYLE}.jpg"))
    config.net.name = net
    config.data.kind = "synthetic"
    config.data.root = os.environ.get("FASTVID_DATA", "data")
    config.still_fraction = 0.0
    return config


class TrainingStep:
    """One step in its parts, each of which can be called by itself.

    Args:
        config: of the run.
        precision: `32-true` or `bf16-mixed`.
        device: of the work.
    """

    def __init__(self, config: TrainConfig, precision: str, device: torch.device) -> None:
        self.config, self.device = config, device
        self.module: StyleTransferModule = build_module(config).to(device)
        self.module.log_dict = lambda *_args, **_options: None  # type: ignore[method-assign]
        self._samples, _ = build_samples(config)
        optimizers = self.module.configure_optimizers()
        optimizer = optimizers["optimizer"]
        assert isinstance(optimizer, torch.optim.Optimizer)
        self._optimizer = optimizer
        self._is_mixed = precision == "bf16-mixed"
        self._batch = self._move(self._collate(0))

    def calls(self) -> dict[str, Callable[[int], object]]:
        """The parts by name: `data`, `net`, `judge`, and the whole `step`, data included."""
        return {"data": self._collate, "net": self._net, "judge": self._judge, "step": self._step}

    def _collate(self, turn: int) -> Batch:
        """Make a batch of pairs."""
        first = (turn + 1000) * self.config.batch_size  # turns of the warm-up are negative
        found: Batch = default_collate(
            [self._samples[first + i] for i in range(self.config.batch_size)]
        )
        return found

    def _net(self, _turn: int) -> None:
        """Both frames of every pair through the network, and back."""
        shown = torch.cat([self._batch["prev_shown"], self._batch["cur_shown"]])
        with self._autocast():
            output = self.module.net(shown)
        output.float().square().mean().backward()
        self._wait()

    def _judge(self, _turn: int) -> None:
        """One painting of every pair through the judge and back, one frame through it."""
        frame = self._batch["cur"]
        painted = frame.clone().requires_grad_()
        with self._autocast():
            features = self.module.judge(painted)
            with torch.no_grad():
                self.module.judge(frame)
        torch.stack([value.float().square().mean() for value in features.values()]).sum().backward()
        self._wait()

    def _step(self, turn: int) -> None:
        batch = self._move(self._collate(turn))
        with self._autocast():
            loss = self.module.training_step(batch, 0)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.net.parameters(), self.config.clip_norm)
        self._optimizer.step()
        self.module.on_train_batch_end(None, batch, 0)
        self._wait()

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self._is_mixed else nullcontext()

    def _move(self, batch: Batch) -> Batch:
        return {name: value.to(self.device) for name, value in batch.items()}

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure_step(config: TrainConfig, precision: str, rounds: int, device: torch.device) -> Row:
    """What a step costs and what its parts would cost alone, in turns.

    Args:
        config: of the run.
        precision: `32-true` or `bf16-mixed`.
        rounds: of each part that count.
        device: of the work.

    Returns:
        `step_s` and `images_per_s` with their bands (an image is a frame that the network paints:
        two a pair), and for each of `STAGES` `<stage>_share` of the step, within the same round,
        with its band. What is missing to 1 are the losses, the warp and the optimiser.
    """
    step = TrainingStep(config, precision, device)
    seconds = take_turns(step.calls(), rounds, warm_up=1)
    images = 2 * config.batch_size
    row: Row = {
        "net": config.net.name,
        "precision": precision,
        "judge": config.loss.arch,
        "batch_size": config.batch_size,
        "crop_px": config.data.crop_px,
        **spread(seconds["step"]).as_dict("step_s"),
        **spread(images / value for value in seconds["step"]).as_dict("images_per_s"),
    }
    for stage in STAGES:
        shares = (part / whole for part, whole in zip(seconds[stage], seconds["step"], strict=True))
        row |= spread(shares).as_dict(f"{stage}_share")
    return row


def benchmark(
    nets: Sequence[str], rounds: int, device: str, precisions: Sequence[str]
) -> tuple[dict[str, Any], list[Table]]:
    """Report and table of `fastvid benchmark --training`.

    Args:
        nets: architectures.
        rounds: steps of each that count.
        device: `auto`, `cpu` or `cuda`.
        precisions: see `measure_step`.

    Raises:
        ValueError: if a net is no architecture.
        FileNotFoundError: if the painting or the judge's weights are missing.
    """
    unknown = [net for net in nets if net not in NAMES]
    if unknown:
        raise ValueError(f"--training takes architectures ({', '.join(NAMES)}), found {unknown[0]}")
    place = pick_device(device)
    rows = [
        measure_step(settings(net), precision, rounds, place)
        for net in nets
        for precision in precisions
    ]
    return {"training": rows, "rounds": rounds, "device": place.type}, [training_table(rows)]


def training_table(rows: Sequence[Row]) -> Table:
    """What `measure_step` found."""
    first = rows[0]
    title = (
        f"Training step: {first['batch_size']} pairs of {first['crop_px']}x{first['crop_px']} from "
        f"generated scenes, judged by {first['judge']}"
    )
    header = ["net", "precision", "s a step", "images/s"]
    header += [f"{stage}, share" for stage in STAGES]
    body = [
        [
            row["net"],
            row["precision"],
            number(row["step_s"]),
            span(row, "images_per_s"),
            *[span(row, f"{stage}_share") for stage in STAGES],
        ]
        for row in rows
    ]
    return Table(title, header, body)
