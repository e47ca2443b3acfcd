"""One training run, from a configuration to the exported network."""

from __future__ import annotations

import ctypes
import inspect
import json
import logging
import platform
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from fastvid import checkpoint
from fastvid.checkpoint import Description
from fastvid.config import TrainConfig, TrainerConfig
from fastvid.export import export_onnx, onnx_metadata
from fastvid.files import write_atomically
from fastvid.nets import build_net
from fastvid.training.build import build_module, build_samples
from fastvid.training.callbacks import MetricsCsv, ProgressLine, SampleStrips, StopAtStepEnd
from fastvid.training.data import (
    StepSampler,
    TrainingSamples,
    loader,
)
from fastvid.training.module import StyleTransferModule

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
# Settings that a resumed run may have otherwise: where and how exactly it computes, what it shows.
_MAY_CHANGE = ("trainer", "log_every", "sample_every", "checkpoint_every")


class InterruptedRun(Exception):
    """The run was stopped by a signal; a checkpoint of its last step is kept."""


def train(config: TrainConfig, outputs: Path = Path("outputs")) -> Path | None:
    """Train, export, and return the path of the ONNX file.

    Writes `<outputs>/<style>/<time>/`: `NAME.onnx`, `NAME.json`, `NAME.safetensors`,
    `metrics.csv`, `samples/`, `checkpoints/`. A base network of many paintings has no ONNX file of
    its own: the path is that of its `NAME.safetensors`. Of the processes of a distributed run the
    first one writes and returns the path, the others return None.

    Raises:
        InterruptedRun: after Ctrl-C or SIGTERM.
        FileNotFoundError: weights, painting or clips are missing.
        ValueError: for impossible settings, or others on another machine.
        RuntimeError: if the loss is not finite, or the exported file disagrees with torch.
    """
    check(config)
    _keep_freed_memory()
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = build_module(config)
    resume_from = find_checkpoint(config, outputs, module.description)
    samples, shown = build_samples(config)
    folder = run_folder(config, outputs, resume_from)
    stopper = StopAtStepEnd()
    given = {
        **_settings(module.description),
        "data": [type(source).__name__ for source in (*samples.stills, *samples.movers)],
        "resume": resume_from and str(resume_from),
    }
    strips = SampleStrips(folder / "samples", shown, config.sample_every)
    trainer = build_trainer(config, folder, [strips, stopper, SameEverywhere(given)])
    fit(trainer, module, samples, resume_from)
    if stopper.interrupted and trainer.global_step < config.max_steps:
        last = folder / "checkpoints" / f"step_{trainer.global_step:06d}.ckpt"
        trainer.save_checkpoint(last, weights_only=False)  # the whole state, not the net alone
        raise InterruptedRun(
            f"stopped after step {trainer.global_step} of {config.max_steps}; "
            "the same command with resume=auto goes on"
        )
    if not trainer.is_global_zero:
        return None
    finish(module, folder)
    return folder / f"{config.style.name}{'.safetensors' if config.paintings else '.onnx'}"


def check(config: TrainConfig) -> None:
    """Refuse settings that could only fail later.

    Raises:
        ValueError: says which key, what was expected and what was found.
    """
    if config.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, not {config.max_steps}")
    if not 0 <= config.still_fraction <= 1:
        raise ValueError(f"still_fraction must be from 0 to 1, not {config.still_fraction}")
    if config.data.kind not in ("auto", "clips", "synthetic"):
        raise ValueError(f"data.kind is 'auto', 'clips' or 'synthetic', not {config.data.kind!r}")
    if config.paintings and config.net.name == "johnson":
        raise ValueError("paintings: only base, small and nano hold several styles, not johnson")
    if config.data.crop_px < 64 or config.data.crop_px % 4:
        raise ValueError(
            f"data.crop_px must be a multiple of 4 from 64 up, not {config.data.crop_px}"
        )
    if config.data.kind != "synthetic" and config.data.height_px < config.data.crop_px:
        raise ValueError(
            f"data.crop_px {config.data.crop_px} exceeds data.height_px {config.data.height_px}"
        )


def find_checkpoint(config: TrainConfig, outputs: Path, wanted: Description) -> Path | None:
    """The checkpoint to resume from.

    `resume=auto` takes the newest run of this style that has no exported network yet and has the
    same settings (`_MAY_CHANGE` apart), and starts afresh when there is none.

    Args:
        config: the run.
        outputs: where runs lie.
        wanted: what this run's checkpoints will say of themselves.

    Raises:
        FileNotFoundError: if `resume` names a file that does not exist.
    """
    if not config.resume:
        return None
    if config.resume != "auto":
        path = Path(config.resume)
        if not path.is_file():
            raise FileNotFoundError(f"resume={config.resume}: no such checkpoint")
        return path
    name = config.style.name
    for folder in sorted((outputs / name).glob("*/checkpoints"), reverse=True):
        files = sorted(folder.glob("step_*.ckpt"))
        # The card is written last.
        if not files or (folder.parent / f"{name}.json").exists():
            continue
        try:
            _, found = checkpoint.load(files[-1])
        except ValueError as error:
            log.warning("resume=auto: %s", error)
            continue
        other = _differences(_settings(found), _settings(wanted))
        if not other:
            log.info("resuming %s", files[-1])
            return files[-1]
        log.info(
            "resume=auto: %s has another %s; resume=%s goes on with it all the same",
            *(folder.parent, ", ".join(other), files[-1]),
        )
    log.info("resume=auto: no unfinished run of %s in %s, starting afresh", name, outputs)
    return None


def _settings(what: Description) -> dict[str, Any]:
    """What makes two runs the same."""
    kept = {key: value for key, value in what.training.items() if key not in _MAY_CHANGE}
    return {"net": what.net, "settings": what.settings, "style": what.style, **kept}


def _differences(
    first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """Names, `loss.style_weight`, of what is not equal."""
    found = []
    for key in sorted(first.keys() | second.keys()):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found.append(f"{prefix}{key}")
    return found


def run_folder(config: TrainConfig, outputs: Path, resume_from: Path | None) -> Path:
    """Where this run writes; the folder of the checkpoint for a resumed one.

    The processes of a distributed run may each come to another time. Only the first one writes, and
    makes the folder when it does.
    """
    if resume_from is not None:
        return resume_from.parent.parent
    return outputs / config.style.name / time.strftime("%Y-%m-%d_%H-%M-%S")


def build_trainer(
    config: TrainConfig, folder: Path, extra_callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Lightning's trainer with our callbacks; several devices by its own switches."""
    options = config.trainer
    return pl.Trainer(
        accelerator=options.accelerator,
        devices=int(options.devices) if options.devices.isdigit() else options.devices,
        num_nodes=options.num_nodes,
        strategy=_between_machines() if options.num_nodes > 1 else "auto",
        precision=_precision(options),  # type: ignore[arg-type]
        max_steps=config.max_steps,
        max_epochs=-1,
        gradient_clip_val=config.clip_norm,
        use_distributed_sampler=False,  # StepSampler shares the samples out
        callbacks=[
            ProgressLine(),
            MetricsCsv(folder / "metrics.csv", config.log_every),
            ModelCheckpoint(
                folder / "checkpoints",
                "step_{step:06d}",
                auto_insert_metric_name=False,
                every_n_train_steps=config.checkpoint_every,
                save_top_k=1,
                monitor=None,
                enable_version_counter=False,
            ),
            *extra_callbacks,
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def _between_machines() -> DDPStrategy:
    """Lightning's strategy, for gradients alone.

    The frozen judge is all buffers and the same everywhere: 14 MB of VGG-19, eight times the
    gradients of net base, would be sent to every machine before each step.
    """
    known, name = inspect.signature(DistributedDataParallel).parameters, "forward_sync_buffers"
    options: dict[str, Any] = {name if name in known else "broadcast_buffers": False}  # torch 2.12
    return DDPStrategy(**options)


def fit(
    trainer: pl.Trainer,
    module: StyleTransferModule,
    samples: TrainingSamples,
    resume_from: Path | None,
) -> None:
    """Run the trainer to its last step, from the beginning or from a checkpoint."""
    config = module.config
    with warnings.catch_warnings():
        # Few loader processes are meant: the samples are cheap, and two cores have no spare one.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        # The loader is made anew at the step resumed at, see _Batches.
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
        trainer.fit(module, _Batches(samples, config), ckpt_path=resume_from, weights_only=True)


def _keep_freed_memory() -> None:
    """Let glibc keep what torch frees for the next step, in place of fetching fresh, zeroed pages.

    A step on two CPU cores takes about nine tenths of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def _precision(options: TrainerConfig) -> str:
    """Lightning's name for the precision; see `TrainerConfig`."""
    if options.precision != "auto":
        return options.precision
    if options.accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed"
    cpu = torch.cpu.get_capabilities()
    return "bf16-mixed" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "32-true"


def finish(module: StyleTransferModule, folder: Path) -> None:
    """Write the averaged network as safetensors, as ONNX if it holds one style, and its card."""
    style, description = module.config.style, module.description
    description = replace(description, step=module.global_step)
    net = build_net(description.net, description.settings)
    net.load_state_dict(module.averaged.module.state_dict())
    checkpoint.save(folder / f"{style.name}.safetensors", net, description)
    if len(module.paintings) == 1:
        export_onnx(net, folder / f"{style.name}.onnx", onnx_metadata(description))
    card = {
        "name": style.name,
        "title": style.title or style.name,
        "artist": style.artist,
        "year": style.year,
        "licence": style.licence,
        "net": description.net,
        "step": description.step,
        "git_revision": description.git_revision,
        "versions": description.versions,
        "training": description.training,
        "scores": {},
    }
    text = json.dumps(card, indent=2) + "\n"
    write_atomically(folder / f"{style.name}.json", text.encode())


class SameEverywhere(pl.Callback):
    """Refuses a distributed run whose processes were not given the same.

    What `auto` chooses and what `resume=auto` finds depends on the files that a machine sees; a
    batch half of which is judged by another network would train without a word.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Take what must be the same, by name."""
        self.given = given

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Compare, on every process, so that none is left waiting for the others."""
        if trainer.world_size == 1:
            return
        found: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, self.given)
        other = sorted({name for given in found for name in _differences(found[0], given)})
        if other:
            raise ValueError(
                f"the processes of this run differ in {', '.join(other)}; give all machines the "
                "same command, data folder and outputs folder"
            )


class _Batches(pl.LightningDataModule):
    """Hands the loader out once the trainer knows the step that it starts from."""

    def __init__(self, samples: TrainingSamples, config: TrainConfig) -> None:
        super().__init__()
        self.samples, self.config = samples, config

    def train_dataloader(self) -> torch.utils.data.DataLoader[dict[str, Tensor]]:
        trainer = self.trainer
        assert trainer is not None
        sampler = StepSampler(
            trainer.global_step,
            self.config.max_steps,
            self.config.batch_size,
            trainer.global_rank,
            trainer.world_size,
        )
        return loader(self.samples, sampler, self.config.trainer.num_workers)
