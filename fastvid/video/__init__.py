"""Video files, still images and image sequences to frames and back.

The only importer of PyAV. `VideoReader` turns a source into upright RGB frames with exact time
stamps, `open_writer` (or `VideoWriter`, `ImageWriter`, `SequenceWriter`) turns frames into a file
that appears under its name only when it is complete. Never imports cv2 or torch.

A container belongs to one thread: the thread that iterates a reader opens and reads it, the thread
that makes a writer is the one that writes and closes it.

    with VideoReader("in.mp4") as reader, VideoWriter("out.mp4", reader.info) as writer:
        for frame in reader:
            writer.write(replace(frame, image=paint(frame.image)))
"""

from fastvid.video.encoders import ENCODERS, OUTPUT_FILM_SUFFIXES
from fastvid.video.reader import ReadReport, VideoReader, probe
from fastvid.video.source import Frame, MediaError, VideoInfo
from fastvid.video.stills import IMAGE_SUFFIXES, OUTPUT_IMAGE_SUFFIXES
from fastvid.video.stills_writer import ImageWriter, SequenceWriter
from fastvid.video.target import Writer, open_writer
from fastvid.video.trial import working_encoder
from fastvid.video.writer import VideoWriter

__all__ = [
    "ENCODERS",
    "IMAGE_SUFFIXES",
    "OUTPUT_FILM_SUFFIXES",
    "OUTPUT_IMAGE_SUFFIXES",
    "Frame",
    "ImageWriter",
    "MediaError",
    "ReadReport",
    "SequenceWriter",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "Writer",
    "open_writer",
    "probe",
    "working_encoder",
]
