"""From a configuration to the parts of a run: network, painting, losses and samples."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fastvid import checkpoint
from fastvid.config import StyleConfig, TrainConfig
from fastvid.image import read_image, resize_image, to_tensor
from fastvid.motion.scenes import demo_frames
from fastvid.nets import build_net
from fastvid.perceptual.vgg import load_vgg
from fastvid.training.data import (
    Clips,
    GeneratedScenes,
    Photos,
    Source,
    TrainingSamples,
    list_photos,
)
from fastvid.training.module import StyleTransferModule
from fastvid.training.pairs import ClipPairs, PairSettings, list_clips, load_pairs

log = logging.getLogger(__name__)

NUM_SAMPLE_FRAMES = 3


def build_module(config: TrainConfig) -> StyleTransferModule:
    """Network, painting and VGG put together."""
    loss = config.loss
    vgg = load_vgg([*loss.content_layers, *loss.style_layers], loss.arch, config.data.root)
    painting = to_tensor(read_painting(config.style, Path(config.data.root)))
    net = build_net(config.net.name, config.net.settings)
    if config.init:
        trained, origin = checkpoint.load(config.init)
        if (origin.net, trained.settings()) != (config.net.name, net.settings()):
            raise ValueError(f"init={config.init} is a {origin.net}, not this {config.net.name}")
        net.load_state_dict(trained.state_dict())
    description = checkpoint.Description(
        net=config.net.name,
        settings=net.settings(),
        style=asdict(config.style),
        training=settings_to_publish(config),
        git_revision=checkpoint.git_revision(),
        versions=checkpoint.package_versions(),
    )
    return StyleTransferModule(net, vgg, painting, config, description)


def settings_to_publish(config: TrainConfig) -> dict[str, Any]:
    """The configuration as it stands on cards and in files: without the paths of this machine."""
    settings = asdict(config)
    for key in ("style", "resume"):
        del settings[key]
    for key in ("root", "cache"):
        del settings["data"][key]
    settings["init"] = Path(config.init).name if config.init else None
    return settings


def read_painting(style: StyleConfig, data_root: Path) -> np.ndarray:
    """The painting at the height its strokes shall have, uint8 (H, W, 3) RGB.

    Raises:
        FileNotFoundError: if it is neither below `<data root>/styles` nor a path of its own.
    """
    path = Path(style.image)
    if not path.is_file():
        path = data_root / "styles" / style.image
    if not path.is_file():
        raise FileNotFoundError(
            f"no painting {style.image}, neither here nor in {data_root / 'styles'}; set "
            "style.image to a picture, or FASTVID_DATA to a folder that has styles/"
        )
    return resize_image(read_image(path), height_px=style.height_px)


def build_samples(config: TrainConfig) -> tuple[TrainingSamples, Tensor]:
    """Training samples, and the frames that the sample strips show, (N, 3, H, W)."""
    data = config.data
    stills: list[Source]
    movers: list[Source]
    if data.kind == "synthetic":
        scenes = GeneratedScenes()
        stills, movers = [scenes], [scenes]
        shown = np.stack(list(demo_frames(NUM_SAMPLE_FRAMES, (180, 320))))
    else:
        settings = PairSettings(
            data.height_px,
            tuple(data.gaps),
            data.anchor_every,
            method=config.flow.method,
            rule=config.flow.rule,
        )
        root, cache = Path(data.root), Path(data.cache)
        clips = load_pairs(list_clips(root / "video", data.holdout), settings, cache)
        clips = [clip for clip in clips if _fits(clip, data.crop_px)]
        if not clips:
            raise ValueError(f"every clip is smaller than data.crop_px {data.crop_px}; lower it")
        stills, movers = [Clips(clips)], [Clips(clips)]
        photos = list_photos(root / "photos")
        if photos:
            stills.append(Photos(photos))
        strip_clips = clips
        if data.holdout:
            unseen = [p for p in list_clips(root / "video") if p.stem in data.holdout]
            strip_clips = load_pairs(unseen[:NUM_SAMPLE_FRAMES], settings, cache)
        shown = _strip_frames(strip_clips)
    samples = TrainingSamples(
        stills,
        movers,
        num_stills=config.still_steps * config.batch_size,
        crop_px=data.crop_px,
        real_fraction=data.real_fraction,
        noise_std=data.noise_std,
        exposure=data.exposure,
        seed=config.seed,
    )
    return samples, to_tensor(shown)


def _fits(clip: ClipPairs, crop_px: int) -> bool:
    fits = min(clip.frames.shape[1:3]) >= crop_px
    if not fits:
        log.warning("skipping %s: smaller than data.crop_px %d", clip.name, crop_px)
    return fits


def _strip_frames(clips: list[ClipPairs]) -> np.ndarray:
    """A few frames of a few clips at one size, (N, H, W, 3)."""
    frames = [
        clip.frames[len(clip.frames) * (k + 1) // (NUM_SAMPLE_FRAMES + 1)]
        for k, clip in zip(range(NUM_SAMPLE_FRAMES), clips * NUM_SAMPLE_FRAMES, strict=False)
    ]
    landscape = [np.asarray(f) for f in frames if f.shape[1] >= f.shape[0]] or frames
    return np.stack([resize_image(np.asarray(f), size=(270, 480)) for f in landscape])
