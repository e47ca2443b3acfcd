"""Which encoders and containers are offered, and what each is told. Data, not branches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fastvid.video.source import MediaError


@dataclass(frozen=True, slots=True)
class Encoder:
    """One of FFmpeg's video encoders.

    Attributes:
        pixel_format: for even sizes.
        odd_format: for an odd width or height, which 4:2:0 cannot hold.
        crf: quality when none is asked for, None where the encoder has no such scale.
        quality: names of the options that take it.
        least: the best quality of a scale of whole numbers, None where they need not be whole.
        options: further options.
        presets: what the common preset words mean here, where they mean something else.
        tag: codec tag in mp4 and mov, where the default is not played everywhere.
        environment: variables that the encoder reads, set unless the user did.
    """

    pixel_format: str = "yuv420p"
    odd_format: str = "yuv444p"
    crf: float | None = None
    quality: tuple[str, ...] = ("crf",)
    least: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    presets: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


_SVT_PRESETS = {
    **{"ultrafast": "12", "superfast": "11", "veryfast": "10", "faster": "9", "fast": "8"},
    **{"medium": "7", "slow": "5", "slower": "4", "veryslow": "3"},
}
_NVENC_PRESETS = {
    **{"ultrafast": "p1", "superfast": "p1", "veryfast": "p2", "faster": "p3", "fast": "p3"},
    **{"medium": "p4", "slow": "p5", "slower": "p6", "veryslow": "p7"},
}
_QSV_PRESETS = {"ultrafast": "veryfast", "superfast": "veryfast"}  # the other words are its own
_AMF_PRESETS = {
    **dict.fromkeys(("ultrafast", "superfast", "veryfast", "faster", "fast"), "speed"),
    **{"medium": "balanced", "slow": "quality", "slower": "quality", "veryslow": "quality"},
}
ENCODERS: dict[str, Encoder] = {
    "libx264": Encoder(crf=18),
    "libx265": Encoder(crf=22, options={"x265-params": "log-level=none"}, tag="hvc1"),
    # without SVT_LOG=1 (errors only) it prints a page about itself
    "libsvtav1": Encoder(
        odd_format="", crf=30, least=0, presets=_SVT_PRESETS, environment={"SVT_LOG": "1"}
    ),
    # The scales of the hardware encoders end at 51 like crf's, and lower is better. Their values
    # here were never measured.
    # cq: FFmpeg drops the bit rate that it would otherwise aim at (libavcodec/nvenc.c); 0 would
    # leave the quality to the driver
    "h264_nvenc": Encoder(crf=21, quality=("cq",), least=1, presets=_NVENC_PRESETS),
    "hevc_nvenc": Encoder(crf=24, quality=("cq",), least=1, presets=_NVENC_PRESETS, tag="hvc1"),
    # global_quality alone selects "intelligent constant quality" (FFmpeg's manual, QSV encoders),
    # and 0 of it an average bit rate
    "h264_qsv": Encoder("nv12", crf=21, quality=("global_quality",), least=1, presets=_QSV_PRESETS),
    # no constant quality, but constant quantisers, which are H.264's own
    "h264_amf": Encoder(
        crf=21,
        quality=("qp_i", "qp_p", "qp_b"),
        least=0,
        options={"rc": "cqp"},
        presets=_AMF_PRESETS,
    ),
    # profile 3 is "422 HQ"; its quantiser scale runs like crf, lower is better
    "prores_ks": Encoder(
        "yuv422p10le", "yuv444p10le", quality=("qscale",), options={"profile": "3"}
    ),
    # lossless
    "ffv1": Encoder("bgr0", "bgr0", quality=(), options={"level": "3", "slicecrc": "1"}),
}
# What is tried where the machine's own encoder is asked for. Apple's is not among them: its scale
# runs the other way, and how it compares to crf is not known.
HARDWARE_ENCODERS = ("h264_nvenc", "h264_qsv", "h264_amf")


@dataclass(frozen=True, slots=True)
class Format:
    """What a container holds without re-encoding.

    Attributes:
        sound: codecs whose packets can be copied, None for all.
        sound_encoder: what other sound is encoded with.
        subtitles: codecs that can be copied.
        options: of FFmpeg's muxer.
    """

    sound: frozenset[str] | None
    sound_encoder: str
    subtitles: frozenset[str]
    options: Mapping[str, str] = field(default_factory=dict)


_FASTSTART = {"movflags": "+faststart"}  # the index in front: plays while it loads
_MP4_SOUND = frozenset("aac mp3 mp3float mp2 ac3 eac3 alac opus libopus flac".split())
_MOV_SOUND = frozenset(
    "aac mp3 mp3float ac3 eac3 alac "
    "pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_u8".split()
)
_TEXT = frozenset({"mov_text"})
FORMATS: dict[str, Format] = {
    ".mp4": Format(_MP4_SOUND, "aac", _TEXT, _FASTSTART),
    ".m4v": Format(_MP4_SOUND, "aac", _TEXT, _FASTSTART),
    ".mov": Format(_MOV_SOUND, "aac", _TEXT, _FASTSTART),
    ".mkv": Format(
        None,
        "aac",
        frozenset("subrip srt ass ssa webvtt pgssub hdmv_pgs_subtitle dvdsub dvbsub".split()),
    ),
    ".webm": Format(
        frozenset({"opus", "libopus", "vorbis", "libvorbis"}), "libopus", frozenset({"webvtt"})
    ),
}
OUTPUT_FILM_SUFFIXES = tuple(FORMATS)


def encoder_of(codec: str) -> Encoder:
    """What the encoder is told; raises MediaError that lists the choices."""
    try:
        return ENCODERS[codec]
    except KeyError:
        raise MediaError(f"codec {codec} is not offered; choose {', '.join(ENCODERS)}") from None


def format_of(suffix: str, name: object) -> Format:
    """What the container of a suffix holds; raises MediaError that lists the choices."""
    try:
        return FORMATS[suffix.lower()]
    except KeyError:
        raise MediaError(
            f"{name}: films are written as {' '.join(FORMATS)}, not as {suffix or 'no suffix'}"
        ) from None


def encoder_options(codec: str, crf: float | None, preset: str | None) -> dict[str, str]:
    """FFmpeg options for a quality (lower is better) and a speed."""
    encoder = encoder_of(codec)
    options = dict(encoder.options)
    quality = encoder.crf if crf is None else crf
    if quality is not None:
        number = quality if encoder.least is None else max(encoder.least, int(quality))
        options |= dict.fromkeys(encoder.quality, f"{number:g}")
    if preset is not None and codec not in ("prores_ks", "ffv1"):
        options["preset"] = encoder.presets.get(preset, preset)
    if codec == "libx264" and _has_avx512():
        options["x264-params"] = "asm=AVX2"
    return options


@cache
def _has_avx512() -> bool:
    """Whether x264 would use AVX-512; known on Linux only.

    There its macroblock tree comes out otherwise now and then (x264 165, one thread): of 600 films
    of 120 frames of 64x48, 57 differed, of 240 with AVX2 none, at the same speed.
    """
    try:
        return "avx512" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
