"""Films painted in pieces: the same file whoever paints, and after any death."""

import contextlib
import os
import signal
import sys
import time
from fractions import Fraction
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from bulk_films import finish, start, write_film
from media import frame_times, packets
from onnx_nets import foreign_net, norm_net, write
from tiny_clips import read, write_clip

from fastvid.runtime.bulk import crew as crews
from fastvid.runtime.bulk.crew import Ended
from fastvid.runtime.bulk.film import BulkFilm
from fastvid.runtime.bulk.folder import Folder
from fastvid.runtime.bulk.piece import Network, loaded
from fastvid.runtime.bulk.run import paint_films
from fastvid.runtime.bulk.schedule import MAX_ATTEMPTS, Schedule
from fastvid.runtime.cli import main
from fastvid.runtime.finish import Finish
from fastvid.runtime.jobs import Job
from fastvid.runtime.pipeline import Encoding
from fastvid.video import MediaError

NUM_PIECES = 4
WAIT_S = 240  # for what takes seconds on a machine with nothing else to do
ENGINE = ("--device", "cpu", "--engine", "onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film of four pieces, its network, and what one run without trouble makes of it."""
    path = tmp_path_factory.mktemp("bulk")
    write_film(path / "film.mp4")
    write(path / "net.onnx", norm_net())
    job = Job(path / "film.mp4", path / "whole.mp4")
    (film,) = paint(job, path / "net.onnx")
    report = film.result()
    assert (report.frames, report.shots, report.complete) == (400, 3, True)
    assert (report.decoder, report.encoder) == ("software", "libx264")
    return path


def paint(job, model, **more):
    network = Network(model, "cpu", "onnxruntime")
    return paint_films([job], network, lambda: loaded(network), Finish(), Encoding(), **more)


def infer(*words):
    """The command in this process."""
    try:
        return main([str(word) for word in words])
    except SystemExit as leaving:
        return leaving.code


def wait_until(condition, what):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.01)


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_the_sound_and_the_clock_are_the_source_s(folder):
    assert frame_times(folder / "whole.mp4") == frame_times(folder / "film.mp4")
    assert packets(folder / "whole.mp4", "audio") == packets(folder / "film.mp4", "audio")
    assert not list(folder.glob(".*.parts"))


def test_two_workers_make_the_same_file_even_when_they_are_killed(folder, tmp_path, caplog):
    killed = []

    def kill(done, expected, remark):
        if not killed:
            killed.extend(active_children())
            for process in killed:
                os.kill(process.pid, signal.SIGKILL)

    job = Job(folder / "film.mp4", tmp_path / "film.mp4")
    (film,) = paint(job, folder / "net.onnx", num_workers=2, on_progress=kill)
    assert film.result().frames == 400
    assert killed
    assert "killed by signal 9), the piece is painted again" in caplog.text
    assert (tmp_path / "film.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert not active_children()


def test_a_style_that_changes_goes_on_from_piece_to_piece(folder, tmp_path):
    other = write(tmp_path / "other.onnx", norm_net(1))
    words = ["--style", f"{folder / 'net.onnx'}@2,{other}@4", *ENGINE, "--codec", "ffv1"]  # one cut
    pictures = []
    for name, more in (("alone", ()), ("pieces", ("--workers", 2))):
        assert infer(folder / "film.mp4", *words, "-o", tmp_path / f"{name}.mkv", *more) == 0
        pictures.append(read(tmp_path / f"{name}.mkv")[0])
    assert len(pictures[0]) == 400
    assert np.array_equal(*pictures)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_was(folder, tmp_path, monkeypatch, number):
    words = (folder / "film.mp4", "--model", folder / "net.onnx", "-o", "out.mp4", *ENGINE)
    parts = tmp_path / ".out.mp4.parts"
    program = start(*words, "--workers", "2", cwd=tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(finish, program, WAIT_S)
        wait_until(lambda: list(parts.glob("00000?.mp4")), "the first piece")
        children = children_of(program.pid)
        program.send_signal(number)
    assert program.returncode == (130 if number == signal.SIGINT else -number)
    assert children
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "no orphan")
    kept = {path.name for path in parts.glob("00000?.mp4")}
    assert 1 <= len(kept) < NUM_PIECES

    painted = []
    paint_piece = crews.paint_piece
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        crews, "paint_piece", lambda p, f=None: (painted.append(p.path.name), paint_piece(p, f))
    )
    assert infer(*words, "--workers", "1") == 0
    assert kept.isdisjoint(painted)
    assert len(kept) + len(painted) == NUM_PIECES
    assert (tmp_path / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert not parts.exists()


def stop_after(num_frames):
    """Ctrl-C as soon as so many frames are there."""

    def on_progress(done, expected, remark):
        if done >= num_frames:
            raise KeyboardInterrupt

    return on_progress


def test_other_options_begin_anew_and_say_so(folder, tmp_path, caplog):
    job = Job(folder / "film.mp4", tmp_path / "film.mp4")
    with pytest.raises(KeyboardInterrupt):
        list(paint(job, folder / "net.onnx", on_progress=stop_after(80)))
    assert Folder(job.target).is_done(0)
    (film,) = paint(job, folder / "net.onnx", excerpt_s=(None, 1.0))
    assert film.result().frames == 24
    assert "begun anew, because what is there was made with other options" in caplog.text
    assert frame_times(job.target)[-1] < 1


def test_an_excerpt_has_its_own_clock(folder, tmp_path):
    job = Job(folder / "film.mp4", tmp_path / "film.mp4")
    (film,) = paint(job, folder / "net.onnx", excerpt_s=(2.0, 9.0))
    film.result()
    assert frame_times(job.target) == [Fraction(t, 24) for t in range(7 * 24)]


def test_films_that_are_there_are_skipped_and_bad_ones_do_not_stop_the_others(
    folder, tmp_path, capsys
):
    (tmp_path / "films").mkdir()
    for name in ("a.mp4", "c.mp4"):
        write_clip(tmp_path / "films" / name, 4)
    (tmp_path / "films" / "b.mp4").write_bytes(b"no film")
    films = sorted((tmp_path / "films").iterdir())
    words = (*films, "-o", f"{tmp_path / 'out'}/", "--model", folder / "net.onnx", *ENGINE)
    assert infer(*words, "--workers", 1) == 1
    said = capsys.readouterr()
    names = [Path(line).name for line in said.out.splitlines()]
    assert names == ["a.net.mp4", "c.net.mp4"]
    (error,) = [line for line in said.err.splitlines() if line.startswith("error")]
    assert "b.mp4" in error

    films[1].unlink()
    assert infer(films[0], films[2], *words[3:], "--workers", 1) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("painted already, skipped") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


class Deadly:
    """A crew whose workers die at once."""

    num_workers = 2

    def __init__(self):
        self.started = []

    def start(self, number, piece):
        self.started.append(number)

    def poll(self, timeout_s, on_frames):
        numbers, self.started = self.started, []
        return [Ended(number, death="killed by signal 9") for number in numbers]

    def __enter__(self):
        return self

    def __exit__(self, *of_what):
        self.left = True


def test_a_piece_that_kills_its_workers_is_given_up(folder, tmp_path):
    network = Network(folder / "net.onnx", "cpu", "onnxruntime")
    job = Job(write_clip(tmp_path / "clip.mp4", 4), tmp_path / "out.mp4")
    film = BulkFilm(
        job, network, lambda: loaded(network), Finish(), Encoding(), (None, None), None, "shot"
    )
    crew = Deadly()
    assert list(Schedule([film], crew).run()) == [film]
    assert crew.left
    with pytest.raises(RuntimeError, match=f"piece 0 died {MAX_ATTEMPTS} times"):
        film.result()
    assert not job.target.exists()


def test_a_network_that_cannot_be_loaded_is_said_once(tmp_path, capsys):
    films = [write_clip(tmp_path / name, 4) for name in ("a.mp4", "b.mp4")]
    model = write(tmp_path / "net.onnx", foreign_net())
    assert infer(*films, "--model", model, "--workers", 1) == 1
    assert capsys.readouterr().err.count("error: ") == 1


def test_a_film_is_painted_by_one_run_at_a_time(tmp_path):
    first, second = Folder(tmp_path / "a.mp4"), Folder(tmp_path / "a.mp4")
    first.open({"of": "this"})
    with pytest.raises(MediaError, match="another run"):
        second.open({"of": "this"})
    first.close()
    assert second.open({"of": "this"}) == {}
    second.remove()


def test_the_folder_of_a_film_that_was_joined_already_is_removed(tmp_path):
    target = tmp_path / "a.mp4"
    folder = Folder(target)
    folder.open({})
    folder.close()
    target.write_bytes(b"an older film")
    folder.piece(0).write_bytes(b"a piece")
    os.utime(target, (1, 1))
    folder.remove_leftover(target)
    assert folder.is_done(0)
    os.utime(target)
    folder.remove_leftover(target)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("a.mp4", "--workers", "0"), "--workers is 0"),
        (("--demo", "--workers", "2"), "--workers and --ray paint films from files"),
        (("camera:0", "--ray", "local"), "--workers and --ray paint films from files"),
    ],
)
def test_wrong_usage_is_said(words, text, capsys):
    assert infer(*words) == 2
    assert text in capsys.readouterr().err


def test_a_missing_ray_names_the_remedy(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = (folder / "film.mp4", "-o", tmp_path / "o.mp4", "--model", folder / "net.onnx")
    assert infer(*words, "--ray", "local") == 1
    assert 'pip install "fastvid[ray]"' in capsys.readouterr().err
