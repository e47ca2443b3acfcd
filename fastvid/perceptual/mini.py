"""A small perceptual network in the place of VGG-19: shipped, seven times lighter, no download.

It predicts, for four layers of VGG-19, the coordinates of VGG's features along the strongest
eigenvectors of their second moments. Distances in those coordinates are VGG's distances but for
the weak directions left out, so that content and Gram losses keep their meaning and their weights.
`python -m fastvid.training.distill` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

SHIPPED = Path(__file__).with_name("mini.safetensors")
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
# Coordinates kept of VGG's 64, 128, 256 and 512 channels.
COORDINATES = {"relu1_1": 32, "relu2_1": 64, "relu3_1": 96, "relu4_1": 128}
# Convolutions of each stage; the first one's ReLU is what the head of its layer reads.
STAGES = ((24, 24), (48, 48), (96, 96, 96), (192,))


class MiniVGG(nn.Module):
    """Four stages of 3x3 convolutions with average pooling between, a linear head on each."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        for layer, widths in zip(LAYERS, STAGES, strict=True):
            convs = nn.ModuleList()
            for out in widths:
                convs.append(nn.Conv2d(width, out, 3, padding=1))
                width = out
            self.stages.append(convs)
            self.heads.append(nn.Conv2d(widths[0], COORDINATES[layer], 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Coordinates by layer name.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], H and W at least 8.

        Returns:
            `{"relu1_1": (B, 32, H, W), "relu2_1": (B, 64, H/2, W/2), ...}`; signed.
        """
        x = (images - 0.5) * 4
        result = {}
        stages = zip(LAYERS, self.stages, self.heads, strict=True)
        for number, (layer, convs, head) in enumerate(stages):
            if number:
                x = F.avg_pool2d(x, 2)
            assert isinstance(convs, nn.ModuleList)
            for i, conv in enumerate(convs):
                x = F.relu(conv(x))
                if i == 0:
                    result[layer] = head(x)
        return result


class MiniFeatures(nn.Module):
    """The frozen network as a feature extractor that takes the place of `VGGFeatures`.

    The weights are outside the state dict and never ask for a gradient.
    """

    def __init__(self, layers: Sequence[str], path: Path = SHIPPED) -> None:
        """Load the network.

        Args:
            layers: among `LAYERS`, any order.
            path: a file of `fastvid.training.distill`.

        Raises:
            FileNotFoundError, ValueError: no such file, or not one of ours.
        """
        super().__init__()
        unknown = [name for name in layers if name not in LAYERS]
        if unknown or not layers:
            raise ValueError(
                f"the small perceptual network has no layer {unknown}; choose from {list(LAYERS)}, "
                "or perceptual=vgg19"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"no small perceptual network {path.name}; make it with python -m "
                "fastvid.training.distill, or train with perceptual=vgg19"
            )
        self.layers = tuple(name for name in LAYERS if name in layers)
        net = MiniVGG()
        try:
            net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{path} is no small perceptual network ({str(error).splitlines()[0]}); "
                "make it again with python -m fastvid.training.distill"
            ) from None
        for module in net.modules():  # buffers move with the module, and stay out of checkpoints
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach(), persistent=False)
        self.net = net

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """As `MiniVGG`, the layers asked for."""
        features = self.net(images)
        return {name: features[name] for name in self.layers}
