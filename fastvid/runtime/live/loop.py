"""The newest frame painted and shown, again and again."""

import logging
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fastvid.runtime.film import Interrupted, Painter, Source, Statistics, make_report
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.capture import Capture, Caught
from fastvid.runtime.live.recorder import Recorder
from fastvid.runtime.live.statistics import SlowStatistics
from fastvid.runtime.live.window import Window, has_display
from fastvid.runtime.pipeline import Encoding, open_target
from fastvid.runtime.report import Report
from fastvid.runtime.shots import ShotFrame
from fastvid.runtime.stages import Timing
from fastvid.runtime.steady import Steady
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import MediaError

log = logging.getLogger(__name__)

# Frames painted so far, frames expected (None), and a remark.
OnFrame = Callable[[int, int | None, str], None]
_POLL_S = 0.05  # how long keys of the window may wait when no frame comes
_RECENT = 50  # frames that the latency of the progress line is of


class Screen(AbstractContextManager, Protocol):
    """What a loop needs of a window."""

    def show(self, image: np.ndarray) -> None:
        """Draw uint8 RGB (H, W, 3)."""

    def key(self) -> str:
        """The key that was pressed, "" for none."""


def paint_live(
    source: Source,
    target: Path | None,
    stylizer: Stylizer,
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
    on_frame: OnFrame | None = None,
    statistics: Statistics = "shot",
    steady: bool = False,
    open_window: Callable[[], Screen] | None = None,
) -> Report:
    """Paint a source that does not wait, until it ends, its window is closed, or Ctrl-C.

    With a target there is no window. The target's frames keep their times: one that was dropped
    leaves the one before it on for longer.

    Args:
        source: gives the frames; opened and closed here, in a thread of its own.
        target: file to write, None for a window.
        stylizer: the loaded network.
        finish: what happens to a painted frame.
        encoding: how the target is written; the sound is the source's if that is a file.
        excerpt_s: start and end that the source was opened with, seconds, for the sound.
        on_frame: called after every frame.
        statistics: `shot` holds the network's normalisation at a slow average of what was seen;
            `frame` takes every frame's own.
        steady: smooth the painting over time; needs OpenCV.
        open_window: makes the window; None is OpenCV's.

    Raises:
        MediaError: neither a display nor a target, or the target cannot be written, or there is
            no frame.
        Interrupted: Ctrl-C. What a camera gave so far is complete; a film is kept as partial.
    """
    if target is None and open_window is None:
        if not has_display():
            raise MediaError(f"{source.source}: no display for a window; -o FILE needs none")
        open_window = Window
    stylizer.adapt(None)  # it may still hold the statistics of a film
    stylizer(np.zeros((1, *source.size, 3), np.uint8))  # the engine is made now, not while it runs
    with ExitStack() as stack:
        smooth = Steady() if steady else None
        slow = None
        if statistics == "shot":
            executor = stack.enter_context(ThreadPoolExecutor(1, "fastvid-statistics"))
            slow = SlowStatistics(stylizer, executor)
        recorder = window = None
        if target is not None:
            path = target
            recorder = stack.enter_context(
                Recorder(lambda: open_target(source, path, finish, encoding, excerpt_s))
            )
        elif open_window is not None:
            window = stack.enter_context(open_window())
        painter = Painter(stylizer)
        return _Live(source, painter, finish, recorder, window, on_frame, slow, smooth).run()


class _Live:
    """One run of `paint_live`."""

    def __init__(
        self,
        source: Source,
        painter: Painter,
        finish: Finish,
        recorder: Recorder | None,
        window: Screen | None,
        on_frame: OnFrame | None,
        slow: SlowStatistics | None,
        steady: Steady | None,
    ) -> None:
        self.steady = steady
        self.slow = slow
        self.source = source
        self.painter = painter
        self.finish = finish
        self.recorder = recorder
        self.window = window
        self.on_frame = on_frame
        self.num_frames = 0
        self.first_frame_s = 0.0
        self.began = time.monotonic()
        self.net, self.show = Timing(), Timing()
        self.latencies_s = array("d")  # from capture to shown, of every frame

    def run(self) -> Report:
        """Paint until the end; see `paint_live`."""
        capture = Capture(self.source)
        mailbox = capture.mailbox
        interrupted = quit_early = False
        try:
            with capture:
                while not (mailbox.finished or quit_early):
                    caught = mailbox.take(_POLL_S)
                    if caught is not None:
                        self._paint(caught, mailbox.num_dropped)
                    quit_early = self.window is not None and self.window.key() == "q"
        except KeyboardInterrupt:
            interrupted = True
        partial = interrupted and self.source.source.is_file()
        kept = self.recorder.close(partial) if self.recorder is not None else None
        if interrupted:
            raise Interrupted(kept, self.num_frames)
        if self.num_frames == 0:
            raise MediaError(f"{self.source.source}: no frame could be read")
        figures = _figures(mailbox.num_dropped, self.latencies_s)
        if self.slow is not None:
            self.painter.num_shots = self.slow.num_shots
        log.info("%s: %s", self.source.source, _remark(figures))
        return make_report(
            self.source,
            self.painter,
            num_frames=self.num_frames,
            kept=kept,
            statistics="frame" if self.slow is None else "slow",
            timings=self._timings(),
            wall_s=time.monotonic() - self.began,
            first_frame_s=self.first_frame_s,
            live={"frames_captured": mailbox.num_caught, **figures},
        )

    def _paint(self, caught: Caught, num_dropped: int) -> None:
        begin = time.monotonic()
        if self.slow is not None:
            self.painter.stylizer = self.slow(caught.frame)
        frame, painted = self.painter(ShotFrame(caught.frame))
        if self.steady is not None:
            painted = self.steady(frame.image, painted)
        image = self.finish(frame.image, painted)
        done = time.monotonic()
        self.net.add(done - begin)
        if self.recorder is not None:
            self.recorder.write(replace(frame, image=image))
        if self.window is not None:
            self.window.show(image)
        shown = time.monotonic()
        self.show.add(shown - done)
        self.latencies_s.append(shown - caught.at_s)
        self.num_frames += 1
        if self.num_frames == 1:
            self.first_frame_s = shown - self.began
        if self.on_frame is not None:
            recent = _figures(num_dropped, self.latencies_s[-_RECENT:])
            self.on_frame(self.num_frames, None, _remark(recent))

    def _timings(self) -> dict[str, Timing]:
        timings = {"net": self.net, "show": self.show}
        if self.recorder is not None:
            timings["encode"] = self.recorder.timing
        return timings


def _figures(num_dropped: int, latencies_s: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(latencies_s, (50, 95)) * 1e3
    return {
        "frames_dropped": num_dropped,
        "latency_ms_p50": round(float(p50), 1),
        "latency_ms_p95": round(float(p95), 1),
    }


def _remark(figures: Mapping[str, float]) -> str:
    text = "{frames_dropped} dropped, latency {latency_ms_p50} ms, 95 % below {latency_ms_p95}"
    return text.format_map(figures)
