"""Make the small perceptual network: `python -m fastvid.training.distill -o FOLDER [options]`.

It learns VGG-19's features (as coordinates, see `fastvid.perceptual.mini`) and, what matters more
for training with it, the gradients of VGG's losses: two networks may agree on every photograph and
still pull a picture in different directions. Seen are photographs, paintings, mixtures of the two
and noisy ones, as the outputs of a network in training are.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn

from fastvid.config import StyleConfig
from fastvid.files import check_target, write_atomically
from fastvid.image import read_image, resize_image, to_tensor
from fastvid.perceptual.losses import content_loss, gram_matrices, style_loss
from fastvid.perceptual.mini import COORDINATES, LAYERS, MiniFeatures, MiniVGG
from fastvid.perceptual.mini import SHIPPED as MINI_FILE
from fastvid.perceptual.paintings import SHIPPED as PAINTINGS_FILE
from fastvid.perceptual.paintings import measure, write_statistics
from fastvid.perceptual.vgg import VGGFeatures, load_vgg
from fastvid.training.data import list_photos

log = logging.getLogger(__name__)

STYLE_WEIGHT = 16.0  # of the style loss against the content loss, as in training
STYLE_HEIGHT_PX = StyleConfig.height_px


class Pictures:
    """Random crops of a folder's photographs and paintings; batch number i is always the same."""

    def __init__(self, photos: Sequence[Path], paintings: Sequence[Path], crop_px: int) -> None:
        self.photos = [_small(path, crop_px) for path in photos]
        self.paintings = [_small(path, crop_px) for path in paintings] or self.photos
        self.crop_px = crop_px

    def batch(self, number: int, size: int) -> Tensor:
        """Pictures as they come up in training, (size, 3, S, S) in [0, 1]."""
        rng = np.random.default_rng((1, number))
        contents = torch.cat([self._crop(self.photos, rng) for _ in range(size)])
        paintings = torch.cat([self._crop(self.paintings, rng) for _ in range(size)])
        share = torch.from_numpy(rng.choice((0.0, 0.4, 0.8, 1.0), (size, 1, 1, 1))).float()
        shift = torch.from_numpy(rng.uniform(-0.2, 0.2, (size, 3, 1, 1))).float()
        noise = torch.from_numpy(rng.standard_normal(contents.shape, np.float32))
        std = torch.from_numpy(rng.choice((0.0, 0.0, 0.03, 0.15), (size, 1, 1, 1))).float()
        mixed = contents + share * (paintings - contents)
        return (mixed + shift * share + std * noise).clamp(0, 1)

    def _crop(self, images: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
        image = images[int(rng.integers(len(images)))]
        h, w = image.shape[:2]
        top, left = rng.integers(h - self.crop_px + 1), rng.integers(w - self.crop_px + 1)
        crop = image[top : top + self.crop_px, left : left + self.crop_px]
        return to_tensor(np.ascontiguousarray(crop))


def _small(path: Path, crop_px: int) -> np.ndarray:
    """The picture with a short side of at most 360, and at least the crop."""
    image = read_image(path)
    short = min(image.shape[:2])
    wanted = max(crop_px, min(360, short))
    height = round(image.shape[0] * wanted / short)
    return resize_image(image, height_px=max(wanted, height)) if wanted != short else image


def bases(vgg: VGGFeatures, pictures: Pictures, num_batches: int = 8) -> dict[str, Tensor]:
    """Strongest eigenvectors of the features' second moments, layer name -> (k, C).

    Orthogonal, all of one length, at which the mean square of a coordinate is 1: the losses are
    relative to their targets' size, so the scale is free, and a network learns ones more easily
    than VGG's thousands.
    """
    moments: dict[str, Tensor] = {}
    with torch.inference_mode():
        for number in range(num_batches):
            for name, gram in gram_matrices(vgg(pictures.batch(number, 4))).items():
                moments[name] = moments.get(name, 0) + gram.mean(0) * gram.shape[-1] / num_batches
    result = {}
    for name, moment in moments.items():
        values, vectors = torch.linalg.eigh(moment)
        k = COORDINATES[name]
        result[name] = vectors.flip(1)[:, :k].T / values.flip(0)[:k].mean().sqrt()
    return result


def project(features: Mapping[str, Tensor], basis: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Coordinates of VGG's features: (B, C, H, W) -> (B, k, H, W)."""
    return {
        name: torch.einsum("kc,bchw->bkhw", basis[name], value) for name, value in features.items()
    }


def training_loss(features: Mapping[str, Tensor]) -> Tensor:
    """Content and style loss as in training, each picture's targets being its neighbours."""
    grams = gram_matrices(features)
    style = {name: gram.detach().roll(1, 0) for name, gram in grams.items()}
    content = {"relu4_1": features["relu4_1"]}
    other = {"relu4_1": features["relu4_1"].detach().roll(2, 0)}
    return STYLE_WEIGHT * style_loss(grams, style) + content_loss(content, other)


def distances(
    student: nn.Module, vgg: VGGFeatures, basis: Mapping[str, Tensor], images: Tensor
) -> tuple[Tensor, Tensor]:
    """How far the small network is from VGG on a batch, both 0 for equal ones.

    Returns:
        Relative squared error of the features, mean over layers; relative squared error of the
        gradient of `training_loss` with regard to the pictures, mean over pictures.
    """
    images = images.detach().requires_grad_()
    features = vgg(images)
    (wanted,) = torch.autograd.grad(training_loss(features), images)
    targets = project({name: value.detach() for name, value in features.items()}, basis)
    found = student(images)
    (gradient,) = torch.autograd.grad(training_loss(found), images, create_graph=True)
    feature_error = torch.stack(
        [
            (found[name] - targets[name]).square().sum() / targets[name].square().sum()
            for name in LAYERS
        ]
    ).mean()
    error = (gradient - wanted).square().sum(dim=(1, 2, 3)) / wanted.square().sum(dim=(1, 2, 3))
    return feature_error, error.clamp(max=10).mean()


def distill(
    vgg: VGGFeatures,
    pictures: Pictures,
    steps: int,
    batch_size: int = 4,
    learning_rate: float = 2e-3,
    gradient_weight: float = 0.3,
) -> MiniVGG:
    """Train the small network; Adam with a cosine decay.

    Args:
        vgg: with the layers `LAYERS`.
        pictures: what to look at.
        steps: optimiser steps.
        batch_size: pictures a step, at least 2.
        learning_rate: at the start.
        gradient_weight: of the gradients' error against the features'.
    """
    torch.manual_seed(0)
    student = MiniVGG()
    for module in student.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    basis = bases(vgg, pictures)
    optimizer = torch.optim.Adam(student.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start = time.monotonic()
    for step in range(steps):
        feature_error, gradient_error = distances(
            student, vgg, basis, pictures.batch(1000 + step, batch_size)
        )
        # The first steps on features alone: gradients of a random network say nothing.
        weight = gradient_weight * min(1.0, step / max(1, steps // 5))
        optimizer.zero_grad()
        (feature_error + weight * gradient_error).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            log.info(
                "step %d of %d, %.0f s: features %.3f, gradients %.3f",
                step + 1, steps, time.monotonic() - start, float(feature_error.detach()),
                float(gradient_error.detach()),
            )  # fmt: skip
    return student


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `mini.safetensors`, and the paintings' statistics in its features, into a folder."""
    parser = argparse.ArgumentParser(prog="fastvid.training.distill", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--crop", type=int, default=112, help="side of the pictures, px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FASTVID_DATA", "data")))
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    target = args.output / MINI_FILE.name
    args.output.mkdir(parents=True, exist_ok=True)
    check_target(target, args.overwrite)
    photos, paintings = list_photos(args.data / "photos"), list_photos(args.data / "styles")
    if not photos:
        parser.error(f"no photos in {args.data / 'photos'}; set --data or FASTVID_DATA")
    student = distill(
        load_vgg(LAYERS, "vgg19", args.data),
        Pictures(photos, paintings, args.crop),
        args.steps,
        args.batch,
    )
    tensors = {name: value.detach().half() for name, value in student.state_dict().items()}
    write_atomically(target, serialize(tensors))
    features = MiniFeatures(LAYERS, target)
    write_statistics(
        args.output / PAINTINGS_FILE.name,
        {
            path.stem: measure(
                features, to_tensor(resize_image(read_image(path), height_px=STYLE_HEIGHT_PX))
            )
            for path in paintings
        },
    )
    sys.stdout.write(f"{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
