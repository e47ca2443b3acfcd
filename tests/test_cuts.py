import numpy as np
from tiny import texture

from fastvid.motion.cuts import CutFinder, color_histogram, histogram_distance


def test_histograms_sum_to_one_and_differ_by_at_most_one():
    black, white = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 255, np.uint8)
    assert color_histogram(texture(40, 60)).sum() == 1
    assert histogram_distance(color_histogram(black), color_histogram(white)) == 1
    assert histogram_distance(color_histogram(black), color_histogram(black)) == 0


def test_motion_is_no_cut_and_a_new_scene_is():
    image = texture(64, 96)
    other = 255 - image // 3
    find = CutFinder()
    frames = [np.roll(image, 3 * k, axis=1) for k in range(4)] + [other, other]
    assert [find(frame) for frame in frames] == [False, False, False, False, True, False]
