import math

import numpy as np
import pytest
import torch

from fastvid.evaluation.judge import STYLE_LAYERS, content_distance, style_distance
from fastvid.evaluation.links import masked_mse
from fastvid.evaluation.pairs import e_stab, e_warp, stability_ratio
from fastvid.perceptual.losses import gram_matrices


def test_masked_mse_equals_a_loop_in_numpy():
    rng = np.random.default_rng(1)
    difference = rng.normal(size=(1, 3, 5, 7))
    mask = rng.random((1, 1, 5, 7)) > 0.4
    expected = difference.transpose(0, 2, 3, 1)[mask[:, 0]].ravel()
    value = masked_mse(torch.from_numpy(difference), torch.from_numpy(mask))
    assert value == pytest.approx(np.mean(expected**2), rel=1e-12)


def test_an_empty_mask_gives_zero():
    assert masked_mse(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)) == 0.0


def test_e_warp_is_the_root_of_the_mean_square():
    # sqrt((0.01 + 0.03) / 2) by hand
    assert e_warp([0.01, 0.03]) == pytest.approx(0.1414213562, rel=1e-9)


def test_stability_ratio_has_a_floor():
    assert stability_ratio(0.02, 0.009) == pytest.approx(2.0)
    assert stability_ratio(0.02, 0.0) == pytest.approx(20.0)


def test_legacy_variants_differ_by_the_root_of_three_and_weigh_the_mask():
    # one pair: mse 0.04 on a quarter of the frame -> huang sqrt(0.01)
    assert e_stab([0.04], [0.25], "huang") == pytest.approx(0.1)
    assert e_stab([0.04], [0.25], "reconet") == pytest.approx(0.1 * math.sqrt(3))


def test_style_distance_equals_numpy():
    rng = np.random.default_rng(2)
    features = {name: rng.normal(size=(1, 4, 6, 5)) for name in STYLE_LAYERS}
    style = {name: rng.normal(size=(1, 4, 3, 8)) for name in STYLE_LAYERS}

    def gram(f):
        flat = f[0].reshape(4, -1)
        return flat @ flat.T / flat.size

    expected = np.mean(
        [
            np.linalg.norm(gram(features[n]) - gram(style[n])) / np.linalg.norm(gram(style[n]))
            for n in STYLE_LAYERS
        ]
    )
    value = style_distance(
        gram_matrices({n: torch.from_numpy(f) for n, f in features.items()}),
        gram_matrices({n: torch.from_numpy(f) for n, f in style.items()}),
    )
    assert value == pytest.approx(expected, rel=1e-6)


def test_content_distance_is_relative():
    source = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert content_distance(source * 1.5, source) == pytest.approx(0.5)
