"""Losses of neural style transfer as pure functions: named, unweighted, in float32.

Weights live in the training module and in the reference optimiser, nowhere else. Normalised
variants divide by the target's own size, so that one weight serves every painting.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.709 luma; the three sum to 1.
LUMA_WEIGHTS = (0.2126, 0.7152, 0.0722)
Features = Mapping[str, Tensor]


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrix G = F F^T / (C H W), F being the features as a C x HW matrix.

    Computed in float32 whatever the input: its sums overflow half precision.

    Args:
        features: (B, C, H, W).

    Returns:
        (B, C, C), symmetric, positive semi-definite.
    """
    b, c, h, w = features.shape
    dtype = torch.promote_types(features.dtype, torch.float32)  # float64 stays, for gradcheck
    with torch.autocast(features.device.type, enabled=False):
        flat = features.to(dtype).reshape(b, c, h * w)
        return flat @ flat.transpose(1, 2) / (c * h * w)


def gram_matrices(features: Features) -> dict[str, Tensor]:
    """`gram_matrix` of every layer."""
    return {name: gram_matrix(value) for name, value in features.items()}


def content_loss(features: Features, target: Features) -> Tensor:
    """Squared feature distance relative to the target's own energy, averaged over layers.

    mean (F - P)^2 / mean P^2 per layer: 0 for the same picture, about 1 for an unrelated one.

    Args:
        features: of the stylised picture, layer name -> (B, C, H, W).
        target: of the content picture, at least the same layers.
    """
    terms = []
    for name in features:
        difference = (features[name].float() - target[name].float()).square().mean()
        terms.append(difference / target[name].float().square().mean().clamp_min(1e-12))
    return torch.stack(terms).mean()


def style_loss(grams: Features, target: Features) -> Tensor:
    """Squared Gram distance relative to the target's own energy, averaged over layers and batch.

    mean (G - A)^2 / mean A^2 per layer (Gatys et al. 2016, normalised by the target).

    Args:
        grams: of the stylised pictures, layer name -> (B, C, C).
        target: of the painting, layer name -> (1, C, C) or (B, C, C).
    """
    terms = []
    for name in grams:
        wanted = target[name].float()
        terms.append((grams[name] - wanted).square().mean() / wanted.square().mean())
    return torch.stack(terms).mean()


def temporal_loss(stylized: Tensor, prev_warped: Tensor, certainty: Tensor) -> Tensor:
    """Certainty-weighted squared difference to the warped previous output.

    The mean runs over all B*3*H*W elements, so distrusted pixels lower the value; they are not
    renormalised away. L_temporal of Ruder, Dosovitskiy and Brox 2016.

    Args:
        stylized: current output, (B, 3, H, W).
        prev_warped: previous output seen from the current frame, same shape.
        certainty: (B, 1, H, W) in [0, 1], 1 where the flow is trusted.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_pair(stylized, prev_warped, certainty)
    return (certainty * (stylized - prev_warped).square()).mean()


def luminance(image: Tensor) -> Tensor:
    """BT.709 luma of an RGB image: (B, 3, H, W) -> (B, 1, H, W), same range."""
    weights = torch.tensor(LUMA_WEIGHTS, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


def consistency_loss(
    stylized: Tensor,
    prev_warped: Tensor,
    frame: Tensor,
    prev_frame_warped: Tensor,
    certainty: Tensor,
) -> Tensor:
    """Change of the output along the motion that the input does not explain.

    mean over pairs of sqrt(sum c |(O_t - W O_{t-1}) - Y(I_t - W I_{t-1})|^2 / (3 sum c)): the
    luminance-aware output term of ReCoNet (Gao et al. 2018), as a root mean square over the trusted
    area of each pair, so that every pair weighs the same and the value reads like `e_warp`. A
    frame that is only lighter than the one before may be painted lighter by as much, in all
    channels.

    Args:
        stylized: output for the current frame, (B, 3, H, W).
        prev_warped: output for the previous frame, warped onto the current one.
        frame: current input without the noise that the network was shown, (B, 3, H, W).
        prev_frame_warped: previous input, warped onto the current one.
        certainty: (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    _check_pair(stylized, prev_warped, certainty)
    _check_pair(frame, prev_frame_warped, certainty)
    allowed = luminance(frame.float() - prev_frame_warped.float())
    change = (stylized.float() - prev_warped.float() - allowed).square()
    area = (3 * certainty.sum(dim=(1, 2, 3))).clamp_min(1.0)
    mean_square = (certainty * change).sum(dim=(1, 2, 3)) / area
    # A quarter of a level of 255 keeps the slope of the root finite at zero.
    return (mean_square + (0.25 / 255) ** 2).sqrt().mean()


def color_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3,) and covariance (3, 3) of the colours of all pixels of (B, 3, H, W)."""
    dtype = torch.promote_types(images.dtype, torch.float32)
    with torch.autocast(images.device.type, enabled=False):
        pixels = images.to(dtype).transpose(0, 1).flatten(1)
        mean = pixels.mean(dim=1)
        centered = pixels - mean[:, None]
        return mean, centered @ centered.T / pixels.shape[1]


def color_loss(images: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Divergence of the palette from a painting's, all directions of colour counting alike.

    Kullback-Leibler divergence of two normal distributions of colour,
    (tr M - ln det M - 3 + (m - n)^T S^-1 (m - n)) / 2 with M = S^-1/2 C S^-1/2, mean m and
    covariance C of the pictures, n and S of the painting. In a Gram matrix, brightness outweighs
    hue by far: a night sky without its yellows is almost right there, and far off here. Taken over
    the whole batch, so that one picture may be bluer than another.

    Args:
        images: (B, 3, H, W).
        mean: of the painting, (3,).
        covariance: of the painting, (3, 3).
    """
    found_mean, found = color_statistics(images)
    with torch.autocast(images.device.type, enabled=False):
        # Two levels of 255 added to every deviation: pictures in black and white stay finite.
        floor = (2 / 255) ** 2 * torch.eye(3, dtype=found.dtype, device=found.device)
        wanted = torch.linalg.cholesky(covariance.to(found.dtype) + floor)
        # Without its own error: what is not finite stays so, and the training names the term.
        own, _ = torch.linalg.cholesky_ex(found + floor)
        spread = torch.linalg.solve_triangular(wanted, own, upper=False).square().sum()
        volume = 2 * (own.diagonal().log().sum() - wanted.diagonal().log().sum())
        shift = torch.linalg.solve_triangular(
            wanted, (found_mean - mean.to(found.dtype))[:, None], upper=False
        )
        return (spread - volume - 3 + shift.square().sum()) / 2


def total_variation_loss(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, rows plus columns. (B, 3, H, W) -> scalar."""
    rows = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    columns = (image[..., :, 1:] - image[..., :, :-1]).square().mean()
    return rows + columns


def lattice_loss(image: Tensor, period: int = 4) -> Tensor:
    """Mean square of the pattern that repeats with the strides of a network, in levels of 255.

    A network that paints in cells of `period` pixels can leave a weave of them on flat areas, too
    faint for the other terms and plain to see. What differs from its own neighbourhood of one cell
    is averaged over the same place of all cells in a window of 24 x 24: strokes cancel out there,
    the weave stays. Ramps give 0.

    Args:
        image: (B, 3, H, W) in [0, 1], H and W at least twice the period.
        period: pixels.
    """
    rest = period - 1
    detail = 255 * (image[..., rest:, rest:] - F.avg_pool2d(image, period, stride=1))
    rows, columns = (side // period for side in detail.shape[-2:])
    cells = detail[..., : rows * period, : columns * period]
    cells = F.pixel_unshuffle(cells, period)  # (B, 3 period^2, rows, columns)
    windows = (max(1, round(rows / 24)), max(1, round(columns / 24)))
    places = F.adaptive_avg_pool2d(cells, windows).unflatten(1, (3, -1))
    return (places - places.mean(dim=2, keepdim=True)).square().mean()


def range_loss(image: Tensor) -> Tensor:
    """Mean squared excess outside [0, 1]: what clamping to 8 bit would cut off."""
    return (image - image.clamp(0, 1)).square().mean()


def _check_pair(image: Tensor, other: Tensor, certainty: Tensor) -> None:
    expected = (image.shape[0], 1, *image.shape[-2:])
    if image.shape != other.shape or tuple(certainty.shape) != expected:
        raise ValueError(
            f"pictures of one shape and a certainty of shape {expected} expected; found "
            f"{tuple(image.shape)}, {tuple(other.shape)} and {tuple(certainty.shape)}"
        )
