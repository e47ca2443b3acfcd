import numpy as np
import pytest

from fastvid.evaluation.probes import (
    GRID_LINE,
    exposure_response,
    far_leakage,
    grid_spectrum,
    noise_flicker,
    probe_scores,
    shift_rmse,
)


def picture(height=240, width=320, seed=0):
    """Natural-looking noise: power falls with the square of the frequency. uint8."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.fft2(random.normal(size=(height, width, 3)), axes=(0, 1))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    field = np.fft.ifft2(spectrum / (np.hypot(fy, fx) + 0.01)[..., None], axes=(0, 1)).real
    field = 128 + 45 * (field - field.mean()) / field.std()
    return field.clip(0, 255).round().astype(np.uint8)


def identity(frames):
    return frames


def normalizing(frames):
    """Contrast by the statistics of the whole picture, as instance norm does it."""
    x = frames.astype(np.float64)
    mean, std = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True)
    return (128 + 40 * (x - mean) / std).clip(0, 255).round().astype(np.uint8)


def blocky(frames):
    """Keeps one pixel in four along x: a stride of 4 with all its aliasing."""
    return frames[:, :, ::4].repeat(4, axis=2)[:, :, : frames.shape[2]]


def with_pattern(pattern, amplitude):
    def stylize(frames):
        rows, columns = np.indices(frames.shape[1:3])
        wave = amplitude * pattern(rows, columns)
        return (frames + wave[..., None]).clip(0, 255).round().astype(np.uint8)

    return stylize


# noise_flicker


def test_noise_flicker_of_the_identity_is_the_noise():
    # E[std of 16 samples, divided by 16] = 2 sqrt(15/16) c4(16) = 1.904; rounding adds 1/12
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    expected = np.sqrt(4 + 1 / 12) * np.sqrt(15 / 16) * 0.98348
    assert noise_flicker(identity, grey) == pytest.approx(expected, rel=0.01)


def test_noise_flicker_scales_with_the_gain_and_is_repeatable():
    grey = np.full((64, 64, 3), 60, dtype=np.uint8)
    assert noise_flicker(lambda f: f * 3, grey) == pytest.approx(
        3 * noise_flicker(identity, grey), rel=1e-9
    )
    assert noise_flicker(identity, grey) == noise_flicker(identity, grey)


def test_a_deaf_network_does_not_flicker():
    assert noise_flicker(lambda f: np.full_like(f, 7), picture(64, 64)) == 0.0


# far_leakage


def test_a_local_function_does_not_leak():
    assert far_leakage(identity, picture()) == 0.0


def test_normalising_over_the_picture_leaks_by_what_the_statistics_say():
    image = picture()
    pasted = image.copy()
    pasted[:64, :64] = 255
    before, after = (normalizing(x[None])[0].astype(float) for x in (image, pasted))
    rows, columns = np.indices(image.shape[:2])
    distance = np.hypot(np.maximum(rows - 63, 0), np.maximum(columns - 63, 0))
    change = (after - before)[distance > 160]
    value = far_leakage(normalizing, image)
    assert value == pytest.approx(np.sqrt((change**2).mean()) / before.std())
    assert value > 0.1


def test_a_picture_too_small_to_be_far_away_is_refused():
    with pytest.raises(ValueError, match="more than 224 px"):
        far_leakage(identity, picture(128, 128))


# shift_rmse


def test_pointwise_functions_commute_with_shifts():
    result = shift_rmse(lambda f: 255 - f, picture(128, 128))
    assert set(result.values()) == {0.0}


def test_a_stride_of_four_shows_in_the_phases():
    image = np.repeat(picture(128, 128)[:1], 128, axis=0)  # columns only: no error downwards
    result = shift_rmse(blocky, image)
    assert result["shift_rmse_phase0"] == 0.0
    for phase in (1, 2, 3):
        assert result[f"shift_rmse_phase{phase}"] > 1.0


def test_shift_probe_names_the_size_it_needs():
    with pytest.raises(ValueError, match="more than 78 px"):
        shift_rmse(identity, picture(70, 200))


# exposure_response


def test_exposure_response_of_the_identity_is_the_gain():
    image = picture() // 2 + 20  # nothing clips
    expected = 0.05 * np.sqrt((image.astype(float) ** 2).mean()) / image.std()
    assert exposure_response(identity, image) == pytest.approx(expected, rel=0.02)


def test_a_normalised_output_ignores_exposure():
    image = picture() // 2 + 20
    assert exposure_response(normalizing, image) < 0.02


# grid_spectrum


@pytest.mark.parametrize("seed", range(4))
def test_clean_pictures_have_no_line(seed):
    assert grid_spectrum(picture(seed=seed))["grid_line"] < 0.4 * GRID_LINE


def test_blank_and_white_noise_pictures_have_no_line():
    noise = np.random.default_rng(0).integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    for name, value in grid_spectrum(noise).items():
        if name.startswith("grid_period"):
            assert value == pytest.approx(1.0, abs=0.5), name
    assert grid_spectrum(np.full((64, 64, 3), 9, dtype=np.uint8))["grid_line"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("pattern", "key", "quiet"),
    [
        (lambda y, x: (-1.0) ** x, "grid_period2_x", ("grid_period2_y", "grid_period4_y")),
        (lambda y, x: (-1.0) ** y, "grid_period2_y", ("grid_period2_x", "grid_period4_x")),
        (lambda y, x: np.sqrt(2) * np.cos(np.pi / 2 * x + 0.7), "grid_period4_x", ()),
        (lambda y, x: np.sqrt(2) * np.cos(np.pi / 2 * (x - y)), "grid_period4_y", ()),
        (lambda y, x: (-1.0) ** (x + y), "grid_period2_x", ("grid_period4_x", "grid_period4_y")),
    ],
)
def test_a_grid_of_five_grey_levels_shows_plainly(pattern, key, quiet):
    image = picture()
    result = grid_spectrum(with_pattern(pattern, 5.0)(image[None]))
    assert result[key] > GRID_LINE
    assert result["grid_line"] == pytest.approx(result[key], rel=0.05)
    assert result["grid_amplitude"] == pytest.approx(5.0, rel=0.12)
    for name in quiet:
        assert result[name] == pytest.approx(grid_spectrum(image)[name], rel=0.5)


def test_a_grid_in_opposite_colours_shows_too():
    image = picture()
    rows, columns = np.indices(image.shape[:2])
    wave = 4 * (-1.0) ** (rows + columns)
    tinted = image + np.stack([wave, -wave, 0 * wave], axis=-1)
    result = grid_spectrum(tinted.clip(0, 255).astype(np.uint8))
    assert result["grid_line"] > 5 * GRID_LINE


def test_a_picture_below_one_tile_is_refused():
    with pytest.raises(ValueError, match="needs 64 px a side"):
        grid_spectrum(picture(48, 200))


# probe_scores


def test_all_probes_together_for_the_identity():
    image = picture()
    scores = probe_scores(identity, image)
    assert scores["far_leakage"] == 0.0
    assert scores["shift_rmse"] == 0.0
    assert scores["grid_line"] == scores["grid_line_source"]
    assert 1.5 < scores["noise_flicker"] < 2.1
    assert all(isinstance(value, float) for value in scores.values())
