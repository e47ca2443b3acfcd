"""The same file on a Ray cluster of two tasks at a time."""

import importlib.util

import pytest
from bulk_films import finish, start, write_film
from onnx_nets import norm_net, write

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra ray"
)


def test_ray_makes_the_same_file_as_one_process(tmp_path):
    write_film(tmp_path / "film.mp4", 250)
    write(tmp_path / "net.onnx", norm_net())
    words = ("film.mp4", "--model", "net.onnx", "--device", "cpu", "--engine", "onnxruntime")
    code, _, err = finish(start(*words, "-o", "one.mp4", "--workers", "1", cwd=tmp_path), 240)
    assert code == 0, err
    ray = start(*words, "-o", "ray.mp4", "--ray", "local", "--workers", "2", cwd=tmp_path)
    code, out, err = finish(ray, 240)
    assert (code, out) == (0, ["ray.mp4"]), err
    assert (tmp_path / "ray.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()
