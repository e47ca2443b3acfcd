"""Training samples. Sample number i of a seed is always the same, whoever asks, in any order.

That alone makes a resumed run see exactly what the uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fastvid.image import read_image, resize_image, to_tensor
from fastvid.motion.scenes import Scene, random_scene
from fastvid.motion.synthetic import random_motion
from fastvid.training.pairs import ClipPairs

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
Rng = np.random.Generator

Sample = dict[str, Tensor]


class Source(Protocol):
    """Somewhere pictures come from."""

    def still(self, rng: Rng) -> np.ndarray:
        """One picture, uint8 (H, W, 3) RGB, any size."""

    def pair(self, rng: Rng) -> Sample | None:
        """`prev`, `cur`, `flow_bwd`, `certainty` as (C, H, W) tensors, or None if it has none."""


class Photos:
    """A folder of photographs."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def still(self, rng: Rng) -> np.ndarray:
        """One of the photos."""
        return _read_cached(self.paths[rng.integers(len(self.paths))])

    def pair(self, rng: Rng) -> Sample | None:
        """None: photos do not move by themselves."""
        return None


class Clips:
    """Real clips with cached flow."""

    def __init__(self, clips: Sequence[ClipPairs]) -> None:
        self.clips = list(clips)

    def still(self, rng: Rng) -> np.ndarray:
        """One frame."""
        clip = self.clips[rng.integers(len(self.clips))]
        return np.asarray(clip.frames[rng.integers(len(clip.frames))])

    def pair(self, rng: Rng) -> Sample | None:
        """One pair; every clip is equally likely, whatever its length."""
        clip = self.clips[rng.integers(len(self.clips))]
        k = rng.integers(len(clip))
        prev, cur, _ = clip.pairs[k]
        return {
            "prev": to_tensor(np.asarray(clip.frames[prev]))[0],
            "cur": to_tensor(np.asarray(clip.frames[cur]))[0],
            "flow_bwd": torch.from_numpy(clip.flow[k].astype(np.float32)),
            "certainty": torch.from_numpy(clip.certainty[k].astype(np.float32) / 255)[None],
        }


class GeneratedScenes:
    """Procedural scenes with exact flow: no files needed."""

    def __init__(self, size: tuple[int, int] = (288, 512)) -> None:
        self.size = size

    def still(self, rng: Rng) -> np.ndarray:
        """One frame of a random scene."""
        return self._scene(rng).frame(int(rng.integers(48)))

    def pair(self, rng: Rng) -> Sample | None:
        """Two frames of a random scene, 1 to 8 frames apart."""
        scene, gap = self._scene(rng), int(rng.choice((1, 2, 4, 8)))
        t = int(rng.integers(gap, gap + 48))
        visible = torch.from_numpy(scene.visible(t, gap).astype(np.float32))[None]
        return {
            "prev": to_tensor(scene.frame(t - gap))[0],
            "cur": to_tensor(scene.frame(t))[0],
            "flow_bwd": torch.from_numpy(scene.flow_bwd(t, gap)).permute(2, 0, 1),
            "certainty": visible,
        }

    def _scene(self, rng: Rng) -> Scene:
        return random_scene(rng, self.size)


class TrainingSamples(Dataset[Sample]):
    """Sample i as a function of (seed, i): single frames first, frame pairs from `num_stills` on.

    A still is `{"frame": (3, S, S)}`. A pair has `prev`, `cur` (3, S, S), `flow_bwd` (2, S, S),
    `certainty` (1, S, S), and `prev_shown`, `cur_shown`: the same frames with sensor noise, which
    is what the network gets to see.
    """

    def __init__(
        self,
        stills: Sequence[Source],
        movers: Sequence[Source],
        *,
        num_stills: int,
        crop_px: int,
        real_fraction: float,
        noise_std: float,
        exposure: float,
        seed: int,
    ) -> None:
        """See `fastvid.config.DataConfig` for the numbers.

        Args:
            stills: where single frames come from, equally likely.
            movers: where pairs come from; the rest, `1 - real_fraction`, are stills that are
                moved synthetically.
            num_stills: index of the first pair.
            crop_px: side of the samples, S.
            real_fraction: share of the pairs from `movers`.
            noise_std: see `DataConfig`.
            exposure: see `DataConfig`.
            seed: the other half of every sample's identity.
        """
        self.stills, self.movers = list(stills), list(movers)
        self.num_stills, self.crop_px = num_stills, crop_px
        self.real_fraction = real_fraction if self.movers else 0.0
        self.noise_std, self.exposure, self.seed = noise_std, exposure, seed

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`; any index is valid."""
        rng = np.random.default_rng((self.seed, index))
        if index < self.num_stills:
            return {"frame": to_tensor(self._still_crop(rng, self.crop_px))[0]}
        return self._pair(rng)

    def _still_crop(self, rng: Rng, size_px: int) -> np.ndarray:
        """Square crop of a still; its window is up to 1.5 times as wide, then scaled down."""
        image = self.stills[rng.integers(len(self.stills))].still(rng)
        h, w = image.shape[:2]
        if min(h, w) < size_px:
            image = resize_image(image, size=_cover((h, w), size_px))
            h, w = image.shape[:2]
        window = int(rng.integers(size_px, min(h, w, round(1.5 * size_px)) + 1))
        top, left = rng.integers(h - window + 1), rng.integers(w - window + 1)
        crop = image[top : top + window, left : left + window]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if window != size_px:
            crop = resize_image(np.ascontiguousarray(crop), size=(size_px, size_px))
        return np.ascontiguousarray(crop)

    def _pair(self, rng: Rng) -> Sample:
        sample = None
        if rng.random() < self.real_fraction:
            sample = self.movers[rng.integers(len(self.movers))].pair(rng)
        if sample is None:
            # A margin lets the motion bring in what lies outside the crop.
            margin_px = self.crop_px + self.crop_px // 4
            still, other = (to_tensor(self._still_crop(rng, margin_px)) for _ in range(2))
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            size = (self.crop_px, self.crop_px)
            moved = random_motion(still, generator, size, other)
            sample = {
                "prev": moved.prev[0],
                "cur": moved.cur[0],
                "flow_bwd": moved.flow_bwd[0],
                "certainty": moved.certainty[0],
            }
        sample = _crop_pair(sample, self.crop_px, rng)
        gain = 1 + rng.uniform(-self.exposure, self.exposure)
        sample["cur"] = (sample["cur"] * gain).clamp(0, 1)
        std = rng.uniform(0, self.noise_std)
        for name in ("prev", "cur"):
            noise = _camera_noise(rng, self.crop_px)
            sample[f"{name}_shown"] = (sample[name] + std * noise).clamp(0, 1)
        return sample


class StepSampler(Sampler[list[int]]):
    """Sample numbers of every step from `first_step` on, this process's share of them."""

    def __init__(
        self, first_step: int, last_step: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        """Plan the steps.

        Args:
            first_step: 0, or the step to resume at.
            last_step: one past the last.
            batch_size: over all processes together.
            rank: of this process.
            world_size: number of processes.

        Raises:
            ValueError: if the batch does not divide among the processes.
        """
        if batch_size % world_size:
            raise ValueError(
                f"batch_size {batch_size} does not divide among {world_size} processes; "
                f"use a multiple of {world_size}"
            )
        self.first_step, self.last_step = first_step, last_step
        self.batch_size, self.rank, self.share = batch_size, rank, batch_size // world_size

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.last_step):
            start = step * self.batch_size + self.rank * self.share
            yield list(range(start, start + self.share))

    def __len__(self) -> int:
        # All steps, not those left: Lightning counts on from the batch it resumes at, and would
        # begin a second epoch, with the first samples again, when it reached a smaller number.
        return self.last_step


def loader(samples: TrainingSamples, sampler: StepSampler, num_workers: int) -> DataLoader[Sample]:
    """Batches of one step each."""
    return DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context="spawn" if num_workers else None,
    )


def list_photos(folder: Path) -> list[Path]:
    """Images of a folder by name; an absent folder is an empty one."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def _crop_pair(sample: Sample, size_px: int, rng: Rng) -> Sample:
    """The same random window of everything, mirrored half of the time."""
    h, w = sample["cur"].shape[-2:]
    short = min(h, w)
    if short < size_px:
        raise ValueError(
            f"pairs are {h}x{w}, smaller than the crop of {size_px}; "
            "lower data.crop_px or use larger clips"
        )
    top, left = int(rng.integers(h - size_px + 1)), int(rng.integers(w - size_px + 1))
    result = {k: v[:, top : top + size_px, left : left + size_px] for k, v in sample.items()}
    if rng.random() < 0.5:
        result = {k: v.flip(-1) for k, v in result.items()}
        result["flow_bwd"] = result["flow_bwd"] * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    return {k: v.contiguous() for k, v in result.items()}


def _camera_noise(rng: Rng, size_px: int) -> Tensor:
    """Noise of sensor and codec, (3, S, S), standard deviation 1.

    A sensor's noise is white; what a codec makes of it is coarser. So cells of 1, 2 and 4 pixels
    are mixed, in proportions drawn anew each time.
    """
    share = np.sqrt(rng.dirichlet((1.0, 1.0, 1.0)))
    total = torch.zeros(3, size_px, size_px)
    for cell_px, weight in zip((1, 2, 4), share, strict=True):
        cells = -(-size_px // cell_px)
        noise = torch.from_numpy(rng.standard_normal((3, cells, cells), np.float32))
        noise = noise.repeat_interleave(cell_px, 1).repeat_interleave(cell_px, 2)
        total += float(weight) * noise[:, :size_px, :size_px]
    return total


def _cover(size: tuple[int, int], short_side_px: int) -> tuple[int, int]:
    """`size` scaled so that the short side is at least `short_side_px`."""
    factor = short_side_px / min(size)
    return max(short_side_px, round(size[0] * factor)), max(short_side_px, round(size[1] * factor))


@lru_cache(maxsize=256)
def _read_cached(path: Path) -> np.ndarray:
    return read_image(path)
