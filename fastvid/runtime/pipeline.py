"""A film in, a painted film out: decode, network and encode at the same time, in bounded memory."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from fastvid.runtime.finish import Finish
from fastvid.runtime.gallery import DEFAULT_STYLE
from fastvid.runtime.jobs import default_target
from fastvid.runtime.report import Report, describe_stages, peak_memory_mib, versions
from fastvid.runtime.stages import QUEUE_LENGTH, Items, overlap
from fastvid.runtime.stylizer import MIN_SIDE_PX, Device, Stylizer, load
from fastvid.video import (
    Frame,
    MediaError,
    ReadReport,
    SequenceWriter,
    VideoInfo,
    VideoReader,
    Writer,
    open_writer,
)
from fastvid.video.stills import is_sequence, list_images

log = logging.getLogger(__name__)

Audio = Literal["copy", "aac", "none"]
Progress = Callable[[int, int | None], None]
MAX_FAILURES = 8  # frames in a row that the network may fail on before the film is given up


@dataclass(frozen=True)
class Encoding:
    """How the result is written.

    Attributes:
        codec: FFmpeg's name of the encoder; None is H.264.
        crf: quality, lower is better; None is the encoder's sensible value.
        preset: speed of the encoder; None is its sensible value.
        audio: `copy` the packets, encode `aac`, or `none`.
        overwrite: replace an existing target.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    audio: Audio = "copy"
    overwrite: bool = False


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

    def report(self) -> ReadReport:
        """What was read against what was promised."""

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


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


def stylize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    style: str | Path = DEFAULT_STYLE,
    strength: float = 1.0,
    keep_colors: bool = False,
    height_px: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    side_by_side: bool = False,
    device: Device = "auto",
    crf: float | None = None,
    preset: str | None = None,
    codec: str | None = None,
    audio: Audio = "copy",
    overwrite: bool = False,
    stylizer: Stylizer | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Paint a film, an image or a sequence of images; as many frames come out as go in.

    The network works on the source's own size, or on `height_px`, which then is the output's
    height too. A frame that the network fails on is replaced by the source's with a warning.

    Args:
        source: video file, image, folder of images, printf or glob pattern of images.
        target: file, folder or pattern to write; None is `<stem>.<style>.<ext>` beside the source.
        style: a name of `fastvid.list_styles()` or the path of an ONNX file.
        strength: 0 gives the source, 1 the painting, between them a blend.
        keep_colors: luma of the painting, chroma of the source.
        height_px: rows to paint and to write.
        start_s: first instant, seconds from the beginning.
        end_s: where to stop.
        side_by_side: source left, painting right, in one picture of twice the width.
        device: `auto`, `cpu` or `cuda` (fails where CUDA would not really run).
        crf: quality, lower is better; None is the encoder's sensible value.
        preset: speed of the encoder; None is its sensible value.
        codec: FFmpeg's name of the encoder; None is H.264.
        audio: `copy` the packets, encode `aac`, or `none`.
        overwrite: replace an existing target.
        stylizer: a loaded one, in place of what `style` and `device` would load.
        on_progress: called with (frames written, frames expected or None) from another thread.

    Raises:
        ValueError: unknown style, foreign model, wrong option, picture too small.
        FileNotFoundError: the model's path does not exist.
        MediaError: the source cannot be read or the target not be written.
        RuntimeError: the engine does not run.
        Interrupted: Ctrl-C; a playable part is kept as `<stem>.partial.<ext>`.
    """
    finish = Finish(strength, keep_colors, side_by_side)
    encoding = Encoding(codec, crf, preset, audio, overwrite)
    reader = VideoReader(source, start_s, end_s, height_px)
    if stylizer is None:
        stylizer = load(style, device)
    target = default_target(reader.source, stylizer.name) if target is None else Path(target)
    return paint(reader, target, stylizer, finish, encoding, (start_s, end_s), on_progress)


def paint(
    source: Source,
    target: Path,
    stylizer: Stylizer,
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
    on_progress: Progress | None = None,
) -> Report:
    """Paint whatever gives frames into `target`; raises and returns as `stylize` does.

    Args:
        source: gives the frames; opened and closed here.
        target: file, folder or pattern to write.
        stylizer: the loaded network.
        finish: what happens to a painted frame.
        encoding: how the result is written.
        excerpt_s: start and end that the source was opened with, seconds, for the sound.
        on_progress: see `stylize`.
    """
    h, w = source.size
    if min(h, w) < MIN_SIDE_PX:
        raise ValueError(
            f"{source.source}: picture is {w}x{h} pixels, "
            f"at least {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed"
        )
    if target.exists() and source.source.exists() and target.samefile(source.source):
        raise MediaError(f"{target}: is the input itself; choose another output")
    expected = expected_frames(source.info, *excerpt_s)
    film = Film(
        source,
        lambda: open_target(source, target, finish, encoding, excerpt_s),
        Painter(stylizer),
        finish,
        expected,
        on_progress,
    )
    return film.run()


def open_target(
    source: Source,
    target: Path,
    finish: Finish,
    encoding: Encoding,
    excerpt_s: tuple[float | None, float | None] = (None, None),
) -> Writer:
    """The writer for a source's painting; belongs to the thread that calls this."""
    if "%" in target.name and is_sequence(source.source):  # keep the numbers of the source
        first = re.search(r"(\d+)\D*$", list_images(source.source)[0].name)
        return SequenceWriter(
            target, encoding.overwrite, start_number=int(first[1]) if first else 1
        )
    return open_writer(
        target,
        source.info,
        finish.size(source.size),
        codec=encoding.codec or "libx264",
        crf=encoding.crf,
        preset=encoding.preset,
        audio=encoding.audio,
        overwrite=encoding.overwrite,
        start_s=excerpt_s[0],
        end_s=excerpt_s[1],
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


class Painter:
    """One frame through the network; a failing frame gives the source's own picture.

    Attributes:
        num_replaced: frames that failed.
    """

    def __init__(self, stylizer: Stylizer) -> None:
        self.stylizer = stylizer
        self.num_replaced = 0
        self._in_a_row = 0
        self._worked = False

    def __call__(self, frame: Frame) -> tuple[Frame, np.ndarray]:
        """The frame and its painting, uint8 (H, W, 3).

        Raises:
            RuntimeError: the very first frame fails, or `MAX_FAILURES` in a row: then it is not
                the frame.
        """
        try:
            painted = self.stylizer(frame.image[None])[0]
        except RuntimeError as error:
            self._in_a_row += 1
            if not self._worked or self._in_a_row >= MAX_FAILURES:
                raise
            self.num_replaced += 1
            log.warning("frame at %.3f s stays unpainted: %s", frame.time_s, error)
            return frame, frame.image
        self._worked = True
        self._in_a_row = 0
        return frame, painted


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
    ) -> None:
        self.source = source
        self.painter = painter
        self.finish = finish
        self.num_frames = 0
        self.kept: Path | None = None
        self.first_frame_s = 0.0
        self._open_target = open_target
        self._expected = expected
        self._length = length
        self._on_progress = on_progress
        self._began = 0.0

    def run(self) -> Report:
        """Run the stages to the end; see `stylize` for what is raised."""
        self._began = time.perf_counter()
        try:
            timings = overlap(self._decode, self.painter, self._encode, self._length)
        except KeyboardInterrupt:
            raise Interrupted(self.kept, self.num_frames) from None
        if self.num_frames == 0:
            raise MediaError(f"{self.source.source}: no frame could be read")
        wall_s = time.perf_counter() - self._began
        reading = self.source.report()
        stages, bottleneck = describe_stages(timings, wall_s)
        stylizer = self.painter.stylizer
        return Report(
            source=str(self.source.source),
            target=str(self.kept or ""),
            style=stylizer.name,
            engine=stylizer.engine,
            device=stylizer.device,
            frames=self.num_frames,
            frames_replaced=self.painter.num_replaced,
            frames_missing=reading.missing_frames,
            packets_damaged=reading.num_damaged,
            damage="" if reading.complete else str(reading),
            width_px=self.source.size[1],
            height_px=self.source.size[0],
            wall_s=round(wall_s, 3),
            first_frame_s=round(self.first_frame_s, 3),
            fps=round(self.num_frames / wall_s, 2),
            stages=stages,
            bottleneck=bottleneck,
            peak_memory_mib=peak_memory_mib(),
            versions=versions(),
        )

    def _decode(self) -> Iterator[Frame]:
        with self.source:
            yield from self.source

    def _encode(self, items: Items[tuple[Frame, np.ndarray]]) -> None:
        # The writer belongs to the thread that makes it, this one.
        with ExitStack() as stack:
            writer = stack.enter_context(self._open_target())  # an exception leaves no file
            for frame, painted in items:
                writer.write(replace(frame, image=self.finish(frame.image, painted)))
                self.num_frames += 1
                if self.num_frames == 1:
                    self.first_frame_s = time.perf_counter() - self._began
                if self._on_progress is not None:
                    self._on_progress(self.num_frames, self._expected)
            stack.pop_all()
        self.kept = writer.close(partial=items.interrupted)
