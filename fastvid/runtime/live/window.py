"""A window on the screen."""

import os
import sys
from typing import Self

import numpy as np

from fastvid.image import load_cv2

TITLE = "fastvid (q closes)"
_ESCAPE = 27


def has_display() -> bool:
    """Whether a window can be opened; OpenCV ends the process when it tries without a display."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Window:
    """One window of OpenCV's; belongs to the thread that makes it, on macOS the main one.

    Raises:
        RuntimeError: if OpenCV cannot be loaded.
    """

    def __init__(self) -> None:
        self._cv2 = load_cv2()
        self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._cv2.destroyAllWindows()

    def show(self, image: np.ndarray) -> None:
        """Draw uint8 RGB (H, W, 3)."""
        self._cv2.imshow(TITLE, image[..., ::-1])

    def key(self) -> str:
        """The key that was pressed, "" for none; "q" too when the window was closed."""
        code = self._cv2.waitKey(1) & 0xFF
        visible = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) >= 1
        if code == _ESCAPE or not visible:
            return "q"
        return chr(code) if code < 128 else ""
