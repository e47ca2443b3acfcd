from tiny_clips import picture

from fastvid.runtime.live.realtime import pace
from fastvid.video import Frame


def test_a_paced_film_waits_for_each_frame_and_no_longer():
    now, waits = [100.0], []

    def wait(seconds):
        waits.append(round(seconds, 6))
        now[0] += seconds
        return False

    def slow_decoder():
        for i in range(5):
            if i == 3:
                now[0] += 2.5  # a frame that took longer to decode than it is shown
            yield Frame(picture(i), 10 + i, 1)

    given = [(frame.pts, now[0]) for frame in pace(slow_decoder(), lambda: now[0], wait)]
    assert waits == [1, 1, 0.5][: len(waits)]
    assert given == [(10, 100), (11, 101), (12, 102), (13, 104.5), (14, 104.5)]


def test_a_paced_film_ends_when_it_is_told_so():
    frames = (Frame(picture(i), i, 1) for i in range(5))
    assert [f.pts for f in pace(frames, lambda: 0.0, lambda seconds: seconds > 2)] == [0, 1, 2]
