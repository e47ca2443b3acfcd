import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from fastvid.perceptual.losses import (
    LUMA_WEIGHTS,
    color_loss,
    color_statistics,
    consistency_loss,
    content_loss,
    gram_matrices,
    gram_matrix,
    lattice_loss,
    luminance,
    range_loss,
    style_loss,
    temporal_loss,
    total_variation_loss,
)


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_gram_of_ones_is_one_over_channels():
    # every entry is H*W*1*1 / (C*H*W)
    gram = gram_matrix(torch.ones(2, 5, 3, 4))
    torch.testing.assert_close(gram, torch.full((2, 5, 5), 1 / 5))


def test_gram_equals_the_formula_in_numpy():
    features = rand(1, 3, 4, 5)
    flat = features.numpy()[0].reshape(3, 20).astype(np.float64)
    np.testing.assert_allclose(gram_matrix(features)[0], flat @ flat.T / 60, rtol=1e-6)


def test_gram_is_symmetric_and_positive_semi_definite():
    gram = gram_matrix(rand(1, 6, 3, 3) - 0.5)[0]
    torch.testing.assert_close(gram, gram.T)
    assert torch.linalg.eigvalsh(gram).min() > -1e-7


def test_gram_is_blind_to_the_order_of_pixels():
    features = rand(1, 4, 6, 6)
    shuffled = features.flatten(2)[..., torch.randperm(36)].view_as(features)
    torch.testing.assert_close(gram_matrix(features), gram_matrix(shuffled))


def test_gram_does_not_overflow_in_half_precision():
    features = torch.full((1, 8, 64, 64), 300.0, dtype=torch.float16)
    gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, torch.full((1, 8, 8), 300.0**2 / 8))


def test_gram_stays_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram = gram_matrix(rand(1, 8, 32, 32))
    torch.testing.assert_close(gram, gram_matrix(rand(1, 8, 32, 32)), rtol=1e-6, atol=0)


def test_equal_pictures_cost_nothing():
    features = {"relu1_1": rand(2, 3, 4, 4)}
    assert content_loss(features, features) == 0
    grams = gram_matrices(features)
    assert style_loss(grams, grams) == 0


def test_normalised_losses_are_blind_to_the_scale_of_the_features():
    a, b = {"relu1_1": rand(1, 3, 4, 4)}, {"relu1_1": rand(1, 3, 4, 4, seed=1)}
    big_a, big_b = ({k: 100 * v for k, v in x.items()} for x in (a, b))
    torch.testing.assert_close(content_loss(a, b), content_loss(big_a, big_b))
    small, big = (
        style_loss(gram_matrices(x), gram_matrices(y)) for x, y in ((a, b), (big_a, big_b))
    )
    torch.testing.assert_close(small, big)


def test_content_loss_by_hand():
    found = content_loss({"a": torch.full((1, 1, 2, 2), 3.0)}, {"a": torch.full((1, 1, 2, 2), 2.0)})
    assert found == pytest.approx((3 - 2) ** 2 / 2**2)


def test_luma_weights_sum_to_one():
    assert sum(LUMA_WEIGHTS) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(
        luminance(torch.full((1, 3, 2, 2), 0.7)), torch.full((1, 1, 2, 2), 0.7)
    )


def test_temporal_loss_averages_over_all_pixels():
    # half of the pixels trusted, difference 2: 0.5 * 4
    certainty = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    loss = temporal_loss(torch.full((1, 3, 1, 2), 2.0), torch.zeros(1, 3, 1, 2), certainty)
    assert loss == pytest.approx(2.0)


def test_gradient_is_exactly_zero_where_certainty_is():
    stylized = rand(1, 3, 4, 4).requires_grad_()
    other = rand(1, 3, 4, 4, seed=1)
    certainty = (rand(1, 1, 4, 4, seed=2) > 0.5).float()
    for loss in (
        temporal_loss(stylized, other, certainty),
        consistency_loss(stylized, other, other, other, certainty),
    ):
        (gradient,) = torch.autograd.grad(loss, stylized)
        assert (gradient[(certainty == 0).expand_as(gradient)] == 0).all()
        assert (gradient[(certainty == 1).expand_as(gradient)] != 0).all()


def test_consistency_is_normalised_by_the_trusted_area():
    stylized, zero = torch.full((1, 3, 8, 8), 0.3), torch.zeros(1, 3, 8, 8)
    half = torch.zeros(1, 1, 8, 8)
    half[..., :4] = 1
    for certainty in (torch.ones(1, 1, 8, 8), half):
        loss = consistency_loss(stylized, zero, zero, zero, certainty)
        assert loss == pytest.approx(0.3, rel=1e-5)


def test_consistency_allows_what_the_lighting_explains():
    before = rand(1, 3, 4, 4)
    frame = before + 0.1  # lighter by 0.1 in every channel, hence in luminance
    painted = rand(1, 3, 4, 4, seed=3)
    ones = torch.ones(1, 1, 4, 4)
    assert consistency_loss(painted + 0.1, painted, frame, before, ones) < 1.1 * 0.25 / 255
    assert consistency_loss(painted, painted, frame, before, ones) == pytest.approx(0.1, rel=1e-4)


def test_color_statistics_equal_numpys():
    images = rand(2, 3, 5, 4)
    pixels = images.numpy().transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float64)
    mean, covariance = color_statistics(images)
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(pixels, bias=True), rtol=1e-4)


def test_color_loss_counts_hue_and_brightness_alike():
    painting = rand(1, 3, 32, 32) * torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    mean, covariance = color_statistics(painting)
    assert color_loss(painting, mean, covariance) < 1e-5
    shuffled = painting.flatten(2)[..., torch.randperm(1024)].view_as(painting)
    assert color_loss(shuffled, mean, covariance) < 1e-5
    # half the deviation along any one axis: (1/4 - ln 1/4 - 1) / 2
    _, vectors = torch.linalg.eigh(covariance)
    for axis in vectors.T:
        stretch = torch.eye(3) - 0.5 * torch.outer(axis, axis)
        moved = torch.einsum("ij,bjhw->bihw", stretch, painting - mean.view(1, 3, 1, 1))
        loss = color_loss(moved + mean.view(1, 3, 1, 1), mean, covariance)
        assert loss == pytest.approx((0.25 - np.log(0.25) - 1) / 2, rel=0.03)


def test_color_loss_of_grey_pictures_and_paintings_is_finite():
    painting = rand(1, 3, 16, 16)
    grey = painting.mean(1, keepdim=True).expand(-1, 3, -1, -1).clone().requires_grad_()
    loss = color_loss(grey, *color_statistics(painting))
    (gradient,) = torch.autograd.grad(loss, grey)
    assert gradient.isfinite().all()
    assert color_loss(painting, *color_statistics(grey.detach())).isfinite()


def test_consistency_reads_like_e_warp():
    # the root of the mean square over the trusted pixels of each pair, then the mean over pairs
    zero = torch.zeros(2, 3, 4, 4)
    stylized = torch.zeros(2, 3, 4, 4)
    stylized[0, :, 0, 0] = 0.8  # one pixel of sixteen: 0.8 / 4
    stylized[1] = 0.1
    loss = consistency_loss(stylized, zero, zero, zero, torch.ones(2, 1, 4, 4))
    assert loss == pytest.approx((0.2 + 0.1) / 2, rel=1e-3)


def test_total_variation_against_two_lines_of_numpy():
    image = rand(2, 3, 5, 6)
    x = image.numpy().astype(np.float64)
    expected = (np.diff(x, axis=2) ** 2).mean() + (np.diff(x, axis=3) ** 2).mean()
    assert total_variation_loss(image) == pytest.approx(expected, rel=1e-5)


def test_range_loss_sees_only_the_excess():
    assert range_loss(rand(1, 3, 4, 4)) == 0
    assert range_loss(torch.tensor([1.5, -0.5, 0.2, 0.9])) == pytest.approx(0.25 * 2 / 4)


def test_lattice_loss_is_the_mean_square_of_a_weave_in_grey_levels():
    weave = torch.tensor([1.0, -1.0, 1.0, -1.0]).tile(16)[:, None] * torch.ones(64)
    flat = torch.full((2, 3, 64, 64), 0.4)
    assert lattice_loss(flat + 2 / 255 * weave) == pytest.approx(4.0, rel=1e-4)


def test_lattice_loss_sees_every_place_of_a_cell():
    cell = torch.zeros(4, 4)
    cell[1, 2] = 1.0
    values = [
        float(lattice_loss(cell.roll((dy, dx), (0, 1)).tile(16, 16).expand(1, 3, 64, 64) / 255))
        for dy in range(4) for dx in range(4)
    ]  # fmt: skip
    assert values == pytest.approx([1 / 16 - 1 / 256] * 16, rel=1e-3)


def test_lattice_loss_ignores_ramps_and_other_periods():
    y, x = torch.meshgrid(torch.arange(99.0), torch.arange(123.0), indexing="ij")
    ramp = (0.002 * x + 0.003 * y).expand(1, 3, -1, -1)
    assert lattice_loss(ramp) < 1e-6
    other = torch.sin(2 * torch.pi * x / 7).expand(1, 3, -1, -1) * 8 / 255
    assert lattice_loss(other) < 0.01 * 32


def test_gradients_in_double_precision():
    x = (rand(1, 3, 4, 4, dtype=torch.float64) * 1.4 - 0.2).requires_grad_()
    other = rand(1, 3, 4, 4, seed=1, dtype=torch.float64)
    certainty = rand(1, 1, 4, 4, seed=2, dtype=torch.float64)
    assert gradcheck(gram_matrix, (x,))
    assert gradcheck(lambda y: temporal_loss(y, other, certainty), (x,))
    assert gradcheck(total_variation_loss, (x,))
    assert gradcheck(range_loss, (x,))
    wide = rand(1, 3, 9, 13, dtype=torch.float64).requires_grad_()
    assert gradcheck(lattice_loss, (wide,))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 4\)"):
        temporal_loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 2, 2))
