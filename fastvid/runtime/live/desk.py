"""The window with its keys: what is shown, what is recorded, which style paints."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from fastvid.runtime.film import Source
from fastvid.runtime.jobs import default_target
from fastvid.runtime.live.brush import Brush
from fastvid.runtime.live.controls import HELP, Controls, Styles
from fastvid.runtime.live.recorder import Recorder
from fastvid.runtime.pipeline import Encoding, open_target
from fastvid.video import Frame

log = logging.getLogger(__name__)


class Screen(AbstractContextManager, Protocol):
    """What a loop needs of a window."""

    def show(self, image: np.ndarray, lines: Sequence[str] = ()) -> None:
        """Draw uint8 RGB (H, W, 3), and lines of text over it."""

    def fill_screen(self, fills: bool) -> None:
        """Make the window as large as the screen, or as it was."""

    def key(self) -> str:
        """The key that was pressed, "" for none."""


class Desk:
    """Shows pictures in a window and does what its keys say.

    Args:
        window: where they are shown.
        brush: what the keys change.
        source: what is painted; recordings are named after it.
        encoding: how recordings are written, without sound.
        styles: what the keys for styles lead to, if there are several.
    """

    def __init__(
        self,
        window: Screen,
        brush: Brush,
        source: Source,
        encoding: Encoding,
        styles: Styles | None,
    ) -> None:
        self.controls = Controls(strength=brush.finish.strength)
        self._window = window
        self._brush = brush
        self._source = source
        self._encoding = replace(encoding, audio="none", overwrite=False)
        self._styles = styles
        self._fills_screen = False
        self._recorder: Recorder | None = None
        self._recorded = ExitStack()  # drops a recording that an error interrupts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None or not issubclass(kind, Exception):  # Ctrl-C is a way to end, too
                self._stop_recording()
        finally:
            self._recorded.close()

    def show(self, frame: Frame, image: np.ndarray) -> None:
        """Show a finished picture, and record it if that is wanted."""
        if self.controls.records and self._recorder is None:
            self._recorder = self._start_recording(frame)
        if self._recorder is not None:
            self._recorder.write(replace(frame, image=image))
        self._window.show(self.controls.view(frame.image, image), self._lines())

    def react(self) -> bool:
        """Do what the pressed key says; False when it says to end."""
        controls, finish = self.controls, self._brush.finish
        controls.press(self._window.key())
        if controls.strength != finish.strength:
            self._brush.finish = replace(finish, strength=controls.strength)
        if controls.full_screen != self._fills_screen:
            self._fills_screen = controls.full_screen
            self._window.fill_screen(self._fills_screen)
        if not controls.records:
            self._stop_recording()
        self._change_style()
        return not controls.quits

    def _change_style(self) -> None:
        steps, self.controls.style_steps = self.controls.style_steps, 0
        if self._styles is None:
            return
        if steps:
            self._styles.step(steps)
        try:
            stylizer = self._styles.arrived()
        except Exception as error:  # the style that paints goes on
            log.warning("style %s: %s", self._styles.name, error)
            return
        if stylizer is not None:
            self._brush.take(stylizer)

    def _start_recording(self, frame: Frame) -> Recorder:
        source, style = self._source, self._brush.painter.stylizer.name
        if source.source.is_file():
            wanted = default_target(source.source, style)
        else:
            wanted = Path(f"{source.source.name.replace(':', '')}.{style}.mp4")
        target, number = wanted, 2
        while target.exists():
            target = wanted.with_stem(f"{wanted.stem}-{number}")
            number += 1
        begin_s = frame.time_s - float(source.info.start_s)
        finish = self._brush.finish
        recorder = Recorder(
            lambda: open_target(source, target, finish, self._encoding, (begin_s, None))
        )
        log.info("recording %s", target)
        return self._recorded.enter_context(recorder)

    def _stop_recording(self) -> None:
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        log.info("recorded %s", recorder.close())

    def _lines(self) -> Sequence[str]:
        lines = ["recording"] if self.controls.records else []
        if self.controls.help:
            name = self._brush.painter.stylizer.name
            if self._styles is not None:
                name = self._styles.name
            lines += [f"{name}, strength {self.controls.strength:.1f}", *HELP]
        return lines
