"""Segments and their statistics depend on the film alone."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from bulk_films import CUTS, scene, write_film
from onnx_nets import norm_net, write

from fastvid.runtime.bulk.piece import Look, Network, Piece, loaded, paint_piece
from fastvid.runtime.bulk.plan import MIN_FRAMES, SEGMENT_FRAMES, Segment, segments
from fastvid.runtime.finish import Finish
from fastvid.runtime.pipeline import Encoding, stylize
from fastvid.runtime.shots import ShotFrame, at_starts, in_shots
from fastvid.video import Frame, MediaError, VideoReader

SMALL = (16, 24)
TICKS = 40  # a frame's length


def film(num_frames):
    return [Frame(scene(t, SMALL), TICKS * t, Fraction(1, 1000), TICKS) for t in range(num_frames)]


def found_in(frames):
    return [segment for segment in segments(frames) if segment is not None]


def test_segments_follow_the_shots_and_are_never_long():
    found = found_in(in_shots(film(400)))
    assert [segment.begin // TICKS for segment in found] == [0, 70, 190, 300]
    assert [segment.num_frames for segment in found] == [70, 120, 110, 100]
    assert [segment.end for segment in found] == [*(s.begin for s in found[1:]), None]
    assert [segment.index for segment in found] == [0, 1, 2, 3]
    # the third goes on with the statistics of the second
    assert [segment.shots for segment in found] == [
        (0,), (70 * TICKS,), (70 * TICKS,), (300 * TICKS,),
    ]  # fmt: skip


def test_short_shots_share_a_segment():
    keys = np.zeros((1, *SMALL, 3), np.uint8)
    frames = [ShotFrame(f, keys if t % 20 == 0 else None) for t, f in enumerate(film(130))]
    found = found_in(frames)
    assert [segment.num_frames for segment in found] == [MIN_FRAMES, MIN_FRAMES, 10]
    assert found[1].shots == tuple(TICKS * t for t in (60, 80, 100))


def test_without_statistics_all_segments_but_the_last_are_equally_long():
    found = found_in(map(ShotFrame, film(2 * SEGMENT_FRAMES + 1)))
    assert [segment.num_frames for segment in found] == [SEGMENT_FRAMES, SEGMENT_FRAMES, 1]
    assert {segment.shots for segment in found} == {()}


def test_a_shot_has_the_same_key_frames_wherever_the_reading_begins():
    flat = np.zeros((*SMALL, 3), np.uint8)
    frames = [
        replace(frame, image=flat) if t < 5 or 30 <= t < 40 else frame
        for t, frame in enumerate(film(120))
    ]
    whole = {i.frame.pts: i.keys for i in in_shots(frames) if i.keys is not None}
    assert [pts // TICKS for pts in whole] == [0, 5, 40, 70]
    for begin in range(0, 120, 10):
        for item in at_starts(frames[begin:], whole):
            wanted = whole.get(item.frame.pts)
            assert (item.keys is None) == (wanted is None)
            assert wanted is None or np.array_equal(item.keys, wanted)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """A film, a network, and the film painted in one go without loss."""
    folder = tmp_path_factory.mktemp("plan")
    source = write_film(folder / "film.mp4", 330)
    network = Network(write(folder / "net.onnx", norm_net()), "cpu", "onnxruntime")
    whole = folder / "whole.mkv"
    stylize(source, whole, stylizer=loaded(network), codec="ffv1", audio="none")
    with VideoReader(whole) as reader:
        return source, network, np.stack([frame.image for frame in reader])


def piece_of(source, network, segment, path):
    reader = VideoReader(source)
    encoding = Encoding("ffv1", audio="none", overwrite=True, as_piece=True)
    look = Look(reader.info, (None, None), None, "shot", Finish(), encoding)
    return Piece(look, segment, path, network)


def test_a_piece_shows_what_the_whole_film_shows(painted, tmp_path):
    source, network, whole = painted
    with VideoReader(source) as reader:
        plan = found_in(in_shots(reader))
    assert len(plan) == len(CUTS) + 1
    done = 0
    for segment in plan:
        path = tmp_path / f"{segment.index}.mkv"
        told = []
        paint_piece(piece_of(source, network, segment, path), told.append)
        assert told == list(range(1, segment.num_frames + 1))
        with VideoReader(path) as reader:
            images = np.stack([frame.image for frame in reader])
        assert np.array_equal(images, whole[done : done + segment.num_frames])
        done += segment.num_frames
    assert done == len(whole)


def test_frames_that_the_source_no_longer_has_are_an_error(painted, tmp_path):
    source, network, _ = painted
    segment = Segment(0, 0, 512 * 20, 21, (0,))
    with pytest.raises(MediaError, match="20 frames where it gave 21"):
        paint_piece(piece_of(source, network, segment, tmp_path / "0.mkv"))
    assert not (tmp_path / "0.mkv").exists()
