"""What VGG sees of a painting: how near it is to the style image, and to the source."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastvid.image import resize_image, to_tensor
from fastvid.perceptual.losses import gram_matrices
from fastvid.perceptual.vgg import (
    VGGFeatures,
    candidate_files,
    layer_index,
    load_vgg,
    read_weights,
)

log = logging.getLogger(__name__)

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
# Layers of `content_distance` and what is added to its name; the second where the weights reach it.
CONTENT_LAYERS = {"relu3_1": "", "relu4_2": "_relu4_2"}

Scores = dict[str, float]


def style_distance(grams: Mapping[str, Tensor], style_grams: Mapping[str, Tensor]) -> float:
    """Relative distance of the Gram matrices: 0 for the texture of the style image itself.

    Args:
        grams: of one frame by layer, (1, C, C) each; reads `STYLE_LAYERS`.
        style_grams: the same of the style image.
    """
    distances = []
    for layer in STYLE_LAYERS:
        difference = torch.linalg.norm(grams[layer] - style_grams[layer])
        distances.append(float(difference / torch.linalg.norm(style_grams[layer])))
    return sum(distances) / len(distances)


def content_distance(features: Tensor, source_features: Tensor) -> float:
    """Relative distance of one layer's features, both (1, C, H, W): 0 for the source itself."""
    difference = torch.linalg.vector_norm(features - source_features)
    return float(difference / torch.linalg.vector_norm(source_features))


@torch.no_grad()
def perceptual_scores(
    vgg: VGGFeatures,
    sources: Sequence[np.ndarray],
    painted: Mapping[str, Sequence[np.ndarray]],
    styles: Mapping[str, np.ndarray],
) -> dict[str, Scores]:
    """Means over the frames, for several paintings of them; the source is looked at once.

    Args:
        vgg: VGG-19 with `STYLE_LAYERS`.
        sources: uint8 (H, W, 3) each.
        painted: by name, as many frames of the same size each.
        styles: style images of the names that have one, uint8 (H, W, 3); shown at the height
            of the frames. One array for several names is looked at once.

    Returns:
        By name: `vgg_frames`, `content_distance`, `content_distance_relu4_2` where the weights
        reach that far, and with a style image `style_distance` and `style_distance_source`.
    """
    height = sources[0].shape[0]
    wanted = {
        id(image): _grams(_features(vgg, resize_image(image, height_px=height)))
        for image in {id(image): image for image in styles.values()}.values()
    }
    sums: dict[str, Scores] = {name: {} for name in painted}
    for index, source in enumerate(sources):
        source_features = _features(vgg, source)
        source_grams = _grams(source_features) if wanted else {}
        of_source = {key: style_distance(source_grams, grams) for key, grams in wanted.items()}
        kept = {layer: source_features.get(layer) for layer in CONTENT_LAYERS}
        del source_features  # the first layers of a large frame are gigabytes
        for name, frames in painted.items():
            features = _features(vgg, frames[index])
            terms = {
                f"content_distance{suffix}": content_distance(features[layer], target)
                for layer, suffix in CONTENT_LAYERS.items()
                if (target := kept[layer]) is not None
            }
            if name in styles:
                key = id(styles[name])
                terms["style_distance"] = style_distance(_grams(features), wanted[key])
                terms["style_distance_source"] = of_source[key]
            for term, value in terms.items():
                sums[name][term] = sums[name].get(term, 0.0) + value
    count = len(sources)
    return {
        name: {"vgg_frames": count} | {term: value / count for term, value in terms.items()}
        for name, terms in sums.items()
    }


def _features(vgg: VGGFeatures, image: np.ndarray) -> dict[str, Tensor]:
    device = vgg.get_buffer("input_scale").device
    features: dict[str, Tensor] = vgg(to_tensor(image).to(device))
    return features


def _grams(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return gram_matrices({layer: features[layer] for layer in STYLE_LAYERS})


@dataclass(frozen=True)
class Judge:
    """VGG-19 that compares paintings with sources and style images.

    Attributes:
        vgg: with `STYLE_LAYERS`.
        weights: name of the file they are from, for the report.
    """

    vgg: VGGFeatures
    weights: str


def load_judge(required: bool) -> Judge | None:
    """The first VGG-19 found whose weights reach `STYLE_LAYERS`; relu4_2 too where they have it.

    Args:
        required: download where nothing is found, or fail; otherwise return None.

    Raises:
        FileNotFoundError: if required and neither found nor downloaded.
    """
    index = layer_index("vgg19")
    for path in candidate_files("vgg19", Path(os.environ.get("FASTVID_DATA", "data"))):
        weights = read_weights(path, "vgg19")
        reached = {n for n in index if f"features.{index[n]}.weight" in weights.tensors}
        if reached.issuperset(STYLE_LAYERS):
            extra = [name for name in CONTENT_LAYERS if name in reached]
            return Judge(VGGFeatures([*STYLE_LAYERS, *extra], weights), path.name)
    if not required:
        log.warning("no VGG-19 weights found: content_distance is left out")
        return None
    return Judge(load_vgg([*STYLE_LAYERS, *CONTENT_LAYERS]), "vgg19 of torchvision")
