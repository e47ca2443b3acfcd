import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import media
import pytest

from fastvid.video import ImageWriter, SequenceWriter, VideoInfo, VideoWriter, encoders, probe
from fastvid.video.encoders import ENCODERS, HARDWARE_ENCODERS, Encoder, encoder_options
from fastvid.video.trial import working_encoder


@pytest.fixture
def info(tmp_path: Path) -> VideoInfo:
    return probe(media.write_video(tmp_path / "a.mp4", 3))


def test_the_first_encoder_that_really_encodes_is_taken(
    info: VideoInfo, caplog: pytest.LogCaptureFixture
) -> None:
    """The software ones stand in for hardware that is there."""
    caplog.set_level(logging.INFO)
    absent = ("no_such_encoder",)
    assert working_encoder(".mp4", info, info.size, candidates=(*absent, "libx265", "libx264")) == (
        "libx265"
    )
    assert caplog.messages == ["encoded by libx265, whose quality numbers are not those of libx264"]


def test_an_encoder_that_this_build_of_ffmpeg_lacks_is_passed_over(
    info: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "h264_of_nobody", Encoder())
    candidates = ("h264_of_nobody", "libx264")
    assert working_encoder(".mp4", info, info.size, candidates=candidates) == "libx264"


@pytest.mark.parametrize("codec", HARDWARE_ENCODERS)
def test_hardware_that_is_not_there_is_passed_over(
    info: VideoInfo, codec: str, tmp_path: Path
) -> None:
    size = (144, 256)  # devices take nothing much smaller
    found = working_encoder(".mp4", info, size, candidates=(codec, "libx264"))
    assert found in (codec, "libx264")
    assert media.names(tmp_path) == {"a.mp4"}


def test_where_no_encoder_works_software_encodes(
    info: VideoInfo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert working_encoder(".mp4", info, (48, 64), candidates=("no_such_encoder",)) is None
    assert caplog.messages == ["encoded in software: none of no_such_encoder works here"]
    # a container that cannot hold what the encoder makes
    assert working_encoder(".webm", info, (48, 64), candidates=("libx264",)) is None
    # a preset that there is not
    assert working_encoder(".mp4", info, (48, 64), None, "warp9", ("libx264",)) is None


def test_odd_sizes_are_encoded_in_software(info: VideoInfo) -> None:
    assert working_encoder(".mp4", info, (49, 64), candidates=("libx264",)) is None


def test_a_trial_says_nothing_that_the_film_will_say(
    info: VideoInfo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hdr = replace(info, bit_depth=10, color_transfer=16, start_s=Fraction(7), free_clock=True)
    assert working_encoder(".mkv", hdr, info.size, candidates=("libx264",)) == "libx264"
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("codec", HARDWARE_ENCODERS)
def test_hardware_encoders_are_told_what_they_know(codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    context = av.CodecContext.create(codec, "w")
    known = {
        option.name: option
        for option in (*context.supported_options.generic, *context.supported_options.private)
    }
    for preset in (None, "ultrafast", "veryfast", "medium", "veryslow"):
        for crf in (None, 0, 18.7, 51):
            for name, value in encoder_options(codec, crf, preset).items():
                option = known[name]
                choices = {choice.name for choice in option.choices}
                assert value in choices or option.min <= int(value) <= option.max


@pytest.mark.parametrize(
    ("codec", "crf", "expected"),
    [
        ("libx264", 18.5, {"crf": "18.5"}),
        ("libsvtav1", 0, {"crf": "0"}),
        ("h264_nvenc", None, {"cq": "21"}),
        ("h264_nvenc", 0, {"cq": "1"}),
        ("h264_qsv", 0, {"global_quality": "1"}),
        ("h264_amf", 24.9, {"rc": "cqp", "qp_i": "24", "qp_p": "24", "qp_b": "24"}),
        ("prores_ks", 9, {"profile": "3", "qscale": "9"}),
        ("ffv1", 9, {"level": "3", "slicecrc": "1"}),
    ],
)
def test_quality_has_one_direction_and_many_names(
    codec: str, crf: float | None, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_has_avx512", lambda: False)
    assert encoder_options(codec, crf, None) == expected


def test_x264_keeps_to_avx2_where_it_would_use_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_has_avx512", lambda: True)
    assert encoder_options("libx264", None, None)["x264-params"] == "asm=AVX2"
    assert "x264-params" not in encoder_options("libx265", None, None)


def test_every_hardware_encoder_is_offered_by_name() -> None:
    assert set(HARDWARE_ENCODERS) < set(encoders.ENCODERS)


def test_writers_name_their_encoder(info: VideoInfo, tmp_path: Path) -> None:
    film = VideoWriter(tmp_path / "b.mkv", info, codec="ffv1")
    film.abort()
    assert film.codec == "ffv1"
    assert ImageWriter(tmp_path / "a.jpg").codec == "mjpeg"
    assert SequenceWriter(tmp_path / "folder").codec == "png"
