"""The newest frame painted and shown, again and again."""

import logging
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastvid.runtime.film import Interrupted, Source, Statistics, make_report
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.brush import Brush, ready
from fastvid.runtime.live.capture import Capture, Caught
from fastvid.runtime.live.controls import Styles
from fastvid.runtime.live.desk import Desk, Screen
from fastvid.runtime.live.recorder import Recorder
from fastvid.runtime.live.virtual_camera import VirtualCamera
from fastvid.runtime.live.window import Window, has_display
from fastvid.runtime.pipeline import Encoding, open_target
from fastvid.runtime.report import Report
from fastvid.runtime.stages import Timing
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import MediaError

log = logging.getLogger(__name__)

# Frames painted so far, frames expected (None), and a remark.
OnFrame = Callable[[int, int | None, str], None]
_POLL_S = 0.05  # how long keys of the window may wait when no frame comes
_RECENT = 50  # frames that the latency of the progress line is of


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
    style_names: Sequence[str] = (),
    load_style: Callable[[str], Stylizer] | None = None,
    virtual_camera: bool = False,
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
        style_names: what the window's keys lead to; the first one is the stylizer's.
        load_style: loads one of them.
        virtual_camera: whether other programs shall see the painting as a camera; it needs no
            window where there is no display.
        open_window: makes the window; None is OpenCV's.

    Raises:
        RuntimeError: there can be no virtual camera, or the network fails.
        MediaError: neither a display nor a target, or the target cannot be written, or there is
            no frame.
        Interrupted: Ctrl-C. What a camera gave so far is complete; a film is kept as partial.
    """
    if target is None and open_window is None:
        if has_display():
            open_window = Window
        elif not virtual_camera:
            raise MediaError(f"{source.source}: no display for a window; -o FILE needs none")
    ready(stylizer, source.size)  # now, so that no frame waits for it
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(1, "fastvid-live"))
        brush = Brush(stylizer, finish, executor, statistics, steady)
        recorder = desk = camera = None
        if virtual_camera:
            rate = float(source.info.frame_rate)
            camera = stack.enter_context(VirtualCamera(finish.size(source.size), rate))
            log.info("virtual camera %s", camera.device)
        if target is not None:
            path = target
            recorder = stack.enter_context(
                Recorder(lambda: open_target(source, path, finish, encoding, excerpt_s))
            )
        elif open_window is not None:
            styles = None
            if load_style is not None and len(style_names) > 1:
                load = load_style
                styles = Styles(style_names, lambda name: ready(load(name), source.size), executor)
            window = stack.enter_context(open_window())
            desk = stack.enter_context(Desk(window, brush, source, encoding, styles))
        return _Live(source, brush, recorder, desk, camera, on_frame).run()


class _Live:
    """One run of `paint_live`."""

    def __init__(
        self,
        source: Source,
        brush: Brush,
        recorder: Recorder | None,
        desk: Desk | None,
        camera: VirtualCamera | None,
        on_frame: OnFrame | None,
    ) -> None:
        self.source = source
        self.brush = brush
        self.recorder = recorder
        self.desk = desk
        self.camera = camera
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
                    quit_early = self.desk is not None and not self.desk.react()
        except KeyboardInterrupt:
            interrupted = True
        partial = interrupted and self.source.source.is_file()
        kept = self.recorder.close(partial) if self.recorder is not None else None
        if interrupted:
            raise Interrupted(kept, self.num_frames)
        if self.num_frames == 0:
            raise MediaError(f"{self.source.source}: no frame could be read")
        figures = _figures(mailbox.num_dropped, self.latencies_s)
        log.info("%s: %s", self.source.source, _remark(figures))
        return make_report(
            self.source,
            self.brush.painter,
            num_frames=self.num_frames,
            kept=kept,
            statistics=self.brush.statistics,
            timings=self._timings(),
            wall_s=time.monotonic() - self.began,
            first_frame_s=self.first_frame_s,
            live={"frames_captured": mailbox.num_caught, **figures},
            encoder=self.recorder.encoder if self.recorder is not None else "",
        )

    def _paint(self, caught: Caught, num_dropped: int) -> None:
        begin = time.monotonic()
        image = self.brush(caught.frame)
        done = time.monotonic()
        self.net.add(done - begin)
        if self.recorder is not None:
            self.recorder.write(replace(caught.frame, image=image))
        if self.camera is not None:
            self.camera.send(image)
        if self.desk is not None:
            self.desk.show(caught.frame, image)
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
