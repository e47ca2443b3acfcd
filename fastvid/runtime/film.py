"""One film on its way through decode, network and encode, all three at once."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np

from fastvid.runtime.engines.protocol import Paint
from fastvid.runtime.finish import Finish
from fastvid.runtime.report import Report, describe_stages, peak_memory_mib, versions
from fastvid.runtime.shots import ShotFrame, in_shots
from fastvid.runtime.stages import QUEUE_LENGTH, Items, Timing, overlap
from fastvid.runtime.steady import Steady
from fastvid.runtime.stylizer import Stylizer
from fastvid.video import Frame, MediaError, ReadReport, VideoInfo, Writer

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
Statistics = Literal["shot", "frame"]
STATISTICS: tuple[Statistics, ...] = ("shot", "frame")
MAX_FAILURES = 8  # frames in a row that the network may fail on before the film is given up


class Source(Protocol):
    """What frames come from: a `VideoReader`, or anything else that can say what it is."""

    @property
    def source(self) -> Path:
        """Where the frames come from, for messages; need not exist."""

    @property
    def info(self) -> VideoInfo:
        """What the source is."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames handed out."""

    @property
    def decoder(self) -> str:
        """What has decoded the frames; empty where they are not decoded here."""

    def report(self) -> ReadReport:
        """What was read against what was promised."""

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """A frame after its turn at the network.

    Attributes:
        frame: the frame.
        painted: uint8 (H, W, 3), or why there is none.
    """

    frame: Frame
    painted: np.ndarray | RuntimeError


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after what had been painted was made playable.

    Attributes:
        kept: the partial file, None when there was no frame yet.
        num_frames: frames in it.
    """

    def __init__(self, kept: Path | None, num_frames: int) -> None:
        super().__init__(f"interrupted after {num_frames} frames")
        self.kept = kept
        self.num_frames = num_frames


class Painter:
    """Frames through the network; a failing frame gives the source's own picture.

    Args:
        stylizer: the network.
        lanes: frames of the first one's size that are painted at once; larger ones, as there may be
            among images, are painted alone.

    Attributes:
        num_replaced: frames that failed.
        num_shots: how often the network was adapted.
    """

    def __init__(self, stylizer: Stylizer, lanes: int = 1) -> None:
        self.stylizer = stylizer
        self.lanes = lanes
        self.num_replaced = 0
        self.num_shots = 0
        self._in_a_row = 0
        self._worked = False
        self._first_pixels: int | None = None

    def __call__(self, item: ShotFrame) -> tuple[Frame, np.ndarray]:
        """The frame and its painting, uint8 (H, W, 3); `begin`, the job and `settle` in one.

        Raises:
            RuntimeError: see `settle`.
        """
        return self.settle(self.begin(item)())

    def begin(self, item: ShotFrame) -> Callable[[], Outcome]:
        """The job of painting the frame at the statistics of its shot; to be called in order.

        With several lanes the job may be done in any thread, together with others.
        """
        frame = item.frame
        pixels = frame.image.shape[0] * frame.image.shape[1]
        self._first_pixels = self._first_pixels or pixels
        paint: Paint = self.stylizer
        try:
            self.stylizer.at(frame.time_s)
            if item.keys is not None:
                self.stylizer.adapt(item.keys)
                self.num_shots += 1
            if self.lanes > 1 and pixels <= self._first_pixels:
                paint = self.stylizer.frozen(frame.image, self.lanes)
        except RuntimeError as error:
            return partial(Outcome, frame, error)
        if self.lanes > 1 and pixels > self._first_pixels:
            outcome = _paint(paint, frame)  # here and now, while no other one begins
            return lambda: outcome
        return partial(_paint, paint, frame)

    def settle(self, outcome: Outcome) -> tuple[Frame, np.ndarray]:
        """The frame and what stands for its painting, uint8 (H, W, 3); to be called in order.

        Raises:
            RuntimeError: the very first frame failed, or `MAX_FAILURES` in a row: then it is not
                the frame.
        """
        frame, painted = outcome.frame, outcome.painted
        if not isinstance(painted, RuntimeError):
            self._worked = True
            self._in_a_row = 0
            return frame, painted
        self._in_a_row += 1
        if not self._worked or self._in_a_row >= MAX_FAILURES:
            raise painted
        self.num_replaced += 1
        log.warning("frame at %.3f s stays unpainted: %s", frame.time_s, painted)
        return frame, frame.image


def _paint(paint: Paint, frame: Frame) -> Outcome:
    try:
        return Outcome(frame, paint(frame.image[None])[0])
    except RuntimeError as error:
        return Outcome(frame, error)


class Film:
    """One film on its way through the three stages."""

    def __init__(
        self,
        source: Source,
        open_target: Callable[[], Writer],
        painter: Painter,
        finish: Finish,
        expected: int | None = None,
        on_progress: Progress | None = None,
        length: int = QUEUE_LENGTH,
        statistics: Statistics = "frame",
        steady: Steady | None = None,
        shots: Callable[[Iterable[Frame]], Iterable[ShotFrame]] | None = None,
    ) -> None:
        self.source = source
        self.painter = painter
        self.finish = finish
        self.num_frames = 0
        self.kept: Path | None = None
        self.first_frame_s = 0.0
        self.encoder = ""
        self._open_target = open_target
        self._expected = expected
        self._length = length
        self._statistics = statistics
        self._shots = shots or (in_shots if statistics == "shot" else partial(map, ShotFrame))
        self._on_progress = on_progress
        self._steady = steady
        self._began = 0.0

    def run(self) -> Report:
        """Run the stages to the end; see `stylize` for what is raised."""
        self._began = time.perf_counter()
        try:
            timings = overlap(
                self._decode, self.painter.begin, self._encode, self._length, self.painter.lanes
            )
        except KeyboardInterrupt:
            raise Interrupted(self.kept, self.num_frames) from None
        if self.num_frames == 0:
            raise MediaError(f"{self.source.source}: no frame could be read")
        return make_report(
            self.source,
            self.painter,
            num_frames=self.num_frames,
            kept=self.kept,
            statistics=self._statistics,
            timings=dict(zip(("decode", "net", "encode"), timings, strict=True)),
            wall_s=time.perf_counter() - self._began,
            first_frame_s=self.first_frame_s,
            encoder=self.encoder,
        )

    def _decode(self) -> Iterator[ShotFrame]:
        with self.source:
            yield from self._shots(self.source)

    def _encode(self, items: Items[Outcome]) -> None:
        # The writer belongs to the thread that makes it, this one.
        with ExitStack() as stack:
            writer = stack.enter_context(self._open_target())  # an exception leaves no file
            self.encoder = writer.codec
            for frame, painted in map(self.painter.settle, items):
                if self._steady is not None:
                    painted = self._steady(frame.image, painted)
                writer.write(replace(frame, image=self.finish(frame.image, painted)))
                self.num_frames += 1
                if self.num_frames == 1:
                    self.first_frame_s = time.perf_counter() - self._began
                if self._on_progress is not None:
                    self._on_progress(self.num_frames, self._expected)
            stack.pop_all()
        self.kept = writer.close(partial=items.interrupted)


def make_report(
    source: Source,
    painter: Painter,
    *,
    num_frames: int,
    kept: Path | None,
    statistics: str,
    timings: Mapping[str, Timing],
    wall_s: float,
    first_frame_s: float,
    live: Mapping[str, float] | None = None,
    encoder: str = "",
) -> Report:
    """The report of a run that has come to its end; see `Report` for the arguments."""
    reading = source.report()
    stages, bottleneck = describe_stages(timings, wall_s)
    stylizer = painter.stylizer
    return Report(
        source=str(source.source),
        target=str(kept or ""),
        style=stylizer.name,
        engine=stylizer.engine,
        device=stylizer.device,
        frames=num_frames,
        frames_replaced=painter.num_replaced,
        statistics=statistics,
        shots=painter.num_shots,
        frames_missing=reading.missing_frames + len(reading.names),
        packets_damaged=reading.num_damaged,
        damage="" if reading.complete else str(reading),
        width_px=source.size[1],
        height_px=source.size[0],
        wall_s=round(wall_s, 3),
        first_frame_s=round(first_frame_s, 3),
        fps=round(num_frames / wall_s, 2),
        frames_at_once=painter.lanes,
        stages=stages,
        bottleneck=bottleneck,
        peak_memory_mib=peak_memory_mib(),
        versions=versions(),
        live=live,
        decoder=source.decoder,
        encoder=encoder,
    )


def expected_frames(info: VideoInfo, start_s: float | None, end_s: float | None) -> int | None:
    """How many frames an excerpt will have, about; None where the source does not say."""
    length_s = info.duration_s
    if start_s is None and end_s is None and info.num_frames:
        return info.num_frames
    if length_s is None:
        return None
    length_s = min(length_s, end_s or length_s) - (start_s or 0.0)
    return max(1, round(length_s * float(info.frame_rate)))
