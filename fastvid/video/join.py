"""Pieces of a film into one film, their packets as they are, with the source's sound."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from fastvid.video.source import MediaError, VideoInfo, open_container, reason
from fastvid.video.tracks import AudioMode
from fastvid.video.writer import VideoWriter


def join(
    pieces: Sequence[Path],
    target: str | os.PathLike[str],
    info: VideoInfo,
    codec: str = "libx264",
    audio: AudioMode = "copy",
    overwrite: bool = False,
    start_s: float | None = None,
    end_s: float | None = None,
) -> int:
    """Put pieces one behind the other into a film; nothing is decoded or encoded.

    Args:
        pieces: films of the target's container, in order, as `VideoWriter(as_piece=True)` writes
            them for the parts of one source: every one with its own place on the film's clock.
        target: the film to make; it appears when it is whole.
        info: the source, for its sound and titles.
        codec: that the pieces are coded with.
        audio: see `VideoWriter`, as for the rest.
        overwrite: replace an existing target.
        start_s: start of the excerpt that the pieces are of.
        end_s: its end.

    Returns:
        How many frames the film has.

    Raises:
        MediaError: a piece cannot be read, does not fit to the first, or the target cannot be
            written.
    """
    delay = max((_reorder_delay(times) for times in map(_times, pieces)), default=0)
    with open_container(pieces[0]) as first:
        template = first.streams.video[0]
        writer = VideoWriter(
            target, info, (template.height, template.width), codec, None, None, audio, overwrite,
            start_s, end_s, template=template,
        )  # fmt: skip
        with writer:
            for packet in _in_order(pieces, delay, template):
                writer.write_coded(packet)
    return writer.num_frames


def _in_order(pieces: Sequence[Path], delay: int, first: VideoStream) -> Iterator[Packet]:
    """All packets in decoding order, on one rising decoding clock.

    A packet is decoded when the frame that is shown `delay` frames earlier is shown, which is the
    latest clock that all pieces can keep; before the first frame the clock runs backwards from it
    in steps of the first two frames.
    """
    shown: list[int] = []  # the last frames of the pieces before, `delay` of them
    for path in pieces:
        times = sorted(_times(path))
        if shown and times[0] <= shown[-1]:
            raise MediaError(f"{path}: begins before the piece in front of it ends")
        if not shown:
            step = times[1] - times[0] if len(times) > 1 else 1
            shown = [times[0] - step * (delay - i) for i in range(delay)]
        clock = shown + times
        with open_container(path) as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != first.codec_context.extradata:
                raise MediaError(f"{path}: is coded in another way than the first piece")
            for packet, dts in zip(_packets(path, container), clock, strict=False):
                packet.dts = dts
                yield packet
        shown = clock[len(clock) - delay :]


def _times(path: Path) -> list[int]:
    """Presentation times of a piece's packets in decoding order, in its ticks."""
    with open_container(path) as container:
        return [packet.pts or 0 for packet in _packets(path, container)]


def _packets(path: Path, container: InputContainer) -> Iterator[Packet]:
    try:
        for packet in container.demux(video=0):
            if packet.pts is not None:  # else the mark of the end
                yield packet
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from None


def _reorder_delay(times: Sequence[int]) -> int:
    """By how many frames decoding must run ahead of showing, given the order of decoding."""
    places = {time: place for place, time in enumerate(sorted(times))}
    return max((i - places[time] for i, time in enumerate(times)), default=0)
