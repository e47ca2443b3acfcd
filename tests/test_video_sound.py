from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from av.video.frame import VideoFrame

from fastvid.video import (
    probe,
)


@pytest.mark.parametrize(
    ("source", "target", "sound"),
    [
        ("a.mp4", "b.mp4", "aac"),
        ("a.mp4", "b.mkv", "aac"),
        ("a.mkv", "b.mp4", "aac"),
        ("a.mkv", "b.mp4", "libopus"),
        ("a.mkv", "b.mp4", "flac"),
        ("a.mkv", "b.mp4", "ac3"),
        ("a.mkv", "b.mp4", "libmp3lame"),
        ("a.mkv", "b.mkv", "pcm_s16le"),
        ("a.mov", "b.mov", "pcm_s16le"),
        ("a.mkv", "b.webm", "libopus"),
    ],
)
def test_sound_packets_are_copied_byte_for_byte(
    tmp_path: Path, source: str, target: str, sound: str
) -> None:
    path = media.write_video(tmp_path / source, 24, (64, 64), sound=sound)
    codec = "libsvtav1" if target.endswith("webm") else "libx264"
    out = media.copy_film(path, tmp_path / target, codec=codec)
    wanted, got = media.packets(path, "audio"), media.packets(out, "audio")
    assert len(wanted) > 5
    assert [data for _, data in got] == [data for _, data in wanted]
    if source[1:] == target[1:]:
        assert [pts for pts, _ in got] == [pts for pts, _ in wanted]


@pytest.mark.parametrize(
    ("source", "target", "sound", "codec"),
    [
        ("a.mkv", "b.mp4", "pcm_s16le", "aac"),
        ("a.mkv", "b.mov", "libopus", "aac"),
        ("a.mkv", "b.mov", "flac", "aac"),
    ],
)
def test_sound_that_does_not_fit_is_encoded_and_told(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: str,
    target: str,
    sound: str,
    codec: str,
) -> None:
    path = media.write_video(tmp_path / source, 24, sound=sound)
    out = media.copy_film(path, tmp_path / target)
    assert "encoded anew as aac" in caplog.text
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == codec
        seconds = sum(f.samples for f in container.decode(audio=0)) / stream.rate
    assert seconds == pytest.approx(1.08, abs=0.1)


def test_sound_can_be_encoded_or_left_out(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 12, sound="aac")
    assert not probe(media.copy_film(path, tmp_path / "n.mp4", audio="none")).has_audio
    encoded = media.copy_film(path, tmp_path / "e.mp4", audio="aac")
    assert media.packets(encoded, "audio") != media.packets(path, "audio")
    with av.open(str(encoded)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(sound[4800 : 4800 + 9600]))
    assert spectrum.argmax() * 48000 / 9600 == pytest.approx(440, abs=6)


def test_sound_of_an_excerpt_starts_with_it(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 72, sound="aac")
    out = media.copy_film(path, tmp_path / "b.mp4", start_s=1.0, end_s=2.0)
    assert media.frame_times(out) == [Fraction(i, 24) for i in range(24)]
    wanted = [d for t, d in media.packets(path, "audio") if 48000 <= t < 96000]
    got = media.packets(out, "audio")
    assert [data for _, data in got] == wanted
    first = next(t for t, _ in media.packets(path, "audio") if t >= 48000) - 48000
    assert got[0][0] == pytest.approx(first, abs=48)  # a millisecond
    encoded = media.copy_film(path, tmp_path / "c.mp4", start_s=1.0, end_s=2.0, audio="aac")
    with av.open(str(encoded)) as container:
        seconds = sum(f.samples for f in container.decode(audio=0)) / 48000
    assert seconds == pytest.approx(1.0, abs=0.06)


def test_sound_and_picture_are_interleaved(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 96, sound="aac")
    out = media.copy_film(path, tmp_path / "b.mp4")
    with av.open(str(out)) as container:
        places = {"video": [], "audio": []}
        for packet in container.demux():
            if packet.dts is not None:
                time = float(packet.dts * packet.time_base)
                places[packet.stream.type].append((packet.pos, time))
    everything = sorted((p, t, k) for k, v in places.items() for p, t in v)
    latest = {"video": 0.0, "audio": 0.0}
    for _, moment, kind in everything:
        latest[kind] = moment
        assert abs(latest["video"] - latest["audio"]) < 1.5


def test_sound_longer_than_the_picture_is_kept_whole(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 12, sound="aac", sound_s=3.0)
    out = media.copy_film(path, tmp_path / "b.mp4")
    assert media.packets(out, "audio") == media.packets(path, "audio")


def test_titles_are_copied(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 3, metadata={"title": "A walk", "artist": "X"})
    for suffix in (".mp4", ".mkv"):
        with av.open(str(media.copy_film(path, tmp_path / f"b{suffix}"))) as container:
            tags = {k.lower(): v for k, v in container.metadata.items()}
        assert (tags["title"], tags["artist"]) == ("A walk", "X")


def write_with_subtitles(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        srt = path.with_suffix(".srt")
        srt.write_text("1\n00:00:00,100 --> 00:00:00,400\nHello\n\n")
        text = av.open(str(srt))
        words = out.add_stream_from_template(text.streams.subtitles[0])
        tick = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": 0, "start": 0, "end": 500, "time_base": tick, "metadata": {"title": "One"}},
                {
                    "id": 1,
                    "start": 500,
                    "end": 999,
                    "time_base": tick,
                    "metadata": {"title": "Two"},
                },
            ]
        )
        for i in range(24):
            frame = VideoFrame.from_ndarray(media.texture(), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for packet in text.demux():
            if packet.dts is not None:
                packet.stream = words
                out.mux(packet)
        text.close()
    return path


def test_subtitles_and_chapters_go_along_or_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_with_subtitles(tmp_path / "a.mkv", "subrip")
    out = media.copy_film(path, tmp_path / "b.mkv")
    assert media.packets(out, "subtitles")[0][1] == media.packets(path, "subtitles")[0][1]
    with av.open(str(out)) as container:
        chapters = container.chapters()
    assert [c["metadata"]["title"] for c in chapters] == ["One", "Two"]
    assert caplog.text == ""
    media.copy_film(path, tmp_path / "b.mp4")
    assert "subtitle" in caplog.text
    with av.open(str(media.copy_film(path, tmp_path / "c.mkv", start_s=0.6))) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["Two"]
