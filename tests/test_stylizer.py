import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_nets import foreign_net, invert_net, norm_net, write

from fastvid.runtime import gallery
from fastvid.runtime.engines import onnx_cpu
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import OnnxStylizer


def noise(n=1, h=37, w=53, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, 3), dtype=np.uint8)


def scene(shift=0, h=48, w=64):
    """A smooth picture whose right part changes with `shift`."""
    y, x = np.mgrid[:h, :w]
    picture = np.stack([x * 3, y * 4, (x + y) * 2], -1)
    picture[:, w // 2 :] += shift
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def cuda_works():
    try:
        return OnnxStylizer(invert_net(), "net", "cuda").device == "cuda"
    except RuntimeError:
        return False


def test_a_contract_net_paints_batches_of_any_size():
    stylizer = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")
    for n, h, w in ((1, 16, 16), (3, 37, 53), (2, 90, 122)):
        frames = noise(n, h, w)
        painted = stylizer(frames)
        assert painted.dtype == np.uint8
        np.testing.assert_array_equal(painted, 255 - frames)


def test_frames_need_not_be_contiguous():
    frames = noise()[:, ::-1]
    painted = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")(frames)
    np.testing.assert_array_equal(painted, 255 - frames)


def test_an_empty_batch_gives_an_empty_batch():
    assert OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")(noise(0)).shape == (0, 37, 53, 3)


def test_engine_and_metadata_say_what_runs():
    stylizer = OnnxStylizer(invert_net(title="Night"), "net", "cpu", "onnxruntime")
    assert stylizer.engine == f"ONNX Runtime {ort.__version__} CPU"
    assert stylizer.metadata["title"] == "Night"


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (noise()[0], r"expected uint8 frames \(N, H, W, 3\), got uint8 \(37, 53, 3\)"),
        (noise().astype(np.float32), "got float32"),
        (noise()[..., :1], r"\(1, 37, 53, 1\)"),
        (noise(1, 2, 2), "picture is 2x2 pixels, smaller than 16x16"),
        (noise(1, 16, 15), "picture is 15x16 pixels"),
    ],
)
def test_wrong_frames_are_refused(frames, expected):
    with pytest.raises(ValueError, match=expected):
        OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")(frames)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
@pytest.mark.parametrize(
    "model", [b"", b"no graph" * 99, invert_net()[:300], invert_net()[:-40]], ids=len
)
def test_a_corrupt_file_is_refused_in_one_line_whatever_the_device(model, device):
    with pytest.raises(ValueError, match=r"net\.onnx is no usable ONNX file") as caught:
        OnnxStylizer(model, "net.onnx", device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (foreign_net(), r"expected frames tensor\(uint8\), found input tensor\(float\)"),
        (foreign_net("frames"), r"found frames tensor\(float\)"),
        (foreign_net("frames", onnx.TensorProto.UINT8), r"N, H, W free, found \(1, 3, 224, 224\)"),
    ],
)
def test_a_foreign_network_is_refused(model, expected):
    with pytest.raises(ValueError, match="is not a fastvid network: .*" + expected):
        OnnxStylizer(model, "net.onnx", "cpu")


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device is 'tpu'; choices: auto, cpu, cuda"):
        OnnxStylizer(invert_net(), "net", "tpu")


def test_cuda_is_an_error_where_it_would_not_run_and_auto_says_so_once(caplog):
    if cuda_works():
        pytest.skip("this machine has a working CUDA")
    with pytest.raises(
        RuntimeError, match=r"device cuda: .*; install .* or use device cpu"
    ) as caught:
        OnnxStylizer(invert_net(), "net", "cuda")
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.INFO):
        assert OnnxStylizer(invert_net(), "net", "auto").device == "cpu"
    said = [r.getMessage() for r in caplog.records]
    assert sum("CPU (" in text for text in said if text.startswith("device auto")) == 1


@pytest.mark.gpu
def test_cuda_paints_as_the_cpu_does():
    if not cuda_works():
        pytest.skip("no working CUDA")
    stylizer = OnnxStylizer(norm_net(), "net", "cuda")
    assert " CUDA fp" in stylizer.engine
    exact = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")(noise())
    difference = abs(stylizer(noise()).astype(int) - exact)
    assert difference.max() <= (3 if stylizer.engine.endswith("fp16") else 1)


def test_load_takes_a_path_and_names_a_missing_one(tmp_path):
    path = write(tmp_path / "my net.onnx", invert_net())
    for style in (path, str(path)):
        assert load(style, "cpu")(noise()).shape == (1, 37, 53, 3)
    with pytest.raises(FileNotFoundError, match=r"model not found: .*none\.onnx"):
        load(tmp_path / "none.onnx")


def test_keys_lead_to_styles_of_the_same_size(tmp_path):
    for name in ("a", "b", "c", "a.small", "b.small"):
        write(tmp_path / f"{name}.onnx", invert_net())
    assert gallery.sisters("a", tmp_path) == ["b", "c"]
    assert gallery.sisters("b.small", tmp_path) == ["a.small"]
    assert gallery.sisters("my_own.v2", tmp_path) == ["a", "b", "c"]


def test_an_unknown_style_lists_the_choices(tmp_path):
    for name in ("starry_night", "starry_night.small", "udnie"):
        write(tmp_path / f"{name}.onnx", invert_net())
    (tmp_path / "starry_night.json").write_text('{"title": "The Starry Night"}')
    (tmp_path / "udnie.json").write_text("{broken")
    cards = gallery.list_styles(tmp_path)
    assert list(cards) == ["starry_night", "starry_night.small", "udnie"]
    assert cards["starry_night.small"]["title"] == "The Starry Night"
    assert cards["udnie"] == {}
    with pytest.raises(ValueError, match=r"choices: .*did you mean starry_night") as e:
        gallery.find_model("stary_night", tmp_path)
    assert "unknown style 'stary_night'" in str(e.value)
    assert gallery.find_model("udnie", tmp_path) == tmp_path / "udnie.onnx"


@pytest.mark.parametrize("shared", [False, True])
def test_adapted_on_one_frame_a_net_paints_that_frame_as_before(shared):
    stylizer = OnnxStylizer(norm_net(shared=shared), "net", "cpu", "onnxruntime")
    frame = scene()
    before = stylizer(frame)
    assert before.std() > 20  # the tiny net paints something
    stylizer.adapt(frame)
    assert abs(stylizer(frame).astype(int) - before).max() <= 1


def test_an_adapted_net_leaks_nothing_from_far_away():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")
    left = np.s_[:, :, : 32 - 2]  # beyond the two 3x3 convolutions' reach of the changed half
    per_frame = abs(stylizer(scene(60)).astype(int) - stylizer(scene()))[left].max()
    stylizer.adapt(np.concatenate([scene(), scene(60)]))
    assert per_frame > 1
    np.testing.assert_array_equal(stylizer(scene(60))[left], stylizer(scene())[left])


def test_frames_painted_together_or_alone_are_equal_after_adapt():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")
    frames = np.concatenate([scene(s) for s in (0, 30, 60)])
    stylizer.adapt(frames)
    together = stylizer(frames)
    alone = np.concatenate([stylizer(frames[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(together, alone)


def test_every_adapt_starts_from_the_original_network():
    stylizer = OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime")
    frame = scene()
    before = stylizer(frame)
    stylizer.adapt(noise(2, 48, 64))
    stylizer.adapt(frame)
    assert abs(stylizer(frame).astype(int) - before).max() <= 1


def test_adapt_leaves_a_network_without_norms_alone():
    stylizer = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")
    stylizer.adapt(noise())
    np.testing.assert_array_equal(stylizer(noise()), 255 - noise())


def test_adapt_refuses_no_frames():
    with pytest.raises(ValueError, match="at least one frame"):
        OnnxStylizer(norm_net(), "net", "cpu", "onnxruntime").adapt(noise(0))


def test_what_is_frozen_stays_as_it_was_and_paints_in_several_threads(exported):
    stylizer = OnnxStylizer(exported("base"), "net", "cpu", "onnxruntime")
    frames = np.concatenate([scene(shift) for shift in range(0, 80, 10)])
    stylizer.adapt(frames[:2])
    expected = stylizer(frames)
    paint = stylizer.frozen(frames[0], 3)
    stylizer.adapt(frames[5:])
    assert (stylizer(frames) != expected).any()
    with ThreadPoolExecutor(3) as pool:
        painted = np.concatenate(list(pool.map(paint, frames[:, None])))
    np.testing.assert_array_equal(painted, expected)
    with pytest.raises(ValueError, match="smaller than 16x16"):
        stylizer.frozen(np.zeros((8, 8, 3), np.uint8), 1)


def test_large_frames_and_tiles_are_painted_one_by_one(monkeypatch):
    monkeypatch.setattr(onnx_cpu, "cores", lambda: 4)
    stylizer = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime")
    sizes = ((360, 640), (1080, 1920), (2160, 3840))
    assert [stylizer.lanes(size) for size in sizes] == [4, 2, 1]
    tiled = OnnxStylizer(invert_net(), "net", "cpu", "onnxruntime", tile_px=64)
    assert tiled.lanes((360, 640)) == 1
