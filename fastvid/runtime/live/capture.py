"""The newest frame of a source that does not wait."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fastvid.runtime.film import Source
from fastvid.video import Frame

_PATIENCE_S = 5.0  # for a camera that is inside its driver when it is told to end


@dataclass(frozen=True)
class Caught:
    """A frame and when it came.

    Attributes:
        frame: the frame.
        at_s: the clock when the source handed it out.
    """

    frame: Frame
    at_s: float


class Mailbox:
    """Room for one frame between two threads: a new frame takes the place of one not fetched.

    Attributes:
        num_caught: frames put in.
        num_dropped: frames whose place was taken.
    """

    def __init__(self) -> None:
        self.num_caught = 0
        self.num_dropped = 0
        self._newest: Caught | None = None
        self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def put(self, caught: Caught) -> None:
        """Put in a frame; never waits."""
        with self._changed:
            self.num_caught += 1
            self.num_dropped += self._newest is not None
            self._newest = caught
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Caught | None:
        """The newest frame, as soon as there is one; None when none comes in time or ever.

        Raises:
            Exception: the one that the mailbox was closed with, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._closed, timeout_s)
            newest, self._newest = self._newest, None
            if newest is None and self._error is not None:
                raise self._error
            return newest

    def close(self, error: Exception | None = None) -> None:
        """No more frames will come, because of an error if one is given."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether the last frame was fetched and no more will come."""
        with self._changed:
            return self._closed and self._newest is None and self._error is None


class Capture:
    """Reads a source in a thread of its own into a mailbox, while inside a `with` block.

    Args:
        source: opened, read and closed by that thread.
        clock: seconds that only rise.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self.mailbox = Mailbox()
        self._source = source
        self._clock = clock
        self._unwanted = threading.Event()
        # A driver may hang for ever; a thread inside it must not keep the program alive.
        self._thread = threading.Thread(target=self._read, name="fastvid-capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._unwanted.set()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()  # wakes a source that waits for the time of its next frame
        self._thread.join(_PATIENCE_S)

    def _read(self) -> None:
        try:
            with self._source:
                for frame in self._source:
                    if self._unwanted.is_set():
                        break
                    self.mailbox.put(Caught(frame, self._clock()))
        except Exception as error:  # carried to the thread that fetches
            self.mailbox.close(error)
        else:
            self.mailbox.close()
