"""What a network does to pictures chosen to ask one question each; no clip is needed.

Every probe takes `stylize`, a function from uint8 (N, H, W, 3) RGB to the same, and one still
picture. All values can be compared between networks on the same picture only.

| name                | question                                                                  |
|---------------------|---------------------------------------------------------------------------|
| `noise_flicker`     | how much does sensor noise boil? Grey levels of 255                       |
| `far_leakage`       | does an object in one corner change the rest? Output standard deviations   |
| `shift_rmse`        | does the painting stick to a picture that slides? Grey levels of 255       |
| `exposure_response` | how much does 5 % more light change? Output standard deviations            |
| `grid_..._x`, `_y`  | is there a line in the spectrum at a stride's period? 1 = none             |
"""

from collections.abc import Callable

import numpy as np

Stylize = Callable[[np.ndarray], np.ndarray]

NOISE_SIGMA = 2.0  # grey levels of 255
NOISE_FRAMES = 16
PATCH_PX = 64
FAR_PX = 160
SHIFTS_PX = range(1, 8)
STRIDE_PX = 4  # all strides of the networks together
SHIFT_MARGIN_PX = 32  # the picture's border moves with the crop; its effect is no aliasing
EXPOSURE_GAIN = 1.05
GRID_PERIODS_PX = (2, 4)
TILE_PX = 64  # both periods fall on a bin of a spectrum of this length
NEIGHBOURS = range(4, 9)  # bins clear of the window's main lobe, 2 bins wide
GRID_LINE = 10.0  # a ratio above this is a line; only facades and fabrics have their own


def noise_flicker(stylize: Stylize, image: np.ndarray, seed: int = 0) -> float:
    """Temporal standard deviation of the output for one still picture under sensor noise.

    The picture is repeated 16 times with independent Gaussian noise of 2/255; the result is the
    mean over pixels and channels of the standard deviation over time (dividing by 16), in grey
    levels of 255. The identity gives about 1.9.

    Args:
        stylize: see above.
        image: uint8 (H, W, 3).
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    total = np.zeros(image.shape)
    squares = np.zeros(image.shape)
    for _ in range(NOISE_FRAMES):
        noisy = image + random.normal(0.0, NOISE_SIGMA, image.shape)
        output = _paint(stylize, noisy)
        total += output
        squares += output**2
    variance = squares / NOISE_FRAMES - (total / NOISE_FRAMES) ** 2
    return float(np.sqrt(variance.clip(min=0)).mean())


def far_leakage(stylize: Stylize, image: np.ndarray) -> float:
    """Change of the output far from a white square pasted into the top left corner.

    RMS over the pixels further than 160 px (Euclidean) from the square of 64 px, divided by the
    standard deviation of the undisturbed output. 0 where the network's view is bounded, as with
    fixed normalisation.

    Raises:
        ValueError: if no pixel of the picture is that far away.
    """
    rows, columns = np.indices(image.shape[:2])
    beyond = [np.maximum(axis - (PATCH_PX - 1), 0) for axis in (rows, columns)]
    far = np.hypot(*beyond) > FAR_PX
    if not far.any():
        raise ValueError(
            f"far_leakage: the picture is {image.shape[1]}x{image.shape[0]}; it needs a side of "
            f"more than {PATCH_PX + FAR_PX} px"
        )
    pasted = image.copy()
    pasted[:PATCH_PX, :PATCH_PX] = 255
    before, after = _paint(stylize, image), _paint(stylize, pasted)
    return _relative_change(after[far] - before[far], before)


def shift_rmse(stylize: Stylize, image: np.ndarray) -> dict[str, float]:
    """Difference between painting a shifted picture and shifting the painted one.

    Shifts of 1 to 7 px, to the side and down; the picture slides through a window, so that no
    border is invented, and 32 px along the window's own border are left out. The phase is the
    shift modulo 4: a network of total stride 4 without aliasing has the same value for all.

    Returns:
        RMSE in grey levels of 255: `shift_rmse` over all shifts, and `shift_rmse_phase0` to `3`.

    Raises:
        ValueError: if the picture is too small to leave anything.
    """
    height, width = (side - max(SHIFTS_PX) for side in image.shape[:2])
    margin = SHIFT_MARGIN_PX
    if min(height, width) <= 2 * margin + max(SHIFTS_PX):
        raise ValueError(
            f"shift_rmse: the picture is {image.shape[1]}x{image.shape[0]}; it needs more than "
            f"{2 * margin + 2 * max(SHIFTS_PX)} px a side"
        )
    unmoved = _paint(stylize, image[:height, :width])
    by_phase: dict[int, list[float]] = {phase: [] for phase in range(STRIDE_PX)}
    for shift in SHIFTS_PX:
        for down, right in ((0, shift), (shift, 0)):
            moved = _paint(stylize, image[down : down + height, right : right + width])
            aligned = unmoved[down:, right:]
            moved = moved[: height - down, : width - right]
            inner = (aligned - moved)[margin:-margin, margin:-margin]
            by_phase[shift % STRIDE_PX].append(float(np.square(inner).mean()))
    every = [value for values in by_phase.values() for value in values]
    result = {"shift_rmse": float(np.mean(np.sqrt(every)))}
    for phase, values in by_phase.items():
        result[f"shift_rmse_phase{phase}"] = float(np.mean(np.sqrt(values)))
    return result


def exposure_response(stylize: Stylize, image: np.ndarray) -> float:
    """RMS change of the output when the picture gets 5 % lighter, in output standard deviations.

    Less is not better without end: a painting may follow the light. What flickers is a response
    far above that of the identity, 0.05 RMS(image) / std(image).
    """
    before = _paint(stylize, image)
    after = _paint(stylize, image * EXPOSURE_GAIN)
    return _relative_change(after - before, before)


def grid_spectrum(images: np.ndarray) -> dict[str, float]:
    """Lines in the spectrum of pictures at the periods of a network's strides.

    The power spectrum is averaged over channels and half-overlapping tiles of 64x64 px under a
    Hann window. The power at a frequency of the stride's lattice (multiples of 1/4 cycle per pixel
    in x and y) is divided by the geometric mean of its neighbours, 4 to 8 bins along the axis in
    question: about 1 where nothing repeats, hundreds for a visible grid.

    Args:
        images: uint8 (N, H, W, 3) or (H, W, 3).

    Returns:
        `grid_period2_x`: largest ratio among the lattice frequencies that alternate from column
        to column, whatever they do along y; `grid_period2_y`, `grid_period4_x`, `grid_period4_y`
        likewise. `grid_line`: the largest of the four; `grid_amplitude`: RMS of that line
        in grey levels of 255, above its neighbours. Both are needed: a faint texture of the
        picture can exceed `GRID_LINE` at an amplitude nobody sees.

    Raises:
        ValueError: if a side is shorter than 64 px.
    """
    batch = images[None] if images.ndim == 3 else images
    if min(batch.shape[1:3]) < TILE_PX:
        raise ValueError(
            f"grid_spectrum: pictures are {batch.shape[2]}x{batch.shape[1]}; the spectrum needs "
            f"{TILE_PX} px a side"
        )
    power = _power_spectrum(batch)
    result: dict[str, float] = {}
    lines: list[tuple[float, float]] = []  # ratio, mean square above the neighbours
    for name, spectrum in (("x", power.T), ("y", power)):  # the axis in question comes first
        for period in GRID_PERIODS_PX:
            centre = TILE_PX // period
            nearby = [centre + sign * step for sign in (-1, 1) for step in NEIGHBOURS]
            found = []
            for across in range(0, TILE_PX, TILE_PX // STRIDE_PX):
                peak = float(spectrum[centre, across])
                ground = float(np.exp(np.log(spectrum[nearby, across]).mean()))
                # a wave has a mirror image of the same power unless both its periods are 2 px
                twins = 1 if 2 * centre % TILE_PX == 2 * across % TILE_PX == 0 else 2
                found.append((peak / ground, twins * max(peak - ground, 0.0)))
            result[f"grid_period{period}_{name}"] = max(found)[0]
            lines.append(max(found))
    strongest, surplus = max(lines)
    return result | {"grid_line": strongest, "grid_amplitude": surplus**0.5}


def probe_scores(stylize: Stylize, image: np.ndarray) -> dict[str, float]:
    """All probes on one picture of at least 225 px on its longer side, flat.

    Args:
        stylize: uint8 (N, H, W, 3) RGB to the same.
        image: uint8 (H, W, 3), the picture to ask with; 640x360 is customary.

    Raises:
        ValueError: if the picture is too small for a probe.
    """
    return {
        "noise_flicker": noise_flicker(stylize, image),
        "far_leakage": far_leakage(stylize, image),
        **shift_rmse(stylize, image),
        "exposure_response": exposure_response(stylize, image),
        **grid_spectrum(stylize(image[None])),
        "grid_line_source": grid_spectrum(image)["grid_line"],
    }


def _paint(stylize: Stylize, image: np.ndarray) -> np.ndarray:
    """Output for one picture of any range, rounded to 8 bit on the way in; float64 (H, W, 3)."""
    frame = np.ascontiguousarray(image) if image.dtype == np.uint8 else image.round().clip(0, 255)
    return stylize(frame.astype(np.uint8)[None])[0].astype(np.float64)


def _relative_change(change: np.ndarray, output: np.ndarray) -> float:
    return float(np.sqrt(np.square(change).mean()) / max(output.std(), 1e-6))


def _power_spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power over the tiles of (N, H, W, C): (64, 64), y first, index k for k / 64 px^-1.

    Welch's method in two dimensions, scaled so that a wave's bins hold its mean square.
    """
    line = np.hanning(TILE_PX + 1)[:-1]  # periodic form
    window = np.outer(line, line)[..., None]
    total, tiles = np.zeros((TILE_PX, TILE_PX)), 0
    for top in range(0, images.shape[1] - TILE_PX + 1, TILE_PX // 2):
        for left in range(0, images.shape[2] - TILE_PX + 1, TILE_PX // 2):
            tile = images[:, top : top + TILE_PX, left : left + TILE_PX].astype(np.float64)
            tile -= tile.mean(axis=(1, 2), keepdims=True)
            spectrum = np.fft.fft2(tile * window, axes=(1, 2))
            total += np.square(np.abs(spectrum)).mean(axis=(0, 3))
            tiles += 1
    return total / tiles / window.sum() ** 2 + 1e-12  # a blank picture has no line
