"""From settings to the parts of a run: network, paintings, recipe, method, flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fastvid.perceptual.vgg import VGGFeatures, load_vgg, read_weights
from fastvid.reference.flows import EstimatedFlow, FlowFiles, FlowSource
from fastvid.reference.footage import Footage
from fastvid.reference.image import Recipe
from fastvid.reference.methods import BlendPrevious, BlendWarped, Independent, Method, Ruder
from fastvid.reference.mode import MODES
from fastvid.reference.multi_pass import Passes
from fastvid.reference.objective import Weights
from fastvid.reference.paintings import Painting, find_painting, load_painting
from fastvid.reference.schedule import StyleKey, StyleSchedule, constant
from fastvid.reference.settings import OptimizeConfig
from fastvid.reference.state import State
from fastvid.reference.studio import Studio


def build_studio(config: OptimizeConfig, footage: Footage, state: State) -> Studio:
    """Network, paintings and recipe, on the device."""
    device = pick_device(config.device)
    # channels last: 4 % less time per iteration on the CPU, 100x160, to relu4_1
    vgg = build_vgg(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    mode = MODES[config.mode]
    recipe = Recipe(
        mode,
        Weights(
            config.content_weight, config.style_weight, config.temporal_weight, config.tv_weight
        ),
        config.content_layers,
        criterion=config.temporal_criterion,
        normalize_gradients=config.normalize_gradients,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        history_size=config.lbfgs_history,
        relative_tolerance=config.tol_loss_relative,
        interval=config.tol_loss_relative_interval,
        retry_early_stop=config.retry_early_stop,
        bfloat16=config.precision == "bfloat16",
    )
    paintings, schedule = build_paintings(config, vgg, footage.clip.size)
    return Studio(
        vgg,
        recipe,
        footage,
        paintings,
        schedule,
        state,
        device,
        num_passes=config.num_passes if config.passes == "multi" else 1,
        print_iter=config.print_iter,
        save_iter=config.save_iter,
        save_init=config.save_init,
        keep_passes=config.keep_state,
    )


def build_vgg(config: OptimizeConfig) -> VGGFeatures:
    """VGG to the deepest layer that has a weight; max pooling rounds up, as Caffe does."""
    content = config.content_layers if config.content_weight else []
    style = config.style_layers if config.style_weight else []
    layers = list(dict.fromkeys([*content, *style]))
    if not layers:
        raise ValueError("no layer: give content_layers or style_layers")
    pooling: Any = config.pooling
    ceil_mode = pooling == "max"  # average pooling is rebuilt in floor mode by the program
    if config.weights is None:
        root = Path(config.data.root)
        return load_vgg(layers, config.arch, root, pooling=pooling, ceil_mode=ceil_mode)
    path = Path(config.weights)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of VGG weights")
    weights = read_weights(path, config.arch)
    return VGGFeatures(layers, weights, pooling=pooling, ceil_mode=ceil_mode)


def build_paintings(
    config: OptimizeConfig, vgg: VGGFeatures, content_size: tuple[int, int]
) -> tuple[list[Painting], StyleSchedule]:
    """The paintings with their Gram matrices, and their weights over time."""
    names = config.style_images or [config.style.image]
    weights = config.style_blend_weights or [1.0] * len(names)
    schedule = constant(weights)
    if config.style_schedule:
        keys = [StyleKey(key.time_s, tuple(key.weights)) for key in config.style_schedule]
        schedule = StyleSchedule(keys)
        if len(keys[0].weights) != len(names):
            raise ValueError(
                f"style_schedule has {len(keys[0].weights)} weights a key for {len(names)} "
                "paintings; name them in style_images=[...]"
            )
    if not config.style_weight:
        return [], schedule
    root, mode = Path(config.data.root), MODES[config.mode]
    paintings = [
        load_painting(
            find_painting(name, root),
            vgg,
            config.style_layers,
            mode,
            content_size,
            config.style_scale,
        )
        for name in names
    ]
    return paintings, schedule


def build_method(config: OptimizeConfig) -> Method:
    """The method by its name."""
    first = Independent(MODES[config.mode], config.inits[0], config.seed)
    if config.method == "independent":
        return first
    if config.method == "blend_previous":
        return BlendPrevious(first, config.blend_opacity)
    if config.method == "blend_warped":
        return BlendWarped(first, config.blend_opacity)
    return Ruder(
        first,
        config.inits[1],
        config.flow_relative_indices,
        config.use_flow_every,
        config.combine_flow_weights,
        has_temporal_loss=config.temporal_weight != 0,
    )


def build_passes(config: OptimizeConfig) -> Passes:
    """The settings of a multi-pass run."""
    return Passes(
        MODES[config.mode],
        config.num_passes,
        config.inits[0],
        config.blend_weight,
        config.blend_weight_last_pass,
        # without a weight the neighbour is needed for the blend alone
        config.use_temporal_loss_after if config.temporal_weight else config.num_passes + 1,
        config.seed,
    )


def build_flow(config: OptimizeConfig, studio: Studio) -> FlowSource:
    """Where motion comes from."""
    if config.flow.method == "files":
        return FlowFiles(config.flow, studio.footage.clip.numbers, studio.size)
    return EstimatedFlow(
        studio.footage, config.flow.method, config.flow.rule, Path(config.data.root), studio.device
    )


def pick_device(name: str) -> torch.device:
    """The device of the work; `auto` is the GPU when there is one.

    Raises:
        ValueError: CUDA is asked for and not to be had, or the name is unknown.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={name}: torch finds no CUDA here; use device=auto or cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name} is not one of auto, cpu, cuda, cuda:N") from None
