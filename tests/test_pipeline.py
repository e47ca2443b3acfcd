import functools
import json
import logging
from functools import partial

import numpy as np
import pytest
from bulk_films import CUTS, write_film
from onnx_nets import invert_net, norm_net, write
from tiny_clips import (
    RATE,
    SIZE,
    picture,
    read,
    sound_packets,
    write_clip,
    write_clip_with_sound,
    write_picture,
)

import fastvid
from fastvid.runtime import pipeline
from fastvid.runtime.demo import DemoClip
from fastvid.runtime.engines import onnx_cpu, onnx_int8
from fastvid.runtime.film import MAX_FAILURES
from fastvid.runtime.loading import load
from fastvid.runtime.pipeline import check, stylize
from fastvid.runtime.report import free_memory_mib
from fastvid.runtime.stylizer import OnnxStylizer
from fastvid.video import MediaError, working_encoder


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "invert.onnx", invert_net())


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4")


class Failing:
    """The invert net, out of order at some calls."""

    name, engine, device, metadata = "failing", "test", "cpu", {}

    def __init__(self, bad_calls, num_lanes=1):
        self.bad_calls = bad_calls
        self.num_lanes = num_lanes
        self.calls = 0
        self.net = OnnxStylizer(invert_net(), "net", "cpu")

    def __call__(self, frames):
        return self.frozen(frames[0], 1)(frames)

    def adapt(self, frames):
        pass

    def at(self, seconds):
        pass

    def lanes(self, size):
        return self.num_lanes

    def frozen(self, frame, lanes):
        self.calls += 1
        return partial(self.paint, self.calls - 1)

    def paint(self, call, frames):
        if call in self.bad_calls:
            raise RuntimeError("out of memory")
        return self.net(frames)


def close_to(found, expected, mean=3):
    """H.264 at its default quality keeps a smooth picture within a few levels on average."""
    return abs(found.astype(int) - expected.astype(int)).mean() <= mean


def test_as_many_frames_come_out_as_go_in_painted_and_at_their_times(clip, model, tmp_path):
    report = stylize(clip, style=model, device="cpu")
    target = tmp_path / "clip.invert.mp4"
    assert report.target == str(target)
    source, times = read(clip)
    painted, painted_times = read(target)
    assert painted.shape == source.shape
    assert painted_times == pytest.approx(times)
    assert close_to(painted, 255 - source)
    assert report.frames == 12
    assert report.complete
    assert not report.damage


def test_the_sound_comes_along_byte_for_byte(model, tmp_path):
    clip = write_clip_with_sound(tmp_path / "clip.mp4")
    packets = sound_packets(clip)
    assert packets
    fastvid.stylize(clip, tmp_path / "out.mp4", style=model)
    assert sound_packets(tmp_path / "out.mp4") == packets
    fastvid.stylize(clip, tmp_path / "silent.mkv", style=model, audio="none")
    with pytest.raises(IndexError):
        sound_packets(tmp_path / "silent.mkv")


def test_the_report_is_plain_json_with_units_in_its_keys(clip, model):
    report = stylize(clip, style=model, device="cpu")
    values = json.loads(json.dumps(report.as_dict()))
    assert values["frames"] == 12
    assert values["engine"].startswith("ONNX Runtime")
    assert values["device"] == "cpu"
    for stage in ("decode", "net", "encode"):
        assert 0 < values[f"{stage}_ms_p50"] <= values[f"{stage}_ms_p95"]
        assert 0 < values[f"{stage}_busy_fraction"] <= 1
    assert values["bottleneck"] in ("decode", "net", "encode")
    assert values["first_frame_s"] <= values["wall_s"]
    assert values["fps"] == pytest.approx(12 / values["wall_s"], rel=0.05)
    assert {"python", "av", "numpy"} <= values["versions"].keys()


def test_the_report_names_what_decoded_and_what_encoded(clip, model, tmp_path):
    report = stylize(clip, tmp_path / "out.mp4", style=model).as_dict()
    assert (report["decoder"], report["encoder"]) == ("software", "libx264")
    report = stylize(clip, tmp_path / "out.mkv", style=model, codec="ffv1").as_dict()
    assert report["encoder"] == "ffv1"
    report = stylize(write_picture(tmp_path / "photo.png"), style=model).as_dict()
    assert (report["decoder"], report["encoder"]) == ("software", "png")


def test_hardware_that_is_not_there_leaves_the_film_as_it_is(clip, model, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    report = stylize(clip, tmp_path / "tried.mkv", style=model, hardware=True)
    if (report.decoder, report.encoder) != ("software", "libx264"):
        pytest.skip(f"this machine has {report.decoder} and {report.encoder}")
    stylize(clip, tmp_path / "plain.mkv", style=model)
    for found, expected in zip(
        read(tmp_path / "tried.mkv"), read(tmp_path / "plain.mkv"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert f"{clip}: decoded in software (" in caplog.text
    assert "encoded in software: none of h264_nvenc, " in caplog.text


def test_the_encoder_that_works_writes_the_film_and_stands_in_the_report(
    clip, model, tmp_path, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    stand_in = functools.partial(working_encoder, candidates=("h264_of_nobody", "libx265"))
    monkeypatch.setattr(pipeline, "working_encoder", stand_in)
    report = stylize(clip, tmp_path / "out.mp4", style=model, hardware=True)
    assert report.encoder == "libx265"
    assert "encoded by libx265" in caplog.text
    assert close_to(read(tmp_path / "out.mp4")[0], 255 - read(clip)[0])
    report = stylize(clip, tmp_path / "named.mkv", style=model, hardware=True, codec="ffv1")
    assert report.encoder == "ffv1"
    photo = write_picture(tmp_path / "photo.png")
    assert stylize(photo, style=model, hardware=True).encoder == "png"


def test_strength_colors_and_side_by_side_reach_the_file(clip, model, tmp_path):
    source, _ = read(clip)
    stylize(clip, tmp_path / "zero.mp4", style=model, strength=0)
    assert close_to(read(tmp_path / "zero.mp4")[0], source)
    stylize(clip, tmp_path / "both.mp4", style=model, side_by_side=True)
    both, _ = read(tmp_path / "both.mp4")
    assert both.shape[1:3] == (SIZE[0], 2 * SIZE[1])
    assert close_to(both, np.concatenate([source, 255 - source], axis=2))


def test_height_is_the_working_and_the_output_height(clip, model, tmp_path):
    report = stylize(clip, tmp_path / "small.mp4", style=model, height_px=24)
    assert (report.height_px, report.width_px) == (24, 32)
    assert read(tmp_path / "small.mp4")[0].shape == (12, 24, 32, 3)


def test_an_excerpt_holds_the_frames_between_start_and_end(clip, model, tmp_path):
    stylize(clip, tmp_path / "part.mp4", style=model, start_s=3 / RATE, end_s=8 / RATE)
    painted, times = read(tmp_path / "part.mp4")
    assert close_to(painted, 255 - read(clip)[0][3:8])
    assert times[0] == 0


def test_an_image_gives_an_image_and_a_sequence_keeps_its_names(model, tmp_path):
    photo = write_picture(tmp_path / "photo.png")
    stylize(photo, style=model)
    np.testing.assert_array_equal(read(tmp_path / "photo.invert.png")[0][0], 255 - picture())
    folder = tmp_path / "in"
    folder.mkdir()
    for number, size in ((7, SIZE), (8, SIZE), (10, (20, 30))):
        write_picture(folder / f"x_{number:03}.png", number, size)
    stylize(folder, style=model)
    names = sorted(path.name for path in (tmp_path / "in.invert").iterdir())
    assert names == ["x_007.png", "x_008.png", "x_010.png"]
    small, _ = read(tmp_path / "in.invert" / "x_010.png")
    np.testing.assert_array_equal(small[0], 255 - picture(10, (20, 30)))


def test_a_printf_pattern_keeps_the_numbers(model, tmp_path):
    for number in (7, 8):
        write_picture(tmp_path / f"x_{number:03}.png", number)
    stylize(tmp_path / "x_%03d.png", style=model)
    assert (tmp_path / "x_007.invert.png").exists()
    assert (tmp_path / "x_008.invert.png").exists()


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_failing_frame_is_replaced_by_the_source_never_dropped(lanes, clip, tmp_path, caplog):
    report = stylize(clip, tmp_path / "out.mp4", stylizer=Failing({4}, lanes))
    source, _ = read(clip)
    expected = 255 - source
    expected[4] = source[4]
    painted, _ = read(tmp_path / "out.mp4")
    assert painted.shape == source.shape
    assert close_to(painted, expected)
    assert report.frames_replaced == 1
    assert "frame at 0.160 s stays unpainted: out of memory" in caplog.text


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("bad", [{0}, set(range(2, 2 + MAX_FAILURES))])
def test_a_network_that_fails_at_once_or_for_good_is_an_error(bad, lanes, clip, tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        stylize(clip, tmp_path / "out.mp4", stylizer=Failing(bad, lanes))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


def test_an_existing_target_is_left_alone_unless_told_otherwise(clip, model, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(MediaError, match="exists already; --overwrite"):
        stylize(clip, target, style=model)
    assert target.read_bytes() == b"precious"
    stylize(clip, target, style=model, overwrite=True)
    assert len(read(target)[0]) == 12


def test_the_source_is_never_the_target(clip, model):
    before = clip.read_bytes()
    with pytest.raises(MediaError, match="is the input itself"):
        stylize(clip, clip, style=model, overwrite=True)
    assert clip.read_bytes() == before


def test_a_film_does_not_fit_into_one_image(clip, model, tmp_path):
    with pytest.raises(MediaError, match=r"out_%04d\.png"):
        stylize(clip, tmp_path / "out.png", style=model)


def test_pictures_too_small_for_the_networks_are_refused(model, tmp_path):
    tiny = write_clip(tmp_path / "tiny.mp4", 3, (2, 2))
    with pytest.raises(ValueError, match="picture is 2x2 pixels, at least 16x16"):
        stylize(tiny, style=model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["invert.onnx", "tiny.mp4"]


def test_pictures_too_large_for_the_memory_are_refused_before_a_network_is_loaded(tmp_path):
    free_mib = free_memory_mib()
    if free_mib is None:
        pytest.skip("this system does not say how much memory is free")
    clip = DemoClip()
    width = int(free_mib * 2**20)
    clip.size = 16, width
    with pytest.raises(ValueError, match=f"painting {width}x16 pixels takes at least .* GiB"):
        check(clip, tmp_path / "out.mp4", overwrite=False)


def test_the_api_loads_by_path_and_lists_styles(model):
    stylizer = fastvid.load(model, device="cpu")
    np.testing.assert_array_equal(stylizer(picture()[None]), 255 - picture()[None])
    assert isinstance(fastvid.list_styles(), dict)


@pytest.mark.parametrize("engine", ["onnxruntime", "int8"])
def test_frames_painted_side_by_side_are_those_painted_one_by_one(
    engine, exported, tmp_path, monkeypatch
):
    clip = write_film(tmp_path / "clip.mp4", CUTS[1] + 20)
    model = write(tmp_path / "base.onnx", exported("base"))
    monkeypatch.setattr(onnx_int8, "MIN_PSNR_DB", 20.0)
    films = []
    for lanes in (1, 3):
        monkeypatch.setattr(onnx_cpu, "lanes_for", lambda size, n=lanes: n)
        target = tmp_path / f"{lanes}.mkv"
        report = stylize(clip, target, style=model, engine=engine, codec="ffv1")
        assert (report.frames_at_once, report.shots) == (lanes, 2)
        films.append(read(target)[0])
    np.testing.assert_array_equal(*films)


def test_larger_images_of_a_folder_are_painted_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_cpu, "lanes_for", lambda size: 2)
    made = []
    stylizer = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")
    frozen = stylizer.frozen
    monkeypatch.setattr(
        stylizer, "frozen", lambda frame, lanes: (made.append(frame.shape), frozen(frame, lanes))[1]
    )
    folder = tmp_path / "in"
    folder.mkdir()
    sizes = [SIZE, (96, 128), (20, 30), SIZE]
    for number, size in enumerate(sizes):
        write_picture(folder / f"{number}.png", number, size)
    stylize(folder, tmp_path / "out", stylizer=stylizer)
    for number, size in enumerate(sizes):
        painted, _ = read(tmp_path / "out" / f"{number}.png")
        np.testing.assert_array_equal(painted[0], 255 - picture(number, size))
    assert made == [(*size, 3) for size in sizes if size != (96, 128)]


def test_a_loaded_stylizer_serves_several_films(clip, tmp_path):
    stylizer = load(write(tmp_path / "norm.onnx", norm_net()), "cpu")
    for name in ("a.mp4", "b.mp4"):
        assert stylize(clip, tmp_path / name, stylizer=stylizer).style == "norm"


def test_a_transition_follows_the_clock_of_the_film(clip, tmp_path):
    one, other = (write(tmp_path / f"{i}.onnx", norm_net(i)) for i in range(2))
    frames, times = read(clip)
    target = tmp_path / "out.mkv"
    style = f"{one}@0,{other}@{times[-1]:.6f}"
    fastvid.stylize(clip, target, style=style, statistics="frame", crf=1)
    painted, _ = read(target)
    assert painted.shape == frames.shape
    first, last = load(one, "cpu")(frames).astype(int), load(other, "cpu")(frames).astype(int)
    to_first, to_last = (abs(painted - each).mean((1, 2, 3)) for each in (first, last))
    share = to_first / (to_first + to_last)  # 4:2:0 keeps neither exactly
    assert share[0] < 0.2
    assert share[-1] > 0.8
    assert np.all(np.diff(share) > 0)
