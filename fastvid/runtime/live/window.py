"""A window on the screen."""

import os
import sys
from collections.abc import Sequence
from typing import Self

import numpy as np

from fastvid.image import load_cv2

TITLE = "fastvid (h helps, q quits)"
_ESCAPE = 27
_LINES_PER_HEIGHT = 24


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

    def show(self, image: np.ndarray, lines: Sequence[str] = ()) -> None:
        """Draw uint8 RGB (H, W, 3), and lines of text over it."""
        self._cv2.imshow(TITLE, write_lines(image, lines)[..., ::-1])

    def fill_screen(self, fills: bool) -> None:
        """Make the window as large as the screen, or as it was."""
        mode = self._cv2.WINDOW_FULLSCREEN if fills else self._cv2.WINDOW_NORMAL
        self._cv2.setWindowProperty(TITLE, self._cv2.WND_PROP_FULLSCREEN, mode)

    def key(self) -> str:
        """The key that was pressed, "" for none; "q" too when the window was closed."""
        code = self._cv2.waitKey(1) & 0xFF
        visible = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) >= 1
        if code == _ESCAPE or not visible:
            return "q"
        return chr(code) if code < 128 else ""


def write_lines(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """The picture with lines of text in its upper left corner; itself without lines."""
    if not lines:
        return image
    cv2 = load_cv2()
    written = image.copy()
    height = image.shape[0] / _LINES_PER_HEIGHT
    scale = height / 30  # the font is about 22 pixels high at scale 1
    thin = max(1, round(scale))
    for i, line in enumerate(lines, 1):
        place = round(height / 2), round(i * height)
        for color, width in ((0, 3 * thin), (255, thin)):  # legible on any ground
            cv2.putText(
                written, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, [color] * 3, width,
                cv2.LINE_AA,
            )  # fmt: skip
    return written
