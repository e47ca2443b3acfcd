import logging
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import av
import media
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame

from fastvid.video import VideoReader, color
from fastvid.video.hardware import DEVICES, SOFTWARE, decode_on_hardware

Frames = Generator[VideoFrame, None, None]

# What a device hands out: the pictures of software in the layouts of hardware


@pytest.mark.parametrize("size", [(24, 32), None, (64, 64), (96, 128)])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(
    ("coded", "downloaded", "tags"),
    [
        ("yuv420p", "nv12", None),
        ("yuv420p", "nv12", (1, 1, 1)),
        ("yuv420p", "nv12", (6, 6, 6)),
        ("yuv420p10le", "p010le", (1, 1, 1)),
        ("yuv420p10le", "p010le", (9, 9, 16)),
        ("yuv420p10le", "p010le", (9, 9, 18)),
    ],
)
def test_layouts_of_hardware_give_the_pixels_of_software(
    tmp_path: Path,
    coded: str,
    downloaded: str,
    tags: tuple[int, int, int] | None,
    color_range: int,
    size: tuple[int, int] | None,
) -> None:
    path = media.write_video(
        tmp_path / "a.mkv", 2, pixel_format=coded, tags=tags, color_range=color_range, rotation=90
    )
    for frame in software_frames(path):
        other = frame.reformat(format=downloaded)
        assert other.format.name == downloaded
        assert (other.colorspace, other.color_range, other.color_trc) == (
            (frame.colorspace, frame.color_range, frame.color_trc)
        )
        np.testing.assert_array_equal(
            color.to_rgb(other, size, color.orientation_of(other)),
            color.to_rgb(frame, size, color.orientation_of(frame)),
        )


# Devices that are not there


@pytest.mark.parametrize("kind", [*DEVICES, "qsv", "amf", "no such kind"])
def test_a_device_that_does_not_open_is_an_error_and_no_crash(tmp_path: Path, kind: str) -> None:
    """What the fall-back relies on; where a device is, it must give pictures."""
    path = media.write_video(tmp_path / "a.mp4", 3)
    try:
        with av.open(str(path), hwaccel=HWAccel(kind, allow_software_fallback=False)) as container:
            found = [frame.format.name for frame in container.decode(video=0)]
    except (OSError, RuntimeError):
        return
    assert found == ["nv12"] * 3


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),  # no device takes it
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),  # keeps no times
    ],
)
@pytest.mark.parametrize("start_s", [None, 0.7])
def test_a_film_gives_the_same_frames_with_and_without_hardware(
    tmp_path: Path,
    name: str,
    codec: str,
    pixel_format: str,
    start_s: float | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    base = {"time_base": media.Fraction(1, 24)} if codec == "mpeg4" else {}
    path = media.write_video(
        tmp_path / name, 30, codec=codec, pixel_format=pixel_format, options=quiet, **base
    )
    caplog.set_level(logging.INFO)
    with VideoReader(path, start_s) as plain, VideoReader(path, start_s, hardware=True) as reader:
        assert_equal(list(reader), list(plain))
    assert plain.decoder == SOFTWARE
    assert reader.decoder in (SOFTWARE, *DEVICES)
    assert caplog.messages[0].startswith(f"{path}: decoded ")
    assert len(caplog.messages) == 1
    assert reader.report() == plain.report()


def test_the_log_says_what_was_tried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = media.write_video(tmp_path / "a.mp4", 3)
    with VideoReader(path, hardware=True) as reader:
        list(reader)
    if reader.decoder != SOFTWARE:
        pytest.skip(f"this machine decodes by {reader.decoder}")
    caplog.set_level(logging.INFO)
    with VideoReader(path, hardware=True) as reader:
        list(reader)
    (message,) = caplog.messages
    for kind in set(DEVICES) & set(av.codec.hwaccel.hwdevices_available()):
        assert f"{kind}: " in message


def test_damage_is_counted_as_without_hardware(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.mp4", 60)
    for path in (
        media.damage(whole, tmp_path / "zeros.mp4", 0.5, 0.6),
        media.flip_bytes(whole, tmp_path / "flips.mp4"),
        media.cut(whole, tmp_path / "cut.mp4"),
    ):
        with VideoReader(path) as plain, VideoReader(path, hardware=True) as reader:
            assert_equal(list(reader), list(plain))
        assert reader.report() == plain.report()
        assert not reader.report().complete


def test_images_are_read_without_hardware(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "s", 2)
    with VideoReader(folder, hardware=True) as reader:
        assert len(list(reader)) == 2
    assert reader.decoder == SOFTWARE


def test_a_film_that_cannot_be_read_fails_as_without_hardware(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", 6)
    reader = VideoReader(path, hardware=True)
    path.unlink()
    with pytest.raises(RuntimeError, match="no such file"):
        list(reader)


# Devices that are there: software in the layouts of hardware stands in for them


class Machine:
    """Devices by name of what they do, tried in this order; None is software."""

    def __init__(self, path: Path, *devices: str) -> None:
        self.path, self.devices = path, devices
        self.told: list[str] = []
        self._left = iter(devices)

    def frames(self) -> Iterator[VideoFrame]:
        return decode_on_hardware(self._decode, self.told.append, self.path, self.devices)

    def _decode(self, device: HWAccel | None) -> Frames:
        if device is None:
            return software_frames(self.path)
        behaviours: dict[str, Callable[[], Frames]] = {
            "works": lambda: self._downloaded(),
            "absent": self._absent,
            "empty": lambda: self._downloaded(0),
            "green": lambda: self._downloaded(picture=lambda i: VideoFrame(64, 48, "nv12")),
            "cropped": lambda: self._downloaded(picture=lambda i: VideoFrame(64, 64, "nv12")),
            "late": lambda: self._downloaded(shift=512),
            "breaks": lambda: self._downloaded(5, error=OSError(5, "device lost")),
        }
        return behaviours[next(self._left)]()

    def _absent(self) -> Frames:
        raise OSError(1, "Operation not permitted")
        yield

    def _downloaded(
        self,
        num_frames: int | None = None,
        picture: Callable[[int], VideoFrame] | None = None,
        shift: int = 0,
        error: Exception | None = None,
    ) -> Frames:
        for i, frame in enumerate(software_frames(self.path)):
            if i == num_frames:
                break
            other = picture(i) if picture else frame.reformat(format="nv12")
            other.pts = frame.pts + shift
            yield other
        if error is not None:
            raise error


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return media.write_video(tmp_path / "a.mp4", 12)


def test_the_first_device_that_works_decodes_the_film(film: Path) -> None:
    machine = Machine(film, "absent", "works", "breaks")
    found = list(machine.frames())
    assert machine.told == ["works"]
    assert {frame.format.name for frame in found} == {"nv12"}
    assert_same_pictures(found, film)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("absent", "Operation not permitted"),
        ("empty", "no frame"),
        ("green", "another picture"),
        ("cropped", "another size"),
        ("late", "another time"),
    ],
)
def test_a_device_that_is_wrong_about_the_first_frame_is_not_used(
    film: Path, device: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine(film, device)
    found = list(machine.frames())
    assert machine.told == [SOFTWARE]
    assert {frame.format.name for frame in found} == {"yuv420p"}
    assert_same_pictures(found, film)
    (line,) = caplog.messages
    assert f"decoded in software ({device}: " in line
    assert message in line


def test_software_goes_on_where_a_device_breaks(
    film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(film, "breaks")
    found = list(machine.frames())
    assert machine.told == ["breaks", "breaks, then software"]
    assert [frame.format.name for frame in found] == ["nv12"] * 5 + ["yuv420p"] * 7
    assert_same_pictures(found, film)
    assert "in software from frame 5 on (breaks: device lost)" in caplog.text


def test_damaged_frames_are_left_to_software(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "a.ts", 60)
    damaged = media.flip_bytes(whole, tmp_path / "b.ts")
    right = list(software_frames(damaged))
    first = next(i for i, frame in enumerate(right) if frame.is_corrupt)
    machine = Machine(damaged, "works")
    found = list(machine.frames())
    assert [f.format.name for f in found] == ["nv12"] * first + ["yuv420p"] * (len(right) - first)


def test_without_a_device_the_film_is_decoded_in_software(
    film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine(film)
    assert_same_pictures(list(machine.frames()), film)
    assert machine.told == [SOFTWARE]
    assert "no device" in caplog.text


def test_leaving_early_is_no_failure_of_the_device(
    film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine(film, "works")
    frames = machine.frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert caplog.messages == [f"{film}: decoded by works"]


def software_frames(path: Path) -> Frames:
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue


def assert_equal(found: list, wanted: list) -> None:
    assert [(f.pts, f.duration) for f in found] == [(f.pts, f.duration) for f in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def assert_same_pictures(found: list[VideoFrame], path: Path) -> None:
    wanted = list(software_frames(path))
    assert [f.pts for f in found] == [f.pts for f in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(color.to_rgb(a), color.to_rgb(b))
