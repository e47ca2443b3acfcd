"""The painting as a camera that other programs can choose; needs the extra `live`."""

import importlib
import sys
from typing import Self

import numpy as np

from fastvid.runtime.engines.protocol import first_line

_DEVICES = {
    "linux": "load the kernel module v4l2loopback",
    "darwin": "install OBS and start its virtual camera once",
    "win32": "install OBS, which brings one",
}


class VirtualCamera:
    """A camera device that shows what is sent to it.

    Args:
        size: (H, W) of the pictures.
        frame_rate: that other programs are told, frames a second.

    Raises:
        RuntimeError: pyvirtualcam or the device that it needs is missing.
    """

    def __init__(self, size: tuple[int, int], frame_rate: float) -> None:
        try:
            pyvirtualcam = importlib.import_module("pyvirtualcam")
        except ImportError as error:
            raise RuntimeError(
                f"virtual camera: pyvirtualcam cannot be loaded ({first_line(error)}); "
                "install the extra: pip install 'fastvid[live]'"
            ) from None
        h, w = size
        try:
            self._camera = pyvirtualcam.Camera(
                width=w, height=h, fps=frame_rate, fmt=pyvirtualcam.PixelFormat.RGB
            )
        except Exception as error:  # each system's backend has its own
            remedy = _DEVICES.get(sys.platform, "see pyvirtualcam's documentation")
            raise RuntimeError(
                f"virtual camera: there is no device for it ({first_line(error)}); {remedy}"
            ) from None
        self.device = str(self._camera.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._camera.close()

    def send(self, image: np.ndarray) -> None:
        """Show uint8 RGB (H, W, 3)."""
        self._camera.send(np.ascontiguousarray(image))
