"""The losses of Ruder et al. 2016 at an image, and their gradient.

Weighted, in the pixel space of `mode.py`, with every constant of the program: content and style
are those of Gatys et al. 2016 as means, the temporal loss is the paper's sum over earlier frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.mode import Mode

CRITERIA = ("mse", "smoothl1")


@dataclass(frozen=True)
class Losses:
    """Weighted losses at one image.

    Attributes:
        content: w_c * sum over layers of mean (F - P)^2.
        style: w_s * sum over layers of mean (G - A)^2, G = F F^T / (C H W).
        temporal: w_t * sum over earlier frames of mean c (x - w)^2.
        total: their sum; the total variation is not in it, as in the program.
    """

    content: float
    style: float
    temporal: float
    total: float

    def as_dict(self) -> dict[str, float]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True)
class Weights:
    """Factors of the terms, for the pixel space of about 0..255.

    Attributes:
        content: per content layer.
        style: per style layer, not divided by their number.
        temporal: per earlier frame.
        tv: of half the sum of squared differences of neighbours; gradient only.
    """

    content: float = 5.0
    style: float = 100.0
    temporal: float = 1000.0
    tv: float = 1e-3


@dataclass(frozen=True)
class Anchor:
    """An earlier result that the picture shall resemble.

    Attributes:
        target: it, seen from this frame, in pixel space, (1, 3, H, W).
        certainty: (1, 1, H, W) in [0, 1], 1 = trust.
    """

    target: Tensor
    certainty: Tensor


class Objective:
    """What one frame is optimised for. The targets are computed once, when it is made."""

    def __init__(
        self,
        vgg: VGGFeatures,
        mode: Mode,
        weights: Weights,
        content: Tensor,
        content_layers: Sequence[str],
        grams: Mapping[str, Tensor],
        anchors: Sequence[Anchor] = (),
        *,
        criterion: str = "mse",
        normalize_gradients: bool = False,
        bfloat16: bool = False,
    ) -> None:
        """Compute the content features.

        Args:
            vgg: reaches all layers.
            mode: pixel space and gradient rule.
            weights: a term of weight 0 is left out altogether.
            content: the frame in pixel space, (1, 3, H, W).
            content_layers: layers whose features shall stay the frame's.
            grams: wanted Gram matrices by style layer, (1, C, C).
            anchors: earlier results to stay near to.
            criterion: of the temporal loss, `mse` or `smoothl1` (threshold 1).
            normalize_gradients: divide the gradient of each content, style and temporal term, at
                the place where the term is taken, by its L1 norm before it is weighted.
            bfloat16: run VGG in bfloat16.

        Raises:
            ValueError: a shape or the criterion is wrong.
        """
        if criterion not in CRITERIA:
            raise ValueError(f"temporal criterion {criterion!r} is not one of {CRITERIA}")
        expected = (1, 1, *content.shape[-2:])
        for anchor in anchors:
            if anchor.target.shape != content.shape or anchor.certainty.shape != expected:
                raise ValueError(
                    f"objective: expected an anchor {tuple(content.shape)} with a certainty "
                    f"{expected}, found {tuple(anchor.target.shape)} and "
                    f"{tuple(anchor.certainty.shape)}"
                )
        self.vgg, self.mode, self.weights = vgg, mode, weights
        self.criterion = criterion
        self.normalize_gradients = normalize_gradients
        self.bfloat16 = bfloat16
        self.grams = dict(grams) if weights.style else {}
        self.anchors = list(anchors) if weights.temporal else []
        self.content: dict[str, Tensor] = {}
        if weights.content:
            with torch.no_grad():
                features = self._features(content)
            self.content = {name: features[name] for name in content_layers}

    def __call__(self, pixels: Tensor) -> tuple[Losses, Tensor]:
        """Losses at (1, 3, H, W) in pixel space, and the gradient of total plus total variation."""
        x = pixels.detach().requires_grad_()
        values, descent = self._terms(x)
        if not descent.requires_grad:  # nothing to optimise for
            return _collect(values), torch.zeros_like(pixels)
        (gradient,) = torch.autograd.grad(descent, x)
        return _collect(values), gradient

    def losses(self, pixels: Tensor) -> Losses:
        """Losses alone, without the cost of a gradient."""
        with torch.no_grad():
            return _collect(self._terms(pixels)[0])

    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bfloat16):
            features: dict[str, Tensor] = self.vgg(self.mode.vgg_input(pixels))
        return features

    def _terms(self, x: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
        """Weighted terms by name, and the scalar whose gradient is descended."""
        values: dict[str, list[Tensor]] = {"content": [], "style": [], "temporal": []}
        descended: list[Tensor] = []

        def branch(point: Tensor, weight: float) -> tuple[Tensor, float]:
            if self.normalize_gradients:
                return _UnitGradient.apply(point, weight), 1.0
            return point, weight

        def add(kind: str, weight: float, factor: float, value: Tensor) -> None:
            values[kind].append(weight * value.detach())
            descended.append(factor * value)

        features = self._features(x) if self.content or self.grams else {}
        for name, wanted in self.content.items():
            point, factor = branch(features[name], self.weights.content)
            value = (point.float() - wanted.float()).square().mean()
            add("content", self.weights.content, factor, value)
        for name, wanted in self.grams.items():
            point, factor = branch(features[name], self.weights.style)
            value = (_Gram.apply(point) - wanted).square().mean()
            add("style", self.weights.style, factor, value)
        for anchor in self.anchors:
            point, factor = branch(x, self.weights.temporal)
            add("temporal", self.weights.temporal, factor, self._temporal(point, anchor))
        if self.weights.tv:
            descended.append(self.weights.tv * half_squared_differences(x))
        return values, sum(descended, start=torch.zeros((), device=x.device))

    def _temporal(self, x: Tensor, anchor: Anchor) -> Tensor:
        """Mean over 3 H W of c (x - w)^2, or of the smooth L1 of sqrt(c) (x - w)."""
        difference = x - anchor.target
        weighted = anchor.certainty.sqrt() * difference
        if self.mode.root_gradient:
            # The program hands on the gradient with respect to sqrt(c) x as that to x.
            weighted = difference + (weighted - difference).detach()
        if self.criterion == "smoothl1":
            return F.smooth_l1_loss(weighted, torch.zeros_like(weighted))
        return weighted.square().mean()


def half_squared_differences(x: Tensor) -> Tensor:
    """0.5 sum (dx^2 + dy^2) over the top left (H-1) x (W-1) block of (1, 3, H, W).

    The last row and the last column are compared with nothing along themselves, as in the program.
    """
    corner = x[..., :-1, :-1]
    dx = corner - x[..., :-1, 1:]
    dy = corner - x[..., 1:, :-1]
    return 0.5 * (dx.square().sum() + dy.square().sum())


class _Gram(torch.autograd.Function):
    """`gram_matrix` of (1, C, H, W), an eighth of an iteration cheaper (120x192, 2 cores).

    Its gradient F (D + D^T) / (C H W) takes one product instead of autograd's two, and comes in
    the memory order of channels-last features, so that adding it to theirs is no transposition.
    """

    @staticmethod
    def forward(ctx, features: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        _, channels, height, width = features.shape
        with torch.autocast(features.device.type, enabled=False):
            dtype = torch.promote_types(features.dtype, torch.float32)
            flat = features.to(dtype).permute(0, 2, 3, 1).reshape(1, height * width, channels)
            ctx.save_for_backward(flat)
            ctx.shape, ctx.dtype = (1, height, width, channels), features.dtype
            return flat.transpose(1, 2) @ flat / flat.numel()

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (flat,) = ctx.saved_tensors
        result = flat @ ((gradient + gradient.transpose(1, 2)) / flat.numel())
        return result.view(ctx.shape).permute(0, 3, 1, 2).to(ctx.dtype)


class _UnitGradient(torch.autograd.Function):
    """Identity whose gradient is divided by its L1 norm (plus 1e-8), then weighted."""

    @staticmethod
    def forward(ctx, point: Tensor, weight: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.weight = weight
        return point.view_as(point)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        return ctx.weight * gradient / (gradient.abs().sum() + 1e-8), None


def _collect(values: Mapping[str, Sequence[Tensor]]) -> Losses:
    """Sums in float64: float32 hides the first small steps of a large loss."""
    flat = [term.double() for terms in values.values() for term in terms]
    numbers = iter(torch.stack(flat).tolist() if flat else [])
    sums = {name: sum((next(numbers) for _ in terms), 0.0) for name, terms in values.items()}
    return Losses(**sums, total=sum(sums.values()))
