"""What can be written to, and which writer a name asks for."""

import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fastvid.video.source import Frame, VideoInfo
from fastvid.video.stills import OUTPUT_IMAGE_SUFFIXES
from fastvid.video.stills_writer import ImageWriter, SequenceWriter
from fastvid.video.tracks import AudioMode
from fastvid.video.writer import VideoWriter


class Writer(Protocol):
    """What `VideoWriter`, `ImageWriter` and `SequenceWriter` have in common.

    Attributes:
        num_frames: pictures written.
        codec: FFmpeg's name of the encoder.
    """

    num_frames: int
    codec: str

    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def close(self, partial: bool = False) -> Path | None:
        """Finish; returns the path that was kept, None if there was nothing to keep."""

    def abort(self) -> None:
        """Give up; nothing unfinished is left behind."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_writer(
    target: str | os.PathLike[str],
    info: VideoInfo,
    size: tuple[int, int] | None = None,
    codec: str = "libx264",
    crf: float | None = None,
    preset: str | None = None,
    audio: AudioMode = "copy",
    overwrite: bool = False,
    start_s: float | None = None,
    end_s: float | None = None,
    as_piece: bool = False,
) -> Writer:
    """The writer that a target's name asks for.

    `out.png` is an image; `out/x_%04d.png`, a folder, or a name without a suffix is a sequence;
    the rest are films. Arguments and errors are those of `VideoWriter`.
    """
    path = Path(target)
    is_image_name = path.suffix.lower() in OUTPUT_IMAGE_SUFFIXES
    if path.is_dir() or not path.suffix or (is_image_name and "%" in path.name):
        return SequenceWriter(path, overwrite)
    if is_image_name:
        return ImageWriter(path, size, overwrite)
    return VideoWriter(
        path, info, size, codec, crf, preset, audio, overwrite, start_s, end_s, as_piece
    )
