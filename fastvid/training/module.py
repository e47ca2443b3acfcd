"""The LightningModule: one network, one painting, single frames first, frame pairs after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fastvid.checkpoint import DESCRIPTION_KEY, Description
from fastvid.config import TrainConfig
from fastvid.motion.warp import warp
from fastvid.nets import TransformerNet
from fastvid.perceptual.losses import (
    color_loss,
    color_statistics,
    consistency_loss,
    content_loss,
    gram_matrices,
    range_loss,
    style_loss,
    total_variation_loss,
)
from fastvid.perceptual.vgg import VGGFeatures


class StyleTransferModule(pl.LightningModule):
    """Trains `net` to paint like one painting, steadily.

    Content and style are Johnson et al. 2016 with terms divided by their targets' own size; the
    temporal term is `consistency_loss` along the known motion of the pair. The exported network is
    `averaged`, the exponential moving average of the weights.

    The frozen VGG has no parameters and no state (see `VGGFeatures`): it moves with the module and
    stays out of the checkpoints.
    """

    def __init__(
        self,
        net: TransformerNet,
        vgg: VGGFeatures,
        painting: Tensor,
        config: TrainConfig,
        description: Description,
    ) -> None:
        """Take the parts.

        Args:
            net: network to train.
            vgg: must give the content and the style layers of `config.loss`.
            painting: (1, 3, H, W) RGB in [0, 1], at the size its strokes shall have.
            config: the run.
            description: kept in every checkpoint, so that it can be exported by itself.
        """
        super().__init__()
        self.net = net
        self.vgg = vgg
        self.config = config
        self.description = description
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(net, multi_avg_fn=average)
        self.style_grams = nn.Module()
        with torch.no_grad():
            features = vgg(painting)
            for name in config.loss.style_layers:
                gram = gram_matrices({name: features[name]})[name]
                self.style_grams.register_buffer(name, gram, persistent=False)
        mean, covariance = color_statistics(painting)
        self.register_buffer("palette_mean", mean, persistent=False)
        self.register_buffer("palette_covariance", covariance, persistent=False)

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
            "temporal": loss.temporal_weight * max(0.0, ramp),
        }

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Weighted loss of a batch of stills or of pairs."""
        if "frame" in batch:
            terms = self._picture_terms(self.net(batch["frame"]), batch["frame"])
        else:
            terms = self._pair_terms(batch)
        weights = self.weights
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
            raise RuntimeError(
                f"the loss is not finite at step {self.global_step} ({values}); lower "
                "learning_rate, or resume from an earlier checkpoint"
            )
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict({**logged, "train/loss": loss.detach()})
        return loss

    def _pair_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both frames through the network at once; VGG looks at the current one."""
        shown = torch.cat([batch["prev_shown"], batch["cur_shown"]])
        prev_stylized, stylized = self.net(shown).float().chunk(2)
        terms = self._picture_terms(stylized, batch["cur"])
        flow_bwd = batch["flow_bwd"]
        terms["temporal"] = consistency_loss(
            stylized,
            warp(prev_stylized, flow_bwd),
            batch["cur"],
            warp(batch["prev"], flow_bwd),
            batch["certainty"],
        )
        return terms

    def _picture_terms(self, stylized: Tensor, frame: Tensor) -> dict[str, Tensor]:
        loss = self.config.loss
        stylized = stylized.float()
        features = self.vgg(stylized)
        with torch.no_grad():
            target = self.vgg(frame)
        grams = gram_matrices({name: features[name] for name in loss.style_layers})
        content = {name: features[name] for name in loss.content_layers}
        return {
            "content": content_loss(content, target),
            "style": style_loss(grams, dict(self.style_grams.named_buffers())),
            "color": color_loss(
                stylized, self.get_buffer("palette_mean"), self.get_buffer("palette_covariance")
            ),
            "total_variation": total_variation_loss(stylized),
            "range": range_loss(stylized),
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
        optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
            progress = min(1.0, step / config.max_steps)
            return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
