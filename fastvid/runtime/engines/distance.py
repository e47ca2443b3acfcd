"""How far an engine that calculates in fewer bits may be from float32."""

import numpy as np

MIN_PSNR_DB = 35.0


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB; infinite for equal ones."""
    error = np.square(first.astype(np.float32) - second).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
