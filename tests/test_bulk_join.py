"""Pieces of a film joined without encoding: clock, pictures and sound stay what they are."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from media import frame_times, packets, write_video

from fastvid.video import MediaError, VideoReader, VideoWriter
from fastvid.video.join import join

UNEVEN = [0, 500, 1000, 1700, 2400, 4000, 4500, 5000, 5700, 6400, 7000, 7900, 8000, 12000, 13000]


def in_pieces(source, folder, suffix, ends=(4, 9), codec="libx264"):
    """A source's own frames, coded in pieces that end before these frames."""
    reader = VideoReader(source)
    frames = list(reader)
    pieces = []
    for begin, end in zip((0, *ends), (*ends, len(frames)), strict=True):
        pieces.append(folder / f"piece{begin}{suffix}")
        with VideoWriter(pieces[-1], reader.info, codec=codec, as_piece=True) as writer:
            for frame in frames[begin:end]:
                writer.write(frame)
    return pieces, reader.info


def pictures(*paths):
    found = []
    for path in paths:
        with av.open(str(path)) as container:
            found += [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(found)


def clock(path):
    """(pts, dts) of the picture's packets."""
    with av.open(str(path)) as container:
        return [(p.pts, p.dts) for p in container.demux(video=0) if p.pts is not None]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_joining_keeps_the_clock_the_pictures_and_the_sound(tmp_path, codec):
    source = write_video(
        tmp_path / "a.mp4", pts=UNEVEN, sound="aac", metadata={"title": "joined"},
        sample_aspect_ratio=Fraction(4, 3), options={"bf": "2"},
    )  # fmt: skip
    pieces, info = in_pieces(source, tmp_path, ".mp4", codec=codec)
    whole = tmp_path / "whole.mp4"
    assert join(pieces, whole, info, codec) == len(UNEVEN)
    assert frame_times(whole) == frame_times(source)
    assert packets(whole, "audio") == packets(source, "audio")
    assert (pictures(whole) == pictures(*pieces)).all()
    times = clock(whole)
    assert all(dts <= pts for pts, dts in times)
    assert all(one[1] < other[1] for one, other in pairwise(times))
    with av.open(str(whole)) as container:
        assert container.metadata["title"] == "joined"
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_a_matroska_film_keeps_its_clock_and_frame_rate(tmp_path):
    source = write_video(tmp_path / "a.mp4", 15)
    pieces, info = in_pieces(source, tmp_path, ".mkv")
    whole = tmp_path / "whole.mkv"
    join(pieces, whole, info)
    assert [round(t * 24) for t in frame_times(whole)] == list(range(15))
    with av.open(str(whole)) as container:
        assert container.streams.video[0].average_rate == 24


def test_pieces_hold_the_picture_alone(tmp_path):
    source = write_video(tmp_path / "a.mp4", 15, sound="aac", metadata={"title": "joined"})
    pieces, _ = in_pieces(source, tmp_path, ".mp4")
    with av.open(str(pieces[1])) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert "title" not in container.metadata


def test_pieces_that_do_not_follow_each_other_are_refused(tmp_path):
    pieces, info = in_pieces(write_video(tmp_path / "a.mp4", 15), tmp_path, ".mp4")
    with pytest.raises(MediaError, match="begins before"):
        join([*pieces, pieces[0]], tmp_path / "whole.mp4", info)
    assert sorted(tmp_path.glob("*whole*")) == []


def test_pieces_of_another_coding_are_refused(tmp_path):
    source = write_video(tmp_path / "a.mp4", 15)
    (tmp_path / "other").mkdir()
    pieces, info = in_pieces(source, tmp_path, ".mp4")
    others, _ = in_pieces(source, tmp_path / "other", ".mp4", codec="libx265")
    with pytest.raises(MediaError, match="another way"):
        join([pieces[0], *others[1:]], tmp_path / "whole.mp4", info)


def test_a_broken_piece_is_named(tmp_path):
    pieces, info = in_pieces(write_video(tmp_path / "a.mp4", 15), tmp_path, ".mp4")
    pieces[1].write_bytes(b"no film")
    with pytest.raises(MediaError, match="piece4"):
        join(pieces, tmp_path / "whole.mp4", info)
