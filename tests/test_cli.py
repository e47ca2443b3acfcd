import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from onnx_nets import foreign_net, invert_net, write
from tiny_clips import read, write_clip, write_picture

from fastvid.__main__ import COMMANDS
from fastvid.__main__ import main as fastvid_command
from fastvid.runtime import gallery
from fastvid.runtime.arguments import make_parser
from fastvid.runtime.cli import main
from fastvid.runtime.console import duration
from fastvid.runtime.engines.onnx_cpu import NAME
from fastvid.video.encoders import HARDWARE_ENCODERS
from fastvid.video.hardware import DEVICES

INFER = Path(__file__).parent.parent / "infer.py"


@pytest.fixture
def infer(tmp_path, monkeypatch, capsys):
    """The command in this process: exit code, lines of stdout, lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as leaving:
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


def infer_process(*words, cwd):
    """The same as a user does it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(INFER), *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def errors(lines):
    """The lines that say an error; a traceback would be none of our lines."""
    assert not any("Traceback" in line for line in lines), lines
    return [line for line in lines if line.startswith("error: ")]


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "invert.onnx", invert_net())


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4")


def test_a_film_is_painted_and_its_path_is_the_last_line(clip, model, tmp_path):
    report = tmp_path / "report.json"
    code, out, err = infer_process("clip.mp4", "--model", model, "--report", report, cwd=tmp_path)
    assert (code, out, errors(err)) == (0, ["clip.invert.mp4"], [])
    assert read(tmp_path / "clip.invert.mp4")[0].shape == read(clip)[0].shape
    assert any("engine ONNX Runtime" in line for line in err)
    assert json.loads(report.read_text())["frames"] == 12


@pytest.mark.parametrize("words", [("clip.mp4",), ("--realtime", "clip.mp4"), ("--demo",)])
def test_hardware_is_tried_and_what_ran_is_said(infer, clip, model, words, tmp_path):
    more = ("--model", model, "-o", "out.mp4", "--hardware", "--height", "48", "--end", "0.4")
    code, out, err = infer(*words, *more, "--report", "report.json")
    assert (code, out, errors(err)) == (0, ["out.mp4"], [])
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["encoder"] in ("libx264", *HARDWARE_ENCODERS)
    assert values["decoder"] in ("", "software", *DEVICES)
    assert sum("encoded " in line for line in err) == 1
    assert sum("decoded " in line for line in err) == (values["decoder"] != "")


def test_the_engine_that_really_ran_is_said_at_the_end(infer, clip, model, tmp_path):
    code, _, err = infer(clip, "--model", model, "--engine", "int8", "-o", tmp_path / "p.mp4")
    assert code == 0
    assert err[-1].endswith(f"; {NAME}")  # one convolution is not painted in int8


def test_the_demo_needs_no_file(infer, model, tmp_path):
    words = ("--demo", "--end", "0.5", "--height", "48", "--model", model)
    code, out, _ = infer(*words)
    assert (code, out) == (0, ["demo.invert.mp4"])
    assert read(tmp_path / "demo.invert.mp4")[0].shape == (12, 48, 86, 3)


def test_folders_go_into_folders_and_a_second_run_skips_what_is_done(infer, model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "a.mp4", 3)
    write_clip(folder / "b.mp4", 3)
    write_picture(folder / "p.png")
    code, out, err = infer("in", "--model", model)
    assert (code, errors(err)) == (0, [])
    made = tmp_path / "in.invert"
    assert out == [str(made / "a.invert.mp4"), str(made / "b.invert.mp4"), str(made)]
    (tmp_path / "in.invert" / "b.invert.mp4").unlink()
    (tmp_path / "in.invert" / "p.png").unlink()
    before = (tmp_path / "in.invert" / "a.invert.mp4").stat()
    code, out, err = infer("in", "--model", model)
    assert code == 0
    assert out[0].endswith("b.invert.mp4")
    assert any("a.invert.mp4: painted already, skipped" in line for line in err)
    assert (tmp_path / "in.invert" / "a.invert.mp4").stat() == before


def test_one_bad_input_of_several_leaves_the_others_painted(infer, clip, model, tmp_path):
    (tmp_path / "empty.mp4").touch()
    report = tmp_path / "report.json"
    words = ("empty.mp4", "clip.mp4", "--model", model, "--report", report)
    code, out, err = infer(*words)
    assert (code, out) == (1, ["clip.invert.mp4"])
    assert errors(err) == ["error: empty.mp4: file is empty"]
    values = json.loads(report.read_text())
    assert [f["source"] for f in values["failures"]] == ["empty.mp4"]
    assert values["frames"] == 12


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none.mp4", None, "no such file"),
        ("empty.mp4", b"", "file is empty"),
        ("text.mp4", b"just text\n" * 100, "not a film"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n", "not a film"),
        ("concat:clip.mp4|clip.mp4", None, "no such file"),
        ("http://127.0.0.1/clip.mp4", None, "no such file"),
        ("photo.png", b"no picture", "not an image"),
    ],
)
def test_a_source_that_is_none_is_one_line_and_leaves_nothing(
    infer, name, content, expected, tmp_path
):
    model = write(tmp_path / "invert.onnx", invert_net())
    write_clip(tmp_path / "clip.mp4", 3)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    code, out, err = infer(name, "--model", model)
    assert (code, out) == (1, [])
    assert len(err) == 1
    assert expected in errors(err)[0]
    assert sorted(tmp_path.iterdir()) == before


def test_a_cut_off_film_is_painted_as_far_as_it_goes_and_said_to_be_damaged(infer, model, tmp_path):
    whole = write_clip(tmp_path / "clip.mkv", 30)
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    code, out, err = infer("cut.mkv", "--model", model)
    assert (code, out) == (1, ["cut.invert.mkv"])
    assert len(errors(err)) == 1
    assert "cut.mkv: the source is damaged or cut off" in errors(err)[0]
    assert 0 < len(read(tmp_path / "cut.invert.mkv")[0]) < 30


def test_an_existing_output_is_an_error_and_stays(infer, clip, model, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    words = ("clip.mp4", "-o", "out.mp4", "--model", model)
    code, out, err = infer(*words)
    assert (code, out) == (1, [])
    assert err == ["error: out.mp4: exists already; --overwrite replaces it"]
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    assert infer(*words, "--overwrite")[0] == 0
    assert len(read(tmp_path / "out.mp4")[0]) == 12


@pytest.mark.parametrize("target", ["none/out.mp4", "out.xyz", "clip.mp4"])
def test_an_output_that_cannot_be_written_is_one_error(infer, target, clip, model, tmp_path):
    code, out, err = infer("clip.mp4", "-o", target, "--overwrite", "--model", model)
    assert (code, out, len(errors(err))) == (1, [], 1)
    assert target in errors(err)[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "invert.onnx"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "no usable ONNX file"), (foreign_net(), "not a fastvid network"), (None, "not found")],
)
def test_a_bad_network_is_one_line_for_all_inputs(infer, content, expected, clip, tmp_path):
    write_clip(tmp_path / "second.mp4", 2)
    if content is not None:
        (tmp_path / "bad.onnx").write_bytes(content)
    code, out, err = infer("clip.mp4", "second.mp4", "--model", "bad.onnx")
    assert (code, out, len(err)) == (1, [], 1)
    assert expected in errors(err)[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "give at least one INPUT, or --demo"),
        (("clip.mp4", "--demo"), "--demo has no INPUT"),
        (("clip.mp4", "--style", "nope"), "unknown style 'nope'; choices: "),
        (("clip.mp4", "--strength", "1.5"), "--strength is 1.5, expected 0 to 1"),
        (("clip.mp4", "--strength", "nan"), "expected 0 to 1"),
        (("clip.mp4", "--height", "8"), "--height is 8, expected at least 16"),
        (("clip.mp4", "--start", "-1"), "--start is -1.0, expected seconds"),
        (("clip.mp4", "--start", "2", "--end", "1"), "--end 1.0 is not after --start 2.0"),
        (("clip.mp4", "--device", "tpu"), "invalid choice: 'tpu'"),
        (("clip.mp4", "--overwite"), "unrecognized arguments: --overwite"),
        (("clip.mp4", "--style", "a", "--model", "b.onnx"), "not allowed with argument"),
        (("camera:0", "clip.mp4"), "camera:0 cannot be mixed"),
        (("clip.mp4", "--hardware", "--workers", "2"), "--hardware goes without --workers"),
        (("clip.mp4", "--hardware", "--ray", "local"), "--hardware goes without --workers"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(infer, words, expected, tmp_path):
    code, out, err = infer(*words)
    assert (code, out, len(err)) == (2, [], 1)
    assert expected in errors(err)[0]


def test_cuda_where_there_is_none_is_an_error(clip, model, tmp_path):
    code, out, err = infer_process("clip.mp4", "--model", model, "--device", "cuda", cwd=tmp_path)
    if code == 0:
        pytest.skip("this machine has a working CUDA")
    assert (code, out) == (1, [])
    assert len(err) == 1
    assert "device cuda: " in errors(err)[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "invert.onnx"]


def test_verbose_adds_the_traceback(infer, model, tmp_path):
    _, _, err = infer("none.mp4", "--model", model, "--verbose")
    assert any(line.startswith("Traceback") for line in err)
    assert any(line.startswith("error: none.mp4: no such file") for line in err)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to one process")
def test_ctrl_c_keeps_a_playable_part_under_another_name(model, tmp_path):
    words = ["--demo", "--end", "3600", "--height", "64", "--model", model, "-o", "out.mp4"]
    words += ["--preset", "ultrafast", "--crf", "1"]
    process = subprocess.Popen(
        [sys.executable, str(INFER), *map(str, words)],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell's background job would hand down an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while process.poll() is None:  # until frames have come out of the encoder
        hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        if any(path.stat().st_size > 10_000 for path in hidden):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert not errors(err.splitlines())
    assert "interrupted after" in err
    assert out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["invert.onnx", "out.partial.mp4"]
    frames, times = read(tmp_path / "out.partial.mp4")
    assert f"interrupted after {len(frames)} frames" in err
    assert times[-1] == pytest.approx((len(frames) - 1) / 24, abs=0.01)


def test_the_fastvid_command_lists_its_commands_and_refuses_others(capsys):
    assert fastvid_command(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in COMMANDS)
    assert fastvid_command(["stylez"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: unknown command 'stylez'; choices: styles")
    assert err.endswith("did you mean styles?\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as leaving:
        fastvid_command([name, "--help"])
    assert leaving.value.code == 0
    assert f"usage: fastvid {name}" in capsys.readouterr().out


def test_styles_are_a_table_or_json(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gallery, "STYLES_DIR", tmp_path)
    assert fastvid_command(["styles"]) == 0
    assert "no style is installed" in capsys.readouterr().err
    write(tmp_path / "udnie.onnx", invert_net())
    card = {"title": "Udnie", "net": "base", "scores": {"mean": {"style_distance": 0.3}}}
    (tmp_path / "udnie.json").write_text(json.dumps(card))
    assert fastvid_command(["styles"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["style", "title"]
    assert row.split() == ["udnie", "Udnie", "-", "-", "base", "0.300", "-"]
    assert fastvid_command(["styles", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"udnie": card}


def test_the_defaults_are_those_of_the_function():
    args = make_parser().parse_args(["x.mp4"])
    assert (args.strength, args.audio, args.crf, args.overwrite) == (1.0, "copy", None, False)


def test_lengths_of_time_are_for_people():
    assert [duration(s) for s in (0.4, 42, 187, 3723)] == ["0 s", "42 s", "3:07 min", "1:02:03 h"]
