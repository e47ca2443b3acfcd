"""The LightningModule: one network, one painting or many, single frames first, pairs after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fastvid.checkpoint import DESCRIPTION_KEY, Description
from fastvid.config import TrainConfig
from fastvid.motion.warp import warp
from fastvid.nets import TransformerNet
from fastvid.nets.blocks import InstanceNorm, normalizing
from fastvid.perceptual.losses import (
    color_loss,
    consistency_loss,
    content_loss,
    gram_matrices,
    lattice_loss,
    range_loss,
    style_loss,
    total_variation_loss,
)
from fastvid.perceptual.paintings import PaintingStatistics


class StyleTransferModule(pl.LightningModule):
    """Trains `net` to paint like one painting, steadily; or like many, one of them each step.

    Content and style are Johnson et al. 2016 with terms divided by their targets' own size; the
    temporal term is `consistency_loss` along the known motion of the pair. The two frames of a pair
    share the statistics of the norms, as the frames of a shot do when a film is painted. The
    exported network is `averaged`, the exponential moving average of the weights.

    The frozen judge has no parameters and no state: it moves with the module and stays out of the
    checkpoints.
    """

    def __init__(
        self,
        net: TransformerNet,
        judge: nn.Module,
        paintings: Sequence[PaintingStatistics],
        config: TrainConfig,
        description: Description,
    ) -> None:
        """Take the parts.

        Args:
            net: network to train, with a row of its norms for each painting.
            judge: pictures to features; gives the content and style layers of `config.loss`.
            paintings: in the judge's features.
            config: the run.
            description: kept in every checkpoint, so that it can be exported by itself.
        """
        super().__init__()
        self.net = net
        self.judge = judge
        self.config = config
        self.description = description
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(net, multi_avg_fn=average)
        # Distributed training waits for a gradient of every parameter that asks for one.
        self.averaged.requires_grad_(False)
        self.paintings = nn.ModuleList(
            _Target(painting, config.loss.style_layers) for painting in paintings
        )

    @property
    def row(self) -> int:
        """The painting of this step: all of them in turn, each time in another order."""
        round_number, place = divmod(self.global_step, len(self.paintings))
        order = np.random.default_rng((self.config.seed, round_number))
        return int(order.permutation(len(self.paintings))[place])

    @property
    def weights(self) -> dict[str, float]:
        """What each term counts for at this step."""
        loss, config = self.config.loss, self.config
        into_pairs = self.global_step - config.still_steps + 1
        ramp = min(1.0, into_pairs / max(1, config.temporal_ramp_steps))
        return {
            "content": loss.content_weight,
            "style": loss.style_weight,
            "color": loss.color_weight,
            "total_variation": loss.total_variation_weight,
            "range": loss.range_weight,
            "lattice": loss.lattice_weight,
            "temporal": loss.temporal_weight * max(0.0, ramp),
        }

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Weighted loss of a batch of stills or of pairs."""
        row = self.row
        target = self.paintings[row]
        assert isinstance(target, _Target)
        if "frame" in batch:
            with normalizing(self.net, row):
                terms = self._picture_terms(self.net(batch["frame"]), batch["frame"], target)
        else:
            with normalizing(self.net, row, frames_per_shot=2):
                terms = self._pair_terms(batch, target)
        weights = self.weights
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
            raise RuntimeError(
                f"the loss is not finite at step {self.global_step} ({values}); lower "
                "learning_rate, or resume from an earlier checkpoint"
            )
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()}, sync_dist=True)
        return loss

    def _pair_terms(self, batch: Mapping[str, Tensor], target: _Target) -> dict[str, Tensor]:
        """Both frames through the network at once; the judge looks at the current one."""
        shown = torch.stack([batch["prev_shown"], batch["cur_shown"]], dim=1).flatten(0, 1)
        prev_stylized, stylized = self.net(shown).float().unflatten(0, (-1, 2)).unbind(1)
        terms = self._picture_terms(stylized, batch["cur"], target)
        flow_bwd = batch["flow_bwd"]
        terms["temporal"] = consistency_loss(
            stylized,
            warp(prev_stylized, flow_bwd),
            batch["cur"],
            warp(batch["prev"], flow_bwd),
            batch["certainty"],
        )
        return terms

    def _picture_terms(self, stylized: Tensor, frame: Tensor, target: _Target) -> dict[str, Tensor]:
        loss = self.config.loss
        stylized = stylized.float()
        features = self.judge(stylized)
        with torch.no_grad():
            wanted = self.judge(frame)
        grams = gram_matrices({name: features[name] for name in loss.style_layers})
        content = {name: features[name] for name in loss.content_layers}
        return {
            "content": content_loss(content, wanted),
            "style": style_loss(grams, target.grams),
            "color": color_loss(stylized, target.palette_mean, target.palette_covariance),
            "total_variation": total_variation_loss(stylized),
            "range": range_loss(stylized),
            "lattice": lattice_loss(stylized),
        }

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the averaged weights along."""
        self.averaged.update_parameters(self.net)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `fastvid.checkpoint.load` needs."""
        checkpoint[DESCRIPTION_KEY] = vars(replace(self.description, step=self.global_step))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with a linear warm-up and a cosine decay to a hundredth."""
        config = self.config
        # A style's rows train only when its painting's turn comes.
        norms = [m for m in self.net.modules() if isinstance(m, InstanceNorm)]
        rows = [p for norm in norms for p in norm.parameters()] if len(self.paintings) > 1 else []
        own = {id(parameter) for parameter in rows}
        groups = [{"params": [p for p in self.net.parameters() if id(p) not in own]}]
        if rows:
            rate = config.learning_rate * config.row_rate
            groups.append({"params": rows, "lr": rate})  # type: ignore[dict-item]
        optimizer = torch.optim.Adam(groups, lr=config.learning_rate)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
            progress = min(1.0, step / config.max_steps)
            return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


class _Target(nn.Module):
    """The statistics of a painting as buffers, which move with the module and are never saved."""

    palette_mean: Tensor
    palette_covariance: Tensor

    def __init__(self, painting: PaintingStatistics, layers: Sequence[str]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        for name in layers:
            self.register_buffer(name, painting.grams[name], persistent=False)
        for name in ("palette_mean", "palette_covariance"):
            self.register_buffer(name, getattr(painting, name), persistent=False)

    @property
    def grams(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(name) for name in self.layers}
