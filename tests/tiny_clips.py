"""Tiny films and images for the tests of the runtime."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fastvid.video import Frame, ImageWriter, VideoInfo, VideoReader, VideoWriter

SIZE = (48, 64)
RATE = 25


def picture(t=0, size=SIZE):
    """A smooth picture that moves with t, uint8 (H, W, 3)."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin((x + t) / 40), np.cos((y - t) / 30), np.sin((x + y) / 50)]
    return (128 + 60 * np.stack(waves, -1)).astype(np.uint8)


def write_clip(path, num_frames=12, size=SIZE):
    """A silent H.264 film."""
    info = VideoInfo(Path("made"), size[1], size[0], Fraction(RATE), Fraction(1, RATE))
    with VideoWriter(path, info, size, crf=1, preset="ultrafast") as writer:
        for t in range(num_frames):
            writer.write(Frame(picture(t, size), t, info.time_base, 1))
    return path


def write_clip_with_sound(path, num_frames=12, size=SIZE):
    """An H.264 film with as much AAC sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for t in range(num_frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(t, size), "rgb24")))
        samples = np.sin(np.arange(16000 * num_frames // RATE) / 8)[None].astype(np.float32)
        sound = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux([*video.encode(None), *audio.encode(None)])
    return path


def write_picture(path, t=0, size=SIZE):
    """A still image."""
    with ImageWriter(path) as writer:
        writer.write(Frame(picture(t, size), 0, Fraction(1, RATE)))
    return path


def read(path):
    """All frames of a source, uint8 (T, H, W, 3), and their times in seconds."""
    with VideoReader(path) as reader:
        frames = list(reader)
    return np.stack([frame.image for frame in frames]), [frame.time_s for frame in frames]


def sound_packets(path):
    """The bytes of every packet of sound."""
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]
