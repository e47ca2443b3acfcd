"""The two modes as data, and the pixel space in which pictures are optimised.

The space is that of VGG's original weights: RGB in [0, 1] times `white`, minus the mean colour.
Step lengths, tolerances, noise and the temporal loss are all meant in it. The authors order the
channels BGR; here they stay RGB, which changes no figure.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fastvid.perceptual.vgg import CAFFE_MEAN_BGR

MEAN_RGB = tuple(reversed(CAFFE_MEAN_BGR))


@dataclass(frozen=True)
class Mode:
    """What differs between the paper and the authors' program.

    Attributes:
        name: as in `MODES`.
        white: value of white before the mean is taken off; the program multiplies by 256.
        eight_bit: results are cut to 8 bit (truncated) before the next frame sees them.
        root_gradient: the gradient of the temporal loss carries sqrt(c) where its value has c.
        absolute_tests: L-BFGS also stops on absolute changes, at any iteration.
        reduced_certainties: `closestFirst` takes off certainties that it has reduced before.
    """

    name: str
    white: float
    eight_bit: bool
    root_gradient: bool
    absolute_tests: bool
    reduced_certainties: bool

    def encode(self, image: Tensor) -> Tensor:
        """Pixel space of an RGB image: (B, 3, H, W) in [0, 1] -> same shape, about +-128."""
        return image * self.white - _mean(image)

    def decode(self, pixels: Tensor) -> Tensor:
        """RGB image of a point in pixel space; not clamped."""
        return (pixels + _mean(pixels)) / self.white

    def vgg_input(self, pixels: Tensor) -> Tensor:
        """What `VGGFeatures`, which multiplies by 255, must be given to see these pixels."""
        return (pixels + _mean(pixels)) / 255

    def mean_color(self, like: Tensor) -> Tensor:
        """The RGB colour, (1, 3, 1, 1), that is 0 in pixel space."""
        return _mean(like) / self.white

    def kept(self, image: Tensor) -> Tensor:
        """What the following frames, and the file, hold of a finished one, RGB.

        The program cuts to a byte: even an unchanged level can drop by one (paper.md, P1).
        """
        if not self.eight_bit:
            return image
        return (image.clamp(0, 1) * 255).floor() / 255


MODES = {
    "paper": Mode(
        name="paper",
        white=255.0,
        eight_bit=False,
        root_gradient=False,
        absolute_tests=False,
        reduced_certainties=False,
    ),
    "original": Mode(
        name="original",
        white=256.0,
        eight_bit=True,
        root_gradient=True,
        absolute_tests=True,
        reduced_certainties=True,
    ),
}


def _mean(like: Tensor) -> Tensor:
    return torch.tensor(MEAN_RGB, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
