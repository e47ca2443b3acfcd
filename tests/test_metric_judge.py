import numpy as np
import pytest
from metric_clips import panning_clip, texture, tiny_vgg

from fastvid.evaluation.metrics import VGG_FRAMES, EvenSample, clip_scores


def test_perceptual_scores_of_known_pictures():
    vgg, source = tiny_vgg(), panning_clip(3)
    style = texture(seed=7)
    stylized = np.stack([style] * 3)
    scores = clip_scores(source, stylized, style, vgg, gaps=(1,))
    assert scores["style_distance"] == pytest.approx(0, abs=1e-5)
    assert scores["style_distance_source"] > 0.01
    assert scores["content_distance"] > 0.01
    itself = clip_scores(source, source, style, vgg, gaps=(1,))
    assert itself["content_distance"] == 0.0
    assert itself["style_distance"] == itself["style_distance_source"]


def test_the_style_image_is_compared_at_the_height_of_the_output():
    vgg, source = tiny_vgg(), panning_clip(1)
    style = texture(seed=7)
    large = style.repeat(2, axis=0).repeat(2, axis=1)
    scores = clip_scores(source, style[None], large, vgg)
    assert scores["style_distance"] == pytest.approx(0, abs=1e-5)


def test_frames_for_vgg_are_spread_evenly_over_a_clip_of_unknown_length():
    sample = EvenSample(VGG_FRAMES)
    for t in range(37):
        sample.add(t)
    assert sample.kept == [0, 8, 16, 24, 32]
