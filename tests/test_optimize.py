import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from reference_nets import MEAN_RGB, numpy_warp, tiny_weights
from safetensors.torch import save_file
from tiny_clips import write_clip_with_sound

from fastvid.__main__ import main
from fastvid.image import read_image, write_image
from fastvid.motion.consistency import read_pgm
from fastvid.motion.flow import read_flo
from fastvid.optimize import compose_config, target_beside
from fastvid.video import VideoReader, VideoWriter, probe

SIZE = (32, 40)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny network, a painting and three frames."""
    rng = np.random.default_rng(0)
    save_file(dict(tiny_weights().tensors), tmp_path / "tiny_caffe.safetensors")
    write_image(tmp_path / "painting.png", rng.integers(0, 256, (30, 30, 3), dtype=np.uint8))
    write_image(tmp_path / "other.png", rng.integers(0, 256, (30, 30, 3), dtype=np.uint8))
    wide = rng.integers(0, 256, (SIZE[0], SIZE[1] + 6, 3), dtype=np.uint8)
    for k in range(3):
        write_image(tmp_path / f"f_{k + 1:02d}.png", wide[:, 2 * k : 2 * k + SIZE[1]])
    monkeypatch.chdir(tmp_path)
    return tmp_path


TINY = (
    "style=custom style.name=mine style.image=painting.png weights=tiny_caffe.safetensors "
    "content_layers=[relu2_1] style_layers=[relu1_1] num_iterations=[2,1] device=cpu print_iter=0"
).split()


def optimize(*words: str) -> int:
    return main(["optimize", *words, *TINY])


def test_frames_come_out_with_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize("f_%02d.png", "-o", "out", "report=report.json") == 0
    assert capsys.readouterr().out == "out\n"
    assert sorted(p.name for p in (here / "out").iterdir()) == ["f_01.png", "f_02.png", "f_03.png"]
    assert read_image("out/f_02.png").shape == (*SIZE, 3)
    frames = json.loads(Path("report.json").read_text())["frames"]
    assert [frame["frame"] for frame in frames] == [1, 2, 3]
    for frame in frames:
        for moment in ("before", "after"):
            terms = frame[moment]
            total = terms["content"] + terms["style"] + terms["temporal"]
            assert terms["total"] == pytest.approx(total)
    assert frames[1]["before"]["temporal"] == 0  # it starts from the warped frame before
    assert frames[1]["after"]["temporal"] > 0
    assert not (here / "out.state").exists()


def test_films_keep_their_length_and_rate(here: Path) -> None:
    with VideoReader("f_%02d.png") as reader, VideoWriter("film.mp4", reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    assert optimize("film.mp4", "method=independent") == 0
    with VideoReader("film.mp4") as source, VideoReader("film.mine.mp4") as painted:
        times = [[frame.time_s for frame in reader] for reader in (source, painted)]
    assert times[0] == times[1]


def test_excerpt_of_a_film_keeps_its_part_of_the_sound(here: Path) -> None:
    write_clip_with_sound(Path("film.mp4"), num_frames=12)
    words = "start_number=4 num_frames=5 height_px=32".split()
    assert optimize("film.mp4", "-o", "part.mp4", *words) == 0
    info = probe("part.mp4")
    assert (info.num_frames, info.height, info.has_audio) == (5, 32, True)
    assert info.duration_s == pytest.approx(0.2, abs=0.05)


def test_interrupted_film_is_playable_and_goes_on(here: Path) -> None:
    write_clip_with_sound(Path("film.mp4"), num_frames=4)
    words = ["optimize", "film.mp4", *TINY, "num_iterations=[1,200000]", "tol_loss_relative=0"]
    first = here / "film.mine.mp4.state" / "pass001" / "000001.json"
    child = subprocess.Popen(
        [sys.executable, "-m", "fastvid", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while child.poll() is None and not first.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130, error
    assert "goes on from here" in error
    with VideoReader("film.mine.partial.mp4") as reader:
        assert len(list(reader)) == 1
    assert first.exists()


def test_half_precision_stays_near_full_precision(here: Path) -> None:
    for name in ("float32", "bfloat16"):
        words = [f"precision={name}", f"report={name}.json", "init=image"]
        assert optimize("f_01.png", "-o", f"{name}.png", *words) == 0
    totals = [
        json.loads(Path(f"{name}.json").read_text())["frames"][0]["before"]["total"]
        for name in ("float32", "bfloat16")
    ]
    assert totals[1] == pytest.approx(totals[0], rel=0.05)
    assert totals[1] != totals[0]


def test_still_image_gets_a_picture_beside_it(here: Path) -> None:
    assert optimize("f_01.png", "original_colors=true", "optimizer=adam") == 0
    assert read_image("f_01.mine.png").shape == (*SIZE, 3)


def test_multi_pass_records_every_pass(here: Path) -> None:
    words = "passes=multi num_passes=2 init=image use_temporal_loss_after=2".split()
    assert optimize("f_%02d.png", "-o", "out/x_%03d.png", "report=r.json", *words) == 0
    records = json.loads(Path("r.json").read_text())["frames"]
    assert [(r["pass"], r["frame"]) for r in records] == [(p, f) for p in (1, 2) for f in (1, 2, 3)]
    assert (here / "out" / "x_003.png").is_file()


def test_several_paintings_change_over_time(here: Path) -> None:
    schedule = "style_schedule=[{time_s:0,weights:[1,0]},{time_s:0.05,weights:[0,1]}]"
    images = "style_images=[painting.png,other.png]"
    assert optimize("f_%02d.png", "-o", "o", images, schedule, "report=r.json") == 0
    report = json.loads(Path("r.json").read_text())
    assert [p["weight_at_0_s"] for p in report["paintings"]] == [1, 0]


def test_intermediate_pictures_and_state_can_be_kept(here: Path) -> None:
    words = "save_iter=1 save_init=true mode=original pooling=avg".split()
    assert optimize("f_01.png", "-o", "o.png", *words) == 0
    kept = sorted(p.name for p in (here / "o.png.state" / "iterations").iterdir())
    assert kept == [
        "000001-pass001-00001.png",
        "000001-pass001-00002.png",
        "init-000001-pass001.png",
    ]


def test_frames_can_be_done_anew_from_one_on(here: Path) -> None:
    assert optimize("f_%02d.png", "-o", "o", "keep_state=true") == 0
    record = here / "o.state" / "pass001" / "000002.json"
    before = [p.stat().st_mtime_ns for p in (record.with_name("000001.json"), record)]
    assert optimize("f_%02d.png", "-o", "o", "keep_state=true", "continue_with=2") == 0
    after = [p.stat().st_mtime_ns for p in (record.with_name("000001.json"), record)]
    assert after[0] == before[0]
    assert after[1] > before[1]


def test_passes_can_be_added_and_done_anew(here: Path) -> None:
    words = "passes=multi init=image use_temporal_loss_after=2 keep_state=true".split()

    def passes(*more: str) -> list[int]:
        assert optimize("f_%02d.png", "-o", "o", "report=r.json", *words, *more) == 0
        records = json.loads(Path("r.json").read_text())["frames"]
        return [record["pass"] for record in records]

    assert passes("num_passes=1") == [1, 1, 1]
    kept = (here / "o.state" / "pass001" / "000001.json").stat().st_mtime_ns
    assert passes("num_passes=3") == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert passes("num_passes=3", "continue_with_pass=2") == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (here / "o.state" / "pass001" / "000001.json").stat().st_mtime_ns == kept


def test_existing_output_needs_overwrite(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image("out.png", np.zeros((4, 4, 3), np.uint8))
    assert optimize("f_01.png", "-o", "out.png") == 1
    assert "error: out.png: exists already; --overwrite replaces it" in capsys.readouterr().err
    assert optimize("f_01.png", "-o", "out.png", "--overwrite") == 0


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [
        ("style_wieght=3", 2, "style_wieght"),
        ("style=nothing", 2, "starry_night"),
        ("mode=new", 1, "mode=new is not one of paper, original"),
        ("init=[prev,prev]", 1, "init=[random,prev]"),
        ("content_layers=[relu3_1]", 1, "end at relu2_2"),
        ("style.image=gone.png", 1, "no painting 'gone.png'"),
        ("weights=gone.safetensors", 1, "gone.safetensors: no such file"),
        ("device=cuda:99", 1, "cuda:99"),
        ("style_blend_weights=[1,2]", 1, "2 values for 1 paintings"),
        ("flow=files", 1, "flow=files needs flow.dir"),
        ("start_number=9", 1, "there is no frame 9"),
    ],
)
def test_wrong_settings_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], word: str, code: int, message: str
) -> None:
    assert main(["optimize", "f_%02d.png", "-o", "out", *TINY, word]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("error:") == 1
    assert len(error.splitlines()) == 1


def test_wrong_flow_files_are_said_before_any_work(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize("f_%02d.png", "-o", "out", "flow=files", "flow.dir=nowhere") == 1
    error = capsys.readouterr().err
    assert "nowhere/backward_2_1.flo" in error
    assert "iterations in" not in error
    assert not (here / "out.state").exists()


def test_passes_bring_their_own_defaults() -> None:
    single, multi = (
        compose_config(["style=custom", "style.image=x", f"passes={name}"])
        for name in ("single", "multi")
    )
    assert (single.temporal_weight, single.iterations, single.inits) == (
        1000,
        (2000, 1000),
        ("random", "prevWarped"),
    )
    assert (multi.passes, multi.temporal_weight, multi.iterations) == ("multi", 500, (100, 100))
    assert multi.tol_loss_relative == 0


def test_init_is_a_value_here_though_it_is_a_group_for_training() -> None:
    words = ["style=custom", "style.image=x"]
    assert compose_config([*words, "init=[image,prev]"]).inits == ("image", "prev")
    assert compose_config([*words, "init=image", "init=random"]).inits == ("random", "random")


def test_words_can_come_from_a_file_and_after_the_output(here: Path) -> None:
    Path("args.txt").write_text("\n".join(["f_01.png", "seed=3"]))
    assert main(["optimize", "@args.txt", "-o", "o.png", *TINY, "report=r.json"]) == 0
    assert json.loads(Path("r.json").read_text())["settings"]["seed"] == 3


def test_frames_that_are_only_read_become_png() -> None:
    config = compose_config(["style=starry_night"])
    assert target_beside(Path("a/f_%02d.ppm"), config) == Path("a/f_%02d.starry_night.png")


@pytest.mark.weights
def test_golden_flow_and_map_give_the_temporal_loss_of_the_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("FASTVID_DATA", shared / "assets")).resolve()
    golden = shared / "golden" / "ruder2016"
    if not (root / "weights").is_dir() or not golden.is_dir():
        pytest.skip(f"needs {root / 'weights'} and {golden}")
    monkeypatch.setenv("FASTVID_DATA", str(root))
    monkeypatch.chdir(tmp_path)
    words = (
        "style=starry_night flow=files content_layers=[relu2_1] style_layers=[relu1_1] "
        "init=[image,image] num_iterations=[0,0] num_frames=2 report=r.json -o OUT"
    ).split()
    frames = str(golden / "marple8_%02d.ppm")
    assert main(["optimize", frames, f"flow.dir={golden}", *words]) == 0
    assert read_image("OUT/marple8_02.png").shape == (350, 450, 3)
    record = json.loads(Path("r.json").read_text())["frames"][1]

    first, second = (read_image(golden / f"marple8_{k:02d}.ppm") / 255 for k in (1, 2))
    warped = numpy_warp(first, read_flo(golden / "backward_2_1.flo"), MEAN_RGB / 255)
    trust = read_pgm(golden / "reliable_2_1.pgm")[..., None] / 255
    wanted = 1000 * np.mean(trust * (255 * (second - warped)) ** 2)
    assert record["frame"] == 2
    assert record["before"]["temporal"] == pytest.approx(wanted, rel=1e-4)
    assert record["before"] == record["after"]
