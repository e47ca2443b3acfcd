"""The crew on Ray: the same file as one process makes, also when a task's process dies."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
from bulk_films import finish, start, write_film
from onnx_nets import norm_net, write

from fastvid.runtime.bulk.piece import Network, loaded
from fastvid.runtime.bulk.run import paint_films
from fastvid.runtime.engines import onnx_cpu
from fastvid.runtime.finish import Finish
from fastvid.runtime.jobs import Job
from fastvid.runtime.pipeline import Encoding


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ray")
    write_film(path / "film.mp4", 140)
    write(path / "net.onnx", norm_net())
    paint(path, path / "one.mp4")
    return path


def paint(folder, target, **more):
    network = Network(folder / "net.onnx", "cpu", "onnxruntime")
    job = Job(folder / "film.mp4", target)
    finish, encoding = Finish(), Encoding()
    (film,) = paint_films([job], network, lambda: loaded(network), finish, encoding, **more)
    film.result()


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class FakeRay:
    """What the crew calls of Ray, in this process; the first task's process dies."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self):
        self.asked, self.tasks, self.is_up = {}, [], False

    def init(self, **settings):
        self.is_up, self.settings = True, settings

    def cluster_resources(self):
        return {"CPU": 8.0, "GPU": 1.0}

    def remote(self, **resources):
        self.asked = resources

        def make(function):
            def call(*words):
                self.tasks.append((function, words))
                return len(self.tasks) - 1

            return SimpleNamespace(remote=call)

        return make

    def wait(self, references, num_returns, timeout):
        assert timeout < 60
        return references[:1], references[1:]

    def get(self, reference):
        if reference == 0:
            raise RayError
        function, words = self.tasks[reference]
        return function(*words)

    def shutdown(self):
        self.is_up = False


def test_a_task_whose_process_dies_is_given_again(folder, tmp_path, monkeypatch, caplog):
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(onnx_cpu, "_max_threads", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    paint(folder, tmp_path / "out.mp4", ray="10.0.0.1:6379", num_workers=4)
    assert (tmp_path / "out.mp4").read_bytes() == (folder / "one.mp4").read_bytes()
    assert len(ray.tasks) == 3  # of two pieces
    assert "(RayError), the piece is painted again" in caplog.text
    assert (ray.settings["address"], ray.is_up) == ("10.0.0.1:6379", False)
    assert ray.asked == {"max_retries": 0, "num_cpus": 2}  # no card: --device cpu
    assert onnx_cpu.session_options().intra_op_num_threads == 2


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray_makes_the_same_file_as_one_process(folder, tmp_path):
    words = (folder / "film.mp4", "--model", folder / "net.onnx", "-o", "out.mp4")
    engine = ("--device", "cpu", "--engine", "onnxruntime")
    run = start(*words, *engine, "--ray", "local", "--workers", "2", cwd=tmp_path)
    code, out, err = finish(run, 240)
    if any("no such cluster" in line for line in err):
        pytest.skip(f"Ray does not start here: {err[-1]}")
    assert (code, out) == (0, ["out.mp4"]), err
    assert (tmp_path / "out.mp4").read_bytes() == (folder / "one.mp4").read_bytes()
