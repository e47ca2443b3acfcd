import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import media
import pytest
from av.video.frame import VideoFrame
from bulk_films import scene

from fastvid.video import (
    Frame,
    VideoReader,
    VideoWriter,
    probe,
)


def test_video_loads_neither_opencv_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from fastvid.video import VideoReader, VideoWriter\n"
        "with VideoReader(sys.argv[1]) as r, VideoWriter(sys.argv[2], r.info) as w:\n"
        "    for frame in r: w.write(frame)\n"
        "sys.exit(bool({'cv2', 'torch'} & set(sys.modules)))\n"
    )
    source = media.write_video(tmp_path / "a.mp4", 3, sound="aac")
    run = subprocess.run([sys.executable, "-c", code, str(source), str(tmp_path / "b.mp4")])
    assert run.returncode == 0


def test_read_in_one_thread_and_written_in_another(tmp_path: Path) -> None:
    import queue

    source = media.write_video(tmp_path / "a.mp4", 30, sound="aac")
    frames: queue.Queue[Frame | None] = queue.Queue(2)
    reader = VideoReader(source)

    def read() -> None:
        for frame in reader:
            frames.put(frame)
        frames.put(None)

    thread = threading.Thread(target=read)
    thread.start()
    with VideoWriter(tmp_path / "b.mp4", reader.info) as writer:
        while (frame := frames.get(timeout=20)) is not None:
            writer.write(frame)
    thread.join(10)
    assert media.frame_times(tmp_path / "b.mp4") == media.frame_times(source)


def test_pieces_are_coded_alike_every_time(tmp_path: Path) -> None:
    info = probe(media.write_video(tmp_path / "a.mp4", 2))
    pictures = [scene(t) for t in range(190, 310)]

    def code(number: int) -> bytes:
        path = tmp_path / f"{number}.mp4"
        with VideoWriter(path, info, preset="veryfast", as_piece=True) as writer:
            for t, image in enumerate(pictures):
                writer.write(Frame(image, t * 512, info.time_base, 512))
        return path.read_bytes()

    with ThreadPoolExecutor(3) as pool:  # busy cores, as where pieces are painted
        assert len(set(pool.map(code, range(60)))) == 1


@pytest.mark.parametrize("source", ["film", "images"])
def test_no_picture_waits_for_the_garbage_collector(tmp_path: Path, source: str) -> None:
    if source == "film":
        path = media.write_video(tmp_path / "a.mp4", 24, (48, 64))
    else:
        path = media.write_images(tmp_path / "a", 24)

    def in_memory() -> int:
        return sum(type(thing) is VideoFrame for thing in gc.get_objects())

    gc.collect()
    before = in_memory()
    gc.disable()
    try:
        for frame in VideoReader(path):
            del frame
        waiting = in_memory() - before
    finally:
        gc.enable()
    assert waiting < 6


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    def peak_mib(num_frames: int) -> float:
        source = media.write_video(
            tmp_path / f"{num_frames}.mp4", num_frames, (240, 320), options={"preset": "ultrafast"}
        )
        # VmHWM, since ru_maxrss begins at what the parent had when it forked
        code = (
            "import re, sys\n"
            "from fastvid.video import VideoReader, VideoWriter\n"
            "with VideoReader(sys.argv[1]) as r:\n"
            "    with VideoWriter(sys.argv[2], r.info, preset='ultrafast') as w:\n"
            "        for frame in r: w.write(frame)\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        )
        target = tmp_path / f"out{num_frames}.mp4"
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(target)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout) / 1024

    # 300 frames of this size are 66 MiB when held
    assert peak_mib(330) - peak_mib(30) < 20
