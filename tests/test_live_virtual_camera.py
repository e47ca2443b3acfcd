"""The virtual camera against a stand-in for pyvirtualcam, which needs a device."""

import sys
from types import SimpleNamespace

import pytest
from onnx_nets import invert_net, write
from tiny_clips import SIZE, write_clip

from fastvid.runtime.cli import main
from fastvid.runtime.finish import Finish
from fastvid.runtime.live.loop import paint_live
from fastvid.runtime.live.realtime import RealtimeFile
from fastvid.runtime.live.virtual_camera import VirtualCamera
from fastvid.runtime.pipeline import Encoding
from fastvid.runtime.stylizer import OnnxStylizer


class Device:
    """What pyvirtualcam.Camera does, kept in memory."""

    device = "/dev/video7"

    def __init__(self, *, width, height, fps, fmt):
        self.asked = (width, height, fps, fmt)
        self.images, self.closed = [], False
        Device.last = self

    def send(self, image):
        assert image.flags.c_contiguous
        self.images.append(image)

    def close(self):
        self.closed = True


@pytest.fixture
def _device(monkeypatch):
    module = SimpleNamespace(Camera=Device, PixelFormat=SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_device")
@pytest.mark.parametrize("in_file", [False, True])
def test_every_painted_frame_goes_to_the_virtual_camera(tmp_path, in_file):
    if sys.platform in ("win32", "darwin") and not in_file:
        pytest.skip("a window would open")
    clip = write_clip(tmp_path / "clip.mp4", 5)
    target = tmp_path / "out.mp4" if in_file else None
    finish = Finish(side_by_side=True)
    report = paint_live(
        RealtimeFile(clip), target, OnnxStylizer(invert_net(), "net", "cpu"), finish, Encoding(),
        virtual_camera=True,
    )  # fmt: skip
    h, w = SIZE
    assert Device.last.asked == (2 * w, h, 25, "rgb")
    assert [image.shape for image in Device.last.images] == [(h, 2 * w, 3)] * report.frames
    assert Device.last.closed


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(RuntimeError, match=r"pip install 'fastvid\[live\]'"):
        VirtualCamera(SIZE, 25)


def test_without_a_device_the_remedy_is_named(monkeypatch):
    def missing(**settings):
        raise RuntimeError("'v4l2loopback' backend: no device")

    module = SimpleNamespace(Camera=missing, PixelFormat=SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RuntimeError, match=r"no device for it \('v4l2.*; load the kernel module"):
        VirtualCamera(SIZE, 25)


def test_only_what_is_live_goes_to_a_virtual_camera(tmp_path, capsys):
    model = write(tmp_path / "net.onnx", invert_net())
    with pytest.raises(SystemExit) as leaving:
        main(["clip.mp4", "--virtual-camera", "--model", str(model)])
    assert leaving.value.code == 2
    assert "--virtual-camera goes with camera:0 or --realtime" in capsys.readouterr().err
