"""Which encoder of the machine's video hardware works here: the one that encodes a frame."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from fastvid.video.encoders import HARDWARE_ENCODERS
from fastvid.video.source import Frame, MediaError, VideoInfo, describe, open_container
from fastvid.video.writer import VideoWriter

log = logging.getLogger(__name__)


def working_encoder(
    suffix: str,
    info: VideoInfo,
    size: tuple[int, int],
    crf: float | None = None,
    preset: str | None = None,
    candidates: Sequence[str] = HARDWARE_ENCODERS,
) -> str | None:
    """The first hardware encoder that writes a frame of this film, None where none does.

    A build of FFmpeg has encoders whose driver or device is missing, and a device refuses sizes, or
    has too much to do, so each is tried with a film of one frame.

    Args:
        suffix: of the film that will be written.
        info: the source.
        size: (H, W) of the film.
        crf: see `VideoWriter`.
        preset: see `VideoWriter`.
        candidates: FFmpeg's names, in the order in which they are tried.
    """
    if size[0] % 2 or size[1] % 2:
        log.info("an odd size is encoded in software")  # it takes 4:4:4, which few devices do
        return None
    for codec in candidates:
        try:
            _encode_a_frame(codec, suffix, info, size, crf, preset)
        except (MediaError, OSError) as error:
            log.debug("%s", error)
            continue
        log.info("encoded by %s, whose quality numbers are not those of libx264", codec)
        return codec
    log.info("encoded in software: none of %s works here", ", ".join(candidates))
    return None


def _encode_a_frame(
    codec: str,
    suffix: str,
    info: VideoInfo,
    size: tuple[int, int],
    crf: float | None,
    preset: str | None,
) -> None:
    """Write a film of one frame and read it again.

    Raises:
        MediaError: it cannot be written, or comes out in another size.
        OSError: there is no room for it.
    """
    # the messages about these, and the place on the clock, are the real film's
    plain = replace(info, bit_depth=8, color_transfer=2, start_s=Fraction(0), free_clock=False)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / f"trial{suffix}"
        with VideoWriter(film, plain, size, codec, crf, preset, "none", as_piece=True) as writer:
            writer.write(Frame(np.zeros((*size, 3), np.uint8), 0, info.time_base))
        with open_container(film) as container:
            found = describe(container, film).size
    if found != size:
        raise MediaError(f"{codec} makes {found[1]}x{found[0]} of {size[1]}x{size[0]} pixels")
