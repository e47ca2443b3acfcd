"""Backward warping of images along a flow field."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ("border", "zeros")


def warp(image: Tensor, flow: Tensor, padding: str = "border") -> Tensor:
    """Image seen through a flow field: `warped(p) = image(p + flow(p))`.

    With `image` the previous frame and `flow` = flow_bwd, which lives on the current frame's
    grid and points to the previous one, the result is the previous frame as the current one
    sees it. Differentiable in both arguments.

    Convention: pixel coordinates with centres at integers, (0, 0) the top left pixel; channel 0
    of the flow is dx (right +), channel 1 is dy (down +), in pixels of this resolution. Bilinear
    (`grid_sample` with align_corners=True). `padding="border"` clamps positions to the image,
    `"zeros"` fades to 0 within one pixel outside of it. Zero flow gives the image back to float
    rounding of the position (below 1e-4 px up to 4096 px wide), not bit for bit.

    Computed in float32 at least, under autocast too: half precision cannot hold a position.

    Args:
        image: (B, C, H, W), any range.
        flow: (B, 2, H, W).
        padding: `"border"` or `"zeros"`.

    Returns:
        (B, C, H, W), in the wider type of the two arguments, at least float32.

    Raises:
        ValueError: if the shapes do not fit together or the padding is unknown.
    """
    if padding not in PADDINGS:
        raise ValueError(f"warp: padding {padding!r} is not one of {', '.join(PADDINGS)}")
    _check_flow("warp", flow)
    if image.ndim != 4 or image.shape[0] != flow.shape[0]:
        raise ValueError(
            f"warp: expected an image ({flow.shape[0]}, C, H, W) for a flow {tuple(flow.shape)}, "
            f"found {tuple(image.shape)}"
        )
    height, width = flow.shape[-2:]
    if image.shape[-2:] != flow.shape[-2:]:
        raise ValueError(
            f"warp: image is {image.shape[-2]}x{image.shape[-1]} but flow is {height}x{width}; "
            "resize the flow with resize_flow"
        )
    return sample(image, *positions(flow), padding=padding)


def sample(image: Tensor, x: Tensor, y: Tensor, padding: str = "border") -> Tensor:
    """Bilinear look-up of an image at any positions, by the convention of `warp`.

    Args:
        image: (B, C, H, W).
        x: columns in pixels, (B, h, w).
        y: rows in pixels, same shape.
        padding: `"border"` or `"zeros"`.

    Returns:
        (B, C, h, w), in the wider type of the arguments, at least float32.
    """
    height, width = image.shape[-2:]
    dtype = torch.promote_types(torch.promote_types(image.dtype, x.dtype), torch.float32)
    with torch.autocast(image.device.type, enabled=False):
        x, y = x.to(dtype), y.to(dtype)
        # A side of one pixel has one position only: any divisor does.
        grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=-1)
        return F.grid_sample(
            image.to(dtype), grid, mode="bilinear", padding_mode=padding, align_corners=True
        )


def positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel of a flow field points to: x and y, (B, H, W) each, in pixels."""
    height, width = flow.shape[-2:]
    if flow.dtype.itemsize < 4:
        flow = flow.float()
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def inside(flow: Tensor) -> Tensor:
    """Bool mask (B, 1, H, W): True where `p + flow(p)` lies within [0, W-1] x [0, H-1].

    Elsewhere `warp` invents colours (the nearest border pixel, or black). A position that is not
    a number is not inside.

    Raises:
        ValueError: if the flow is not (B, 2, H, W).
    """
    _check_flow("inside", flow)
    height, width = flow.shape[-2:]
    x, y = positions(flow)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None]


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flow at another resolution: resampled, and its vectors scaled to the new pixels.

    dx is multiplied by the ratio of the widths, dy by the ratio of the heights. Bilinear over pixel
    areas (align_corners=False), averaging over the covered pixels when it shrinks.

    Args:
        flow: (B, 2, H, W), (dx, dy) in pixels of its own resolution.
        size: the new (H, W).

    Returns:
        (B, 2, *size), (dx, dy) in pixels of the new resolution.

    Raises:
        ValueError: if the flow is not (B, 2, H, W) or the size is not positive.
    """
    _check_flow("resize_flow", flow)
    if min(size) < 1:
        raise ValueError(f"resize_flow: size (H, W) must be positive, found {tuple(size)}")
    height, width = flow.shape[-2:]
    if size == (height, width):
        return flow
    shrinks = size[0] < height or size[1] < width
    resized = F.interpolate(flow, size, mode="bilinear", align_corners=False, antialias=shrinks)
    scale = torch.tensor([size[1] / width, size[0] / height], dtype=flow.dtype, device=flow.device)
    return resized * scale[:, None, None]


def _check_flow(caller: str, flow: Tensor) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise ValueError(f"{caller}: expected a flow (B, 2, H, W), found {tuple(flow.shape)}")
