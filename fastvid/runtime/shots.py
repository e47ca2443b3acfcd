"""A film cut into shots on its way, and the frames whose statistics stand for each of them."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fastvid.motion.cuts import CUT_THRESHOLD, color_histogram, histogram_distance
from fastvid.video import Frame

# How far ahead of the painting a shot is looked at: its statistics are those of its beginning.
LOOK_AHEAD_FRAMES = 48
LOOK_AHEAD_BYTES = 2**27
KEY_FRAMES = 4
# Longest run of frames that belongs to the shot around it though it looks like another: a flash.
FLASH_FRAMES = 3
# A picture whose every channel deviates less than this (of 255) is one colour, as in a fade or a
# title; normalised by itself its noise would be amplified to brush strokes.
BLANK_DEVIATION = 3.0
_SEARCH_HEIGHT_PX = 360  # larger frames are looked at on every n-th pixel


@dataclass(frozen=True)
class ShotFrame:
    """A frame, and with the first one of a shot what the network is adapted to.

    Attributes:
        frame: the frame.
        keys: uint8 RGB (K, H, W, 3), 1 to 4 frames of the shot; None where the statistics of the
            frame before go on.
    """

    frame: Frame
    keys: np.ndarray | None = None


@dataclass(frozen=True)
class Seen:
    """A frame and what tells it from others.

    Attributes:
        frame: the frame.
        histogram: of its colours.
        blank: whether it is of one colour, and so has no statistics worth having.
    """

    frame: Frame
    histogram: np.ndarray
    blank: bool


def in_shots(frames: Iterable[Frame]) -> Iterator[ShotFrame]:
    """The frames of a film in order, each shot's key frames with its first frame.

    Up to `LOOK_AHEAD_FRAMES` frames, or 128 MiB of them, are held; the key frames are spread over
    the part of the shot among them. A run of frames of one colour separates shots; it has no
    statistics of its own but goes on with those of the shot before, or, at the beginning of a
    film, of the shot after it, if that begins within the look-ahead. The same frames always give
    the same result.
    """
    reference: np.ndarray | None = None  # histogram of the frame before, flashes left out
    wanted, adapted = True, False
    for held in _look_ahead(frames):
        first = held[0]
        if reference is None or not _is_flash(reference, held, 0):
            cut = reference is not None and differ(reference, first.histogram)
            wanted = wanted or cut or first.blank
            reference = first.histogram
        keys = None
        if not adapted or (wanted and not first.blank):
            keys, wanted, adapted = _key_frames(held), first.blank, True
        yield ShotFrame(first.frame, keys)


def at_starts(frames: Iterable[Frame], starts: Container[int]) -> Iterator[ShotFrame]:
    """What `in_shots` gives, for a part of a film whose shots have been found before.

    Args:
        frames: of the film, from any one on; the look-ahead takes some more than are given out.
        starts: pts of the frames that `in_shots` gave key frames with.
    """
    for held in _look_ahead(frames):
        first = held[0].frame
        yield ShotFrame(first, _key_frames(held) if first.pts in starts else None)


def _look_ahead(frames: Iterable[Frame]) -> Iterator[list[Seen]]:
    """For every frame itself and those after it that may be held."""
    source = iter(frames)
    held: list[Seen] = []
    while True:
        while len(held) < _limit(held) and (frame := next(source, None)) is not None:
            held.append(look(frame))
        if not held:
            return
        yield held
        del held[0]


def _limit(held: list[Seen]) -> int:
    """How many frames to hold: fewer when they are large, but always enough for the keys."""
    if not held:
        return 1
    affordable = LOOK_AHEAD_BYTES // held[0].frame.image.nbytes
    return max(KEY_FRAMES, min(LOOK_AHEAD_FRAMES, affordable))


def look(frame: Frame) -> Seen:
    """What a frame looks like, at the cost of a few of its pixels."""
    step = max(1, frame.image.shape[0] // _SEARCH_HEIGHT_PX)
    sparse = frame.image[::step, ::step]
    blank = bool(sparse[::8, ::8].reshape(-1, 3).std(0).max() < BLANK_DEVIATION)
    return Seen(frame, color_histogram(sparse), blank)


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a cut lies between frames of these histograms."""
    return histogram_distance(one, other) > CUT_THRESHOLD


def _is_flash(reference: np.ndarray, held: list[Seen], i: int) -> bool:
    """Whether frame i breaks with the frames before, which come back right after it."""
    after = held[i + 1 : i + 1 + FLASH_FRAMES]
    return differ(reference, held[i].histogram) and any(
        not differ(reference, seen.histogram) for seen in after
    )


def _key_frames(held: list[Seen]) -> np.ndarray:
    """Images of up to `KEY_FRAMES` frames, spread over what is held of the first shot."""
    held = held[next((i for i, seen in enumerate(held) if not seen.blank), 0) :]
    reference = held[0].histogram
    shot = [held[0]]
    for i, seen in enumerate(held[1:], 1):
        if _is_flash(reference, held, i):
            continue
        if seen.blank or differ(reference, seen.histogram):
            break
        reference = seen.histogram
        shot.append(seen)
    count = min(KEY_FRAMES, len(shot))
    chosen = [shot[(2 * k + 1) * len(shot) // (2 * count)] for k in range(count)]
    return np.stack([seen.frame.image for seen in chosen])
