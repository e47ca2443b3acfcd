import numpy as np
import pytest

from fastvid.runtime.finish import LUMA, Finish, blend, keep_colors, side_by_side


def pictures(low=0, high=256, shape=(24, 33, 3)):
    rng = np.random.default_rng(3)
    return (rng.integers(low, high, shape, dtype=np.uint8) for _ in range(2))


def test_the_default_finish_is_the_painting_itself():
    source, painted = pictures()
    assert Finish()(source, painted) is painted


def test_strength_blends_linearly_within_a_level():
    source, painted = pictures()
    np.testing.assert_array_equal(blend(source, painted, 0), source)
    for strength in (0.1, 0.25, 0.5, 0.9):
        exact = source * (1 - strength) + painted * strength
        assert abs(blend(source, painted, strength) - exact).max() <= 1
    np.testing.assert_array_equal(blend(source, source, 0.37), source)


def test_kept_colors_have_the_luma_of_the_painting_and_the_chroma_of_the_source():
    source, painted = pictures(100, 156)  # no channel leaves 0..255
    kept = keep_colors(source, painted)
    assert abs(kept @ LUMA - painted @ LUMA).max() <= 0.51
    before, after = (x.astype(int) for x in (source, kept))
    for a, b in ((0, 1), (1, 2)):  # differences of channels are the chroma
        np.testing.assert_array_equal(
            after[..., a] - after[..., b], before[..., a] - before[..., b]
        )


def test_kept_colors_of_a_grey_source_are_grey():
    _, painted = pictures()
    kept = keep_colors(np.full_like(painted, 128), painted)
    assert np.ptp(kept, axis=-1).max() == 0


def test_kept_colors_clip_instead_of_wrapping():
    white, black = np.full((2, 2, 3), 255, np.uint8), np.zeros((2, 2, 3), np.uint8)
    np.testing.assert_array_equal(keep_colors(black, white), white)
    np.testing.assert_array_equal(keep_colors(white, black), black)


def test_side_by_side_has_the_source_on_the_left():
    source, painted = pictures()
    both = side_by_side(source, painted)
    np.testing.assert_array_equal(both[:, :33], source)
    np.testing.assert_array_equal(both[:, 33:], painted)
    finish = Finish(side_by_side=True)
    assert finish(source, painted).shape[:2] == finish.size((24, 33)) == (24, 66)


def test_wrong_values_are_refused():
    source, painted = pictures()
    for strength in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            Finish(strength)
    with pytest.raises(ValueError, match="two uint8 pictures of one size"):
        keep_colors(source, painted[1:])
    with pytest.raises(ValueError, match="float64"):
        blend(source, painted / 255, 0.5)
