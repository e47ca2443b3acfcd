import cv2
import numpy as np
import pytest
import torch

from fastvid.motion.warp import inside, resize_flow, sample, warp


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


def constant_flow(dx: float, dy: float, size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(batch, 2, *size).clone()


def test_zero_flow_is_identity() -> None:
    for size in ((9, 11), (1, 5), (7, 1), (360, 640)):
        image = torch.rand(2, 3, *size)
        for padding in ("border", "zeros"):
            warped = warp(image, torch.zeros(2, 2, *size), padding)
            torch.testing.assert_close(warped, image, atol=1e-4, rtol=0)


def test_integer_shift_equals_slicing() -> None:
    image = torch.rand(1, 3, 9, 11)
    flow = torch.zeros(1, 2, 9, 11)
    flow[:, 0] = 2.0  # dx: every pixel looks two columns to its right
    torch.testing.assert_close(warp(image, flow)[..., :-2], image[..., 2:], atol=1e-5, rtol=0)
    flow = torch.zeros(1, 2, 9, 11)
    flow[:, 1] = -3.0  # dy: three rows up
    warped = warp(image, flow)
    torch.testing.assert_close(warped[..., 3:, :], image[..., :-3, :], atol=1e-5, rtol=0)


def test_padding_decides_what_lies_outside() -> None:
    image = torch.rand(1, 3, 6, 6) + 0.1
    flow = constant_flow(4.0, 0.0, (6, 6))
    border = image[..., -1:].expand(1, 3, 6, 4)
    torch.testing.assert_close(warp(image, flow, "border")[..., 2:], border, atol=1e-5, rtol=0)
    # One column at position 5.0 is still inside; the next, a whole pixel out, is black.
    assert warp(image, flow, "zeros")[..., 2:].abs().max() < 1e-5


def test_warp_agrees_with_opencv_on_its_grid() -> None:
    rng = np.random.default_rng(3)
    image = rng.random((40, 56, 3), np.float32)
    # cv2.remap interpolates on a 1/32 px grid: only such positions can agree.
    flow = (rng.integers(-160, 160, (40, 56, 2)) / 32).astype(np.float32)
    y, x = np.mgrid[:40, :56].astype(np.float32)
    expected = cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    warped = warp(
        torch.from_numpy(image).permute(2, 0, 1)[None],
        torch.from_numpy(flow).permute(2, 0, 1)[None],
    )
    np.testing.assert_allclose(warped[0].permute(1, 2, 0).numpy(), expected, atol=2e-5)


def test_warp_is_differentiable_in_both_arguments() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 2, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    # Bilinear interpolation has kinks at whole pixels and at the border: stay between them.
    flow = 0.2 + 0.6 * torch.rand(2, 2, 5, 6, dtype=torch.float64, generator=generator)
    flow.requires_grad_()
    assert torch.autograd.gradcheck(warp, (image, flow))


def test_warp_keeps_float32_under_autocast() -> None:
    image = torch.rand(1, 3, 8, 300, dtype=torch.bfloat16)
    flow = constant_flow(0.5, 0.0, (8, 300))
    with torch.autocast("cpu", torch.bfloat16):
        warped = warp(image, flow)
    assert warped.dtype == torch.float32
    torch.testing.assert_close(warped, warp(image.float(), flow))


def test_a_flow_in_half_precision_still_finds_its_pixel() -> None:
    image = torch.rand(1, 1, 4, 1001)
    # 1000 + 1 has no bfloat16: adding in half precision would round the position.
    flow = constant_flow(1.0, 0.0, (4, 1001)).bfloat16()
    torch.testing.assert_close(warp(image, flow)[..., :-1], image[..., 1:], atol=1e-4, rtol=0)


def test_flipping_the_picture_and_dx_flips_the_result() -> None:
    image, flow = torch.rand(1, 3, 12, 17), 3 * torch.randn(1, 2, 12, 17)
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(
        warp(image.flip(-1), mirrored), warp(image, flow).flip(-1), atol=1e-5, rtol=0
    )


def test_sample_reads_any_positions() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    x, y = torch.tensor([[[0.0, 1.5, 3.0]]]), torch.tensor([[[0.0, 1.0, 1.5]]])
    torch.testing.assert_close(sample(image, x, y).flatten(), torch.tensor([0.0, 5.5, 9.0]))


def test_inside_includes_the_border_pixels_and_nothing_beyond() -> None:
    assert inside(torch.zeros(1, 2, 5, 7)).all()
    mask = inside(constant_flow(2.0, -1.0, (5, 7)))
    assert mask.shape == (1, 1, 5, 7)
    assert mask.sum() == 4 * 5
    assert mask[0, 0, 1:, :5].all()
    assert not inside(torch.full((1, 2, 3, 3), float("nan"))).any()


def test_resize_flow_scales_each_channel_by_its_own_ratio_for_every_item() -> None:
    flow = torch.stack(
        (constant_flow(4.0, 6.0, (10, 20))[0], constant_flow(-2.0, 1.0, (10, 20))[0])
    )
    resized = resize_flow(flow, (30, 10))
    assert resized.shape == (2, 2, 30, 10)
    torch.testing.assert_close(resized[0], constant_flow(2.0, 18.0, (30, 10))[0])
    torch.testing.assert_close(resized[1], constant_flow(-1.0, 3.0, (30, 10))[0])


def test_resize_flow_to_the_same_size_changes_nothing() -> None:
    flow = torch.randn(2, 2, 6, 8)
    assert torch.equal(resize_flow(flow, (6, 8)), flow)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"image is 480x640 but flow is 240x320.*resize_flow"):
        warp(torch.zeros(1, 3, 480, 640), torch.zeros(1, 2, 240, 320))
    with pytest.raises(ValueError, match=r"found \(1, 3, 4, 4\)"):
        warp(torch.zeros(1, 3, 4, 4), torch.zeros(2, 2, 4, 4))
    with pytest.raises(ValueError, match=r"expected a flow \(B, 2, H, W\)"):
        warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, 2))
    with pytest.raises(ValueError, match="not one of border, zeros"):
        warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 4), "mirror")
    with pytest.raises(ValueError, match="must be positive"):
        resize_flow(torch.zeros(1, 2, 4, 4), (0, 4))
