"""What the keys of the window change."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from fastvid.runtime.finish import side_by_side
from fastvid.runtime.stylizer import Stylizer

HELP = (
    "n p  next, previous style",
    "+ -  stronger, weaker",
    "o    original or painting",
    "s    side by side",
    "r    record, stop recording",
    "f    full screen",
    "h    this help",
    "q    quit (Escape)",
)
_STEP = 0.1  # of the strength


@dataclass
class Controls:
    """What is shown and how.

    Attributes:
        strength: of the painting, 0 to 1; goes for what is recorded too.
        original: whether the source is shown in place of the painting.
        side_by_side: whether both are shown.
        help: whether the keys are listed.
        records: whether a recording is wanted.
        full_screen: whether the window fills the screen.
        style_steps: styles to go on (or back) that nobody has fetched yet.
        quits: whether it is over.
    """

    strength: float = 1.0
    original: bool = False
    side_by_side: bool = False
    help: bool = False
    records: bool = False
    full_screen: bool = False
    style_steps: int = 0
    quits: bool = False

    def press(self, key: str) -> None:
        """Do what a key stands for; others do nothing."""
        toggles = {
            "o": "original",
            "s": "side_by_side",
            "h": "help",
            "r": "records",
            "f": "full_screen",
        }
        if key in toggles:
            setattr(self, toggles[key], not getattr(self, toggles[key]))
        elif key in ("+", "="):  # the same key, with and without shift
            self.strength = min(1.0, round(self.strength + _STEP, 2))
        elif key == "-":
            self.strength = max(0.0, round(self.strength - _STEP, 2))
        elif key in ("n", "p"):
            self.style_steps += 1 if key == "n" else -1
        elif key == "q":
            self.quits = True

    def view(self, source: np.ndarray, image: np.ndarray) -> np.ndarray:
        """What to show, of the source and the finished painting (H, W, 3).

        A painting that stands beside its source already, twice as wide, is shown as it is.
        """
        if image.shape != source.shape:
            return image
        if self.side_by_side:
            return side_by_side(source, image)
        return source if self.original else image


class Styles:
    """The styles that keys lead to; another thread loads the next one while this one paints.

    Args:
        names: to go through, round and round; the first one paints already.
        load: makes a style ready to paint.
        executor: where it is loaded.

    Attributes:
        name: the style that is wanted; it may still be on its way.
    """

    def __init__(
        self, names: Sequence[str], load: Callable[[str], Stylizer], executor: Executor
    ) -> None:
        self.name = names[0]
        self._names = list(names)
        self._load = load
        self._executor = executor
        self._job: Future[Stylizer] | None = None
        self._painting = self.name

    def step(self, by: int) -> None:
        """Want the style that is so many further; the last wish counts."""
        place = (self._names.index(self.name) + by) % len(self._names)
        if self._names[place] == self.name:
            return
        self.name = self._names[place]
        if self._job is not None:
            self._job.cancel()
        # The one that paints is there: it must not be made ready while it is at work.
        is_painting = self.name == self._painting
        self._job = None if is_painting else self._executor.submit(self._load, self.name)

    def arrived(self) -> Stylizer | None:
        """The style that was wanted, once, when it is ready.

        Raises:
            Exception: what went wrong in loading it.
        """
        if self._job is None or not self._job.done():
            return None
        job, self._job = self._job, None
        stylizer = job.result()
        self._painting = self.name
        return stylizer
