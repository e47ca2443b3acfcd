"""VGG-16 and VGG-19 as feature extractors, addressed by layer name.

Two conventions exist for the same architecture and are handled here, never mixed:

* caffe: the original ImageNet weights of Simonyan and Zisserman; input BGR in 0..255 minus the
  channel means (103.939, 116.779, 123.68), no further scaling;
* torchvision: a later training; input RGB in 0..1 minus a mean, divided by a standard deviation.

Callers always pass RGB in [0, 1]; the module converts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from fastvid.perceptual import winograd

log = logging.getLogger(__name__)

Convention = Literal["caffe", "torchvision"]
Pooling = Literal["max", "avg"]

CONVS_PER_STAGE = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# torchvision's published files; the name ends in the first digits of the SHA-256.
TORCHVISION_FILES = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}
TORCHVISION_URL = "https://download.pytorch.org/models/"
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VGGWeights:
    """Convolution weights of one VGG network.

    Attributes:
        arch: `vgg16` or `vgg19`.
        convention: what the first convolution expects; see the module's docstring.
        tensors: `features.<index>.weight|bias` as torchvision numbers them; later layers may be
            missing.
        source: file name, for reports.
    """

    arch: str
    convention: Convention
    tensors: Mapping[str, Tensor]
    source: str = ""


def layer_index(arch: str) -> dict[str, int]:
    """Index of every convolution in torchvision's `features`, by the name of its ReLU.

    `layer_index("vgg19")["relu4_1"]` is 19.
    """
    if arch not in CONVS_PER_STAGE:
        raise ValueError(f"unknown VGG {arch!r}; choose from {', '.join(CONVS_PER_STAGE)}")
    index, result = 0, {}
    for stage, num_convs in enumerate(CONVS_PER_STAGE[arch], start=1):
        for conv in range(1, num_convs + 1):
            result[f"relu{stage}_{conv}"] = index
            index += 2  # convolution, ReLU
        index += 1  # pooling
    return result


class VGGFeatures(nn.Module):
    """Frozen VGG that returns activations after the ReLUs asked for.

    The weights are buffers outside the state dict: they move with the module and with its
    precision, never appear in a checkpoint and never ask for a gradient.
    """

    def __init__(
        self,
        layers: Sequence[str],
        weights: VGGWeights,
        *,
        pooling: Pooling = "max",
        ceil_mode: bool = False,
        quick: bool = False,
    ) -> None:
        """Build the network up to the deepest of `layers`.

        Args:
            layers: names such as `relu3_1`, any order.
            weights: convolutions that reach at least that deep.
            pooling: `max`, or `avg` as an option of the reference.
            ceil_mode: round sizes up when pooling, as Caffe does (175 -> 88).
            quick: on a CPU and in float32, compute the wide convolutions by `winograd` where that
                is faster; the features differ by rounding, about 1e-5 of their largest.

        Raises:
            ValueError: for an unknown layer or one that the weights do not reach.
        """
        super().__init__()
        if pooling not in ("max", "avg"):
            raise ValueError(f"pooling is 'max' or 'avg', not {pooling!r}")
        index = layer_index(weights.arch)
        unknown = [name for name in layers if name not in index]
        if unknown or not layers:
            raise ValueError(f"{weights.arch} has no layer {unknown}; choose from {list(index)}")
        self.layers = tuple(sorted(set(layers), key=index.__getitem__))
        self.names = [name for name in index if index[name] <= index[self.layers[-1]]]
        self.pooling = pooling
        self.ceil_mode = ceil_mode
        for name in self.names:
            key = f"features.{index[name]}"
            if f"{key}.weight" not in weights.tensors:
                reached = [n for n in index if f"features.{index[n]}.weight" in weights.tensors]
                raise ValueError(
                    f"layer {self.layers[-1]} asked for, but {weights.source or 'the weights'} "
                    f"end at {reached[-1] if reached else 'nothing'}; choose earlier layers or "
                    f"supply full {weights.arch} weights"
                )
            for part in ("weight", "bias"):
                tensor = weights.tensors[f"{key}.{part}"].detach().float()
                self.register_buffer(f"{name}_{part}", tensor, persistent=False)
        self._fold_convention(weights.convention)
        self.quick = quick and winograd.is_faster_here()
        for name in self.names if self.quick else ():
            weight = self.get_buffer(f"{name}_weight")
            if winograd.pays(weight):
                forward, backward = winograd.filters(weight)
                self.register_buffer(f"{name}_forward", forward, persistent=False)
                self.register_buffer(f"{name}_backward", backward, persistent=False)

    def _fold_convention(self, convention: Convention) -> None:
        """Keep the input convention as one affine map per channel, and RGB order inside.

        The BGR order of caffe is folded into the first convolution. The means are not: the zero
        padding of that convolution has to mean "average colour", as in the original.
        """
        if convention == "caffe":
            first = self.get_buffer("relu1_1_weight").flip(1)
            self.register_buffer("relu1_1_weight", first, persistent=False)
            scale = [255.0] * 3
            offset = [-mean for mean in reversed(CAFFE_MEAN_BGR)]
        elif convention == "torchvision":
            scale = [1 / s for s in IMAGENET_STD]
            offset = [-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        else:
            raise ValueError(f"convention is 'caffe' or 'torchvision', not {convention!r}")
        self.register_buffer("input_scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "input_offset", torch.tensor(offset).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Activations by layer name.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].

        Returns:
            `{"relu1_1": (B, 64, H, W), "relu2_1": (B, 128, H/2, W/2), ...}` in network order.

        Raises:
            ValueError: if the image vanishes before the deepest layer.
        """
        num_pools = int(self.layers[-1][4]) - 1
        if min(images.shape[-2:]) < 2**num_pools:
            raise ValueError(
                f"images are {images.shape[-2]}x{images.shape[-1]}, but {self.layers[-1]} needs "
                f"at least {2**num_pools} pixels a side; use larger images or earlier layers"
            )
        x = images * self.get_buffer("input_scale") + self.get_buffer("input_offset")
        quick = self.quick and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if quick:
            x = x.contiguous(memory_format=torch.channels_last)
        features = {}
        for name in self.names:
            if name.endswith("_1") and name != "relu1_1":
                pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
                x = pool(x, 2, 2, ceil_mode=self.ceil_mode)
            weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
            if quick and hasattr(self, f"{name}_forward"):
                spectra = self.get_buffer(f"{name}_forward"), self.get_buffer(f"{name}_backward")
                x = F.relu(winograd.conv3x3(x, bias, *spectra))
            else:
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in self.layers:
                features[name] = x
        return features


def load_vgg(
    layers: Sequence[str],
    arch: str = "vgg19",
    data_root: Path | str | None = None,
    *,
    pooling: Pooling = "max",
    ceil_mode: bool = False,
    quick: bool = False,
) -> VGGFeatures:
    """`VGGFeatures` with the first weights found that reach the layers.

    Looked for in `<data_root>/weights`, then in torch's hub cache; downloaded there as the last
    resort (torchvision's file, checksum checked).

    Args:
        layers: layer names.
        arch: `vgg16` or `vgg19`.
        data_root: default is the environment variable `FASTVID_DATA`, else `data`.
        pooling: see `VGGFeatures`.
        ceil_mode: see `VGGFeatures`.
        quick: see `VGGFeatures`.

    Raises:
        FileNotFoundError: no weights, and none could be downloaded; the message says what to do.
        ValueError: for an unknown layer or network.
    """
    root = Path(data_root or os.environ.get("FASTVID_DATA", "data"))
    index = layer_index(arch)
    unknown = [name for name in layers if name not in index]
    if unknown:
        raise ValueError(f"{arch} has no layer {unknown[0]!r}; choose from {', '.join(index)}")
    seen = []
    for path in candidate_files(arch, root):
        weights = read_weights(path, arch)
        if reaches(weights, layers):
            log.info("%s features from %s", arch, path.name)
            break
        seen.append(path.name)
    else:
        path = download(arch, seen, root, deepest_layer=max(layers, key=index.__getitem__))
        weights = read_weights(path, arch)
    return VGGFeatures(layers, weights, pooling=pooling, ceil_mode=ceil_mode, quick=quick)


def candidate_files(arch: str, data_root: Path) -> list[Path]:
    """Existing weight files of `arch`: the data root first, then torch's hub cache."""
    folder = data_root / "weights"
    named = [folder / f"{arch}_caffe.safetensors", folder / f"{arch}_torchvision.safetensors"]
    partial = sorted(folder.glob(f"{arch}_caffe_*.safetensors"))
    published = TORCHVISION_FILES[arch]
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [p for p in [*named, *partial, folder / published, hub / published] if p.is_file()]


def reaches(weights: VGGWeights, layers: Sequence[str]) -> bool:
    """Whether the weights hold the convolutions up to the deepest of the layers."""
    index = layer_index(weights.arch)
    deepest = max(index[name] for name in layers)
    return f"features.{deepest}.weight" in weights.tensors


def read_weights(path: Path, arch: str) -> VGGWeights:
    """VGG weights from a safetensors file or torchvision's `.pth`; never unpickles code.

    A safetensors file states its convention in the metadata key `input_convention`, or in its name.
    """
    if path.suffix == ".safetensors":
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get("input_convention", path.name)
            tensors = {k: file.get_tensor(k) for k in file.keys() if k.startswith("features.")}
        convention: Convention = "caffe" if "caffe" in text else "torchvision"
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {k: v for k, v in state.items() if k.startswith("features.")}
        convention = "torchvision"
    return VGGWeights(arch, convention, tensors, path.name)


def download(arch: str, seen: Sequence[str], data_root: Path, deepest_layer: str) -> Path:
    """Torchvision's weights into torch's hub cache; returns the file.

    Raises:
        FileNotFoundError: offline; says what is missing and the three ways to supply it.
    """
    name = TORCHVISION_FILES[arch]
    target = Path(torch.hub.get_dir()) / "checkpoints" / name
    log.info("downloading %s", TORCHVISION_URL + name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            TORCHVISION_URL + name, str(target), hash_prefix=name.split("-")[1].split(".")[0]
        )
    except (OSError, RuntimeError) as error:
        found = f"{', '.join(seen)} ends before {deepest_layer}" if seen else "none was found"
        raise FileNotFoundError(
            f"no {arch} weights that reach {deepest_layer} ({found}; download failed: {error}); "
            f"go online once, put {arch}_caffe.safetensors or {name} into {data_root / 'weights'}, "
            "or set FASTVID_DATA to a folder that has weights/"
        ) from error
    return target
