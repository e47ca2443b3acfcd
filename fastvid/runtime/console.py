"""What every command has in common: messages, a progress line, errors of one line, exit codes."""

import argparse
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

log = logging.getLogger(__name__)

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

_TERMINAL_PAUSE_S = 0.2
_PLAIN_PAUSE_S = 5.0


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line and no abbreviated options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the call and leave with code 2."""
        self.exit(USAGE, f"error: {' '.join(message.split())} (see --help)\n")


class Console(logging.Handler):
    """Log records as lines on standard error, and a progress line that gives way to them.

    On a terminal the progress line is redrawn in place; elsewhere a plain line appears every five
    seconds.
    """

    def __init__(self, stream: TextIO | None = None, verbose: bool = False) -> None:
        super().__init__(logging.DEBUG if verbose else logging.INFO)
        self.stream = stream or sys.stderr
        self.verbose = verbose
        self._terminal = self.stream.isatty()
        self._drawn = False
        self._lock = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; warnings and errors carry their level in front."""
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        text = prefix + " ".join(record.getMessage().splitlines())
        if self.verbose and record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self.say(text)

    def say(self, text: str) -> None:
        """Write a whole line, above the progress line if there is one."""
        with self._lock:
            self._clear()
            self.stream.write(text + "\n")
            self.stream.flush()

    def draw(self, text: str) -> None:
        """Put the progress line there, in place of the one before."""
        with self._lock:
            if self._terminal:
                columns = shutil.get_terminal_size().columns
                self.stream.write(f"\r{text[: columns - 1]}\x1b[K")
                self._drawn = True
            else:
                self.stream.write(text + "\n")
            self.stream.flush()

    def finish(self) -> None:
        """Take the progress line away."""
        with self._lock:
            self._clear()
            self.stream.flush()

    def _clear(self) -> None:
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self._drawn = False

    @property
    def pause_s(self) -> float:
        """Seconds between two progress lines that a reader of this stream can bear."""
        return _TERMINAL_PAUSE_S if self._terminal else _PLAIN_PAUSE_S


class Progress:
    """Frames done, frames a second and time left of one film, drawn on a console."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._began = self._drawn_at = time.monotonic()

    def __call__(self, done: int, expected: int | None, remark: str = "") -> None:
        """Note that `done` of `expected` frames are written, and what else there is to say."""
        now = time.monotonic()
        if now - self._drawn_at < self._console.pause_s:
            return
        self._drawn_at = now
        rate = done / (now - self._began)
        text = f"{self._label}: {done}{f'/{expected}' if expected else ''} frames, {rate:.1f} fps"
        if expected:
            text += f", {duration(max(0, expected - done) / rate)} left"
        if remark:
            text += f", {remark}"
        self._console.draw(text)


def duration(seconds: float) -> str:
    """A length of time for people: `42 s`, `3:07 min`, `1:02:03 h`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{whole} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def run_command(command: Callable[[Console], int], verbose: bool = False) -> int:
    """Run a command with the package's log on standard error; returns the exit code.

    An exception becomes one line `error: ...` and code 1, with its traceback where `verbose`;
    Ctrl-C becomes code 130.
    """
    console = Console(verbose=verbose)
    root = logging.getLogger("fastvid")
    level, propagate = root.level, root.propagate
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(console)
    root.propagate = False
    try:
        return command(console)
    except KeyboardInterrupt:
        console.say("interrupted")
        return INTERRUPTED
    except Exception as error:  # the last resort: one line, whatever it was
        log_error(error)
        return FAILURE
    finally:
        console.finish()
        root.removeHandler(console)
        root.setLevel(level)
        root.propagate = propagate


def log_error(error: Exception) -> None:
    """One line for people; the traceback too where the console is verbose."""
    expected = isinstance(error, ValueError | RuntimeError | OSError | MemoryError)
    kind = "" if expected else f"unexpected {type(error).__name__}: "
    log.error("%s%s", kind, one_line(error), exc_info=error)


def one_line(error: Exception) -> str:
    """An exception's text without line breaks; its type where it has no text."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror.lower()}"
    return " ".join(str(error).split()) or type(error).__name__
