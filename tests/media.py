"""Tiny real media files for tests, written when needed; none is kept in the repository."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from fastvid.video import VideoReader, VideoWriter

SIZE = (48, 64)  # (H, W)
RATE = 24
SWSCALE_709, SWSCALE_601 = 1, 5


def texture(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A smooth, colourful uint8 (H, W, 3) picture that survives coding."""
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(2 * np.pi * (a * x / width + b * y / height) + c) for a, b, c in rng.random((3, 3))
    ]
    return (127.5 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def quadrants(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Red, green over blue, white: tells every turn and mirroring apart."""
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 220, 30)
    picture[height // 2 :, : width // 2] = (30, 30, 220)
    picture[height // 2 :, width // 2 :] = (230, 230, 230)
    return picture


def write_video(
    path: Path,
    num_frames: int = 6,
    size: tuple[int, int] = SIZE,
    *,
    picture: Callable[[int], np.ndarray] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12288),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    matrix: int | None = None,
    color_range: int | None = None,
    tags: tuple[int, int, int] | None = None,
    sample_aspect_ratio: Fraction | None = None,
    rotation: int = 0,
    sound: str | None = None,
    sound_s: float | None = None,
    faststart: bool = True,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A film of a moving texture, with everything a real one may have.

    Args:
        path: target; the suffix chooses the container.
        num_frames: frames; ignored with `pts`.
        size: (H, W), coded.
        picture: frame number to uint8 (H, W, 3), in place of the moving texture.
        pts: presentation times in ticks; None is a constant 24 frames a second.
        time_base: seconds per tick.
        codec: FFmpeg's encoder.
        pixel_format: FFmpeg's name.
        options: of the encoder; key frames come every 12 frames by default.
        matrix: swscale's matrix that the pixels are coded with (1 BT.709, 5 BT.601, 9 BT.2020).
        color_range: 1 limited, 2 full.
        tags: H.273 (matrix, primaries, transfer) to write; None leaves the film untagged.
        sample_aspect_ratio: pixel width : height.
        rotation: degrees counter-clockwise in the display matrix.
        sound: FFmpeg's audio encoder for a 440 Hz tone.
        sound_s: its length; None is the film's.
        faststart: index in front, so that a cut file can still be opened (mp4).
        metadata: of the container.
    """
    ticks = pts or [round(i / RATE / time_base) for i in range(num_frames)]
    height, width = size
    big = texture((height, width), seed=1)
    picture = picture or (lambda i: np.roll(big, 2 * i, axis=1))
    movflags = {"movflags": "+faststart"} if faststart and path.suffix in (".mp4", ".mov") else {}
    with av.open("file:" + str(path.absolute()), "w", options=movflags) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=RATE, options={"g": "12", **(options or {})})
        context = stream.codec_context
        context.height, context.width = size
        context.pix_fmt, context.time_base = pixel_format, time_base
        if tags is not None:
            context.colorspace, context.color_primaries, context.color_trc = tags
        if color_range is not None:
            context.color_range = color_range
        if sample_aspect_ratio is not None:
            context.sample_aspect_ratio = sample_aspect_ratio
        if rotation:
            stream.set_display_rotation(rotation)
        tone = _Tone(out, sound) if sound else None
        out.start_encoding()
        for i, tick in enumerate(ticks):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture(i)), format="rgb24")
            frame = frame.reformat(
                format=pixel_format,
                dst_colorspace=matrix or SWSCALE_601,
                dst_color_range=color_range or 1,
            )
            frame.pts, frame.time_base = tick, time_base
            out.mux(stream.encode(frame))
            if tone and sound_s is None:
                tone.write_until(float((tick + 1) * time_base) + 1 / RATE)
        out.mux(stream.encode(None))
        if tone:
            if sound_s is not None:
                tone.write_until(sound_s)
            tone.close()
    return path


def write_sound(path: Path, codec: str = "aac", seconds: float = 0.5) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as out:
        tone = _Tone(out, codec)
        tone.write_until(seconds)
        tone.close()
    return path


class _Tone:
    """A 440 Hz tone, written up to any instant."""

    rate = 48000

    def __init__(self, out: av.container.OutputContainer, codec: str) -> None:
        self.out = out
        self.stream = out.add_stream(codec, rate=self.rate)
        self.stream.codec_context.layout = "mono"
        self.done = 0

    def write_until(self, time_s: float) -> None:
        while self.done < time_s * self.rate:
            t = (self.done + np.arange(1024)) / self.rate
            samples = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = self.rate, self.done, Fraction(1, self.rate)
            self.out.mux(self.stream.encode(frame))
            self.done += 1024

    def close(self) -> None:
        self.out.mux(self.stream.encode(None))


def cut(path: Path, target: Path, share: float = 0.6) -> Path:
    """The first part of a file's bytes: a download that broke off."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def damage(path: Path, target: Path, begin: float = 0.4, end: float = 0.6) -> Path:
    """A file with a stretch of zeros in it: a bad sector."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = bytes(last - first)
    target.write_bytes(data)
    return target


def flip_bytes(path: Path, target: Path, num_bytes: int = 20, begin: float = 0.3) -> Path:
    """A file with some inverted bytes after its beginning."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * 0.9)
    for position in np.random.default_rng(3).integers(first, last, num_bytes):
        data[position] ^= 0xFF
    target.write_bytes(data)
    return target


def write_text(path: Path) -> Path:
    """Text under any name."""
    path.write_text("This is no film.\n" * 40)
    return path


def write_empty(path: Path) -> Path:
    """A file without a byte."""
    path.write_bytes(b"")
    return path


def write_playlist(path: Path, inner: Path) -> Path:
    """An HLS playlist that names another file, under any name."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{inner}\n#EXT-X-ENDLIST\n")
    return path


def write_images(
    folder: Path, num_images: int = 3, first: int = 7, pattern: str = "x_%04d.png"
) -> Path:
    """A numbered sequence of images; image i is `texture(seed=i)`."""
    from fastvid.image import write_image

    folder.mkdir(parents=True, exist_ok=True)
    for i in range(num_images):
        write_image(folder / (pattern % (first + i)), texture(seed=i))
    return folder


def write_jpeg(path: Path, picture: np.ndarray, orientation: int = 1) -> Path:
    """A JPEG with an EXIF orientation tag, 1 to 8."""
    from fastvid.image import write_image

    write_image(path, picture)
    data = path.read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + bytes(4)
    head = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path.write_bytes(data[:2] + head + data[2:])
    return path


def write_huge_png(path: Path, size: tuple[int, int] = (60000, 60000)) -> Path:
    """A PNG of 70 bytes that claims to be huge."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", size[1], size[0], 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def packets(path: Path, kind: str) -> list[tuple[int | None, bytes]]:
    """(pts, payload) of all packets of the first stream of a kind ("video", "audio", ...)."""
    with av.open("file:" + str(path.absolute())) as container:
        stream = getattr(container.streams, kind)[0]
        return [(p.pts, bytes(p)) for p in container.demux(stream) if p.dts is not None]


def frame_times(path: Path) -> list[Fraction]:
    """Presentation times of all frames, in seconds, exactly."""
    with av.open("file:" + str(path.absolute())) as container:
        return [f.pts * Fraction(f.time_base) for f in container.decode(video=0)]


def copy_film(source: Path, target: Path, **options: object) -> Path:
    """The film read and written again, with nothing painted."""
    excerpt = {k: options[k] for k in ("start_s", "end_s") if k in options}
    with (
        VideoReader(source, **excerpt) as reader,  # type: ignore[arg-type]
        VideoWriter(target, reader.info, **options) as writer,  # type: ignore[arg-type]
    ):
        for frame in reader:
            writer.write(frame)
    return target


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}
