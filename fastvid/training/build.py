"""From a configuration to the parts of a run: network, painting, losses and samples."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastvid import checkpoint
from fastvid.config import StyleConfig, TrainConfig
from fastvid.image import read_image, resize_image, to_tensor
from fastvid.motion.scenes import demo_frames
from fastvid.nets import FastNet, TransformerNet, build_net
from fastvid.nets.blocks import normalizing
from fastvid.perceptual.extractor import MINI, choose, load_extractor
from fastvid.perceptual.losses import gram_matrices, style_loss
from fastvid.perceptual.paintings import PaintingStatistics, measure, read_statistics
from fastvid.training.data import (
    Clips,
    GeneratedScenes,
    Photos,
    Source,
    TrainingSamples,
    list_photos,
)
from fastvid.training.module import StyleTransferModule
from fastvid.training.pairs import ClipPairs, PairSettings, has_clips, list_clips, load_pairs

log = logging.getLogger(__name__)

NUM_SAMPLE_FRAMES = 3
SHIPPED_BASE = "shipped"
STYLES_FOLDER = Path(checkpoint.__file__).with_name("styles")


def build_module(config: TrainConfig) -> StyleTransferModule:
    """Network, paintings and judge put together.

    Sets `config.loss.arch` to what `auto` chooses, so that checkpoints and cards say it.
    """
    loss, root = config.loss, Path(config.data.root)
    layers = [*loss.content_layers, *loss.style_layers]
    loss.arch = choose(loss.arch, layers, root)
    judge = load_extractor(loss.arch, layers, root)
    styles = [
        replace(config.style, name=Path(image).stem, image=image) for image in config.paintings
    ] or [config.style]
    paintings = [painting_statistics(style, loss.arch, judge, root) for style in styles]
    settings = dict(config.net.settings)
    if config.paintings:
        settings["num_styles"] = len(paintings)
    net = build_net(config.net.name, settings)
    if config.init_weights:
        start = _starting_net(config, net, judge, paintings[0])
        net.load_state_dict(start.state_dict())
    description = checkpoint.Description(
        net=config.net.name,
        settings=net.settings(),
        style=asdict(config.style),
        training=settings_to_publish(config),
        git_revision=checkpoint.git_revision(),
        versions=checkpoint.package_versions(),
    )
    return StyleTransferModule(net, judge, paintings, config, description)


def painting_statistics(
    style: StyleConfig, arch: str, judge: nn.Module, root: Path
) -> PaintingStatistics:
    """Of the picture; where it is missing and the small network judges, of the package.

    Raises:
        FileNotFoundError: neither is there.
    """
    try:
        picture = read_painting(style, root)
    except FileNotFoundError:
        shipped = read_statistics(style.name) if arch == MINI else None
        if shipped is None:
            raise
        log.info("no picture of %s here: using the statistics that are shipped", style.name)
        return shipped
    return measure(judge, to_tensor(picture))


def _starting_net(
    config: TrainConfig, net: TransformerNet, judge: nn.Module, painting: PaintingStatistics
) -> TransformerNet:
    """The network of `config.init_weights`, with as many styles as `net` has."""
    path = Path(config.init_weights or "")
    if config.init_weights == SHIPPED_BASE:
        path = STYLES_FOLDER / f"{config.net.name}.safetensors"
        if not path.is_file():
            raise FileNotFoundError(
                f"no base network for net={config.net.name} is shipped; use init=scratch"
            )
    trained, origin = checkpoint.load(path)
    theirs, ours = trained.settings(), net.settings()
    held, wanted = theirs.pop("num_styles", 1), ours.pop("num_styles", 1)
    if (origin.net, theirs) != (config.net.name, ours):
        raise ValueError(
            f"init_weights={path.name} is a {origin.net} of other settings, expected the "
            f"{config.net.name} of this run"
        )
    if held == wanted:
        return trained
    assert isinstance(trained, FastNet)
    if held == 1:
        return trained.styles([0] * wanted)
    if wanted > 1:
        raise ValueError(f"init_weights={path.name} holds {held} styles, expected 1 or {wanted}")
    return trained.styles([_nearest_row(trained, held, judge, painting)])


@torch.inference_mode()
def _nearest_row(
    net: FastNet, num_styles: int, judge: nn.Module, painting: PaintingStatistics
) -> int:
    """The style of a base network whose pictures come nearest to a painting."""
    (frame,) = demo_frames(1, (180, 320))
    distances = []
    for row in range(num_styles):
        with normalizing(net, row):
            grams = gram_matrices(judge(net(to_tensor(frame))))
        wanted = {name: gram for name, gram in painting.grams.items() if name in grams}
        distances.append(float(style_loss({name: grams[name] for name in wanted}, wanted)))
    nearest = int(np.argmin(distances))
    log.info("starting from row %d of the base network, the nearest of %d", nearest, num_styles)
    return nearest


def settings_to_publish(config: TrainConfig) -> dict[str, Any]:
    """The configuration as it stands on cards and in files: without the paths of this machine."""
    settings = asdict(config)
    for key in ("style", "resume"):
        del settings[key]
    for key in ("root", "cache"):
        del settings["data"][key]
    start = config.init_weights
    settings["init_weights"] = Path(start).name if start else None
    settings["paintings"] = [Path(image).stem for image in config.paintings]
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
    kind = data.kind
    if kind == "auto":
        kind = "clips" if has_clips(Path(data.root) / "video") else "synthetic"
        log.info("data: %s", kind)
    if kind == "synthetic":
        height = round(data.crop_px * 9 / 7)  # room to cut the crops from, and no more to render
        scenes = GeneratedScenes((height, round(height * 8 / 9) * 2))
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
