"""Where a film is cut into segments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastvid.runtime.shots import ShotFrame

# What a crash loses at most, and what one worker has for itself in a short film. Every segment
# begins with a key frame and costs its worker a seek and the look-ahead of its shots.
SEGMENT_FRAMES = 120
# From this length on a segment ends where the shot ends: the key frame is needed there anyway.
MIN_FRAMES = SEGMENT_FRAMES // 2


@dataclass(frozen=True)
class Segment:
    """Some frames of a film in a row.

    Attributes:
        index: 0 for the first segment of the film.
        begin: pts of its first frame.
        end: pts of the first frame after it; None for the last segment.
        num_frames: how many frames it has.
        shots: pts of the frames where the network takes new statistics: of the one that is in force
            at `begin`, at or before it, then of those inside; empty where every frame has its own.
    """

    index: int
    begin: int
    end: int | None
    num_frames: int
    shots: tuple[int, ...]


def segments(frames: Iterable[ShotFrame]) -> Iterator[Segment | None]:
    """The segments of a film, whose frames are read one by one; None whenever there is none yet.

    They depend on the frames alone. So does a plan made of the same film again.
    """
    index = count = begin = 0
    shots: list[int] = []
    for item in frames:
        pts = item.frame.pts
        if count == SEGMENT_FRAMES or (item.keys is not None and count >= MIN_FRAMES):
            yield Segment(index, begin, pts, count, tuple(shots))
            index, count, shots = index + 1, 0, shots[-1:]
        if count == 0:
            begin = pts
        if item.keys is not None:
            shots = [*shots, pts] if count else [pts]
        count += 1
        yield None
    if count:
        yield Segment(index, begin, None, count, tuple(shots))
