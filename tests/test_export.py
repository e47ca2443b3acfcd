import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from fastvid.__main__ import main
from fastvid.checkpoint import Description, save
from fastvid.export import UInt8Painter, check_parity, default_target, export_onnx
from fastvid.nets import build_net

NARROW = {"channels": 8, "stem_channels": 8, "dilations": (1, 2), "tail_channels": (8, 4)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    net = build_net("base", NARROW)
    path = export_onnx(net, tmp_path_factory.mktemp("onnx") / "tiny.onnx", {"title": "Tiny"})
    return net, path


def test_any_batch_height_and_width_from_16(exported):
    session = ort.InferenceSession(str(exported[1]), providers=["CPUExecutionProvider"])
    for shape in [(1, 16, 16, 3), (3, 37, 53, 3), (1, 90, 122, 3)]:
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        (stylized,) = session.run(None, {"frames": frames})
        assert stylized.shape == shape
        assert stylized.dtype == np.uint8


def test_file_agrees_with_torch_at_an_odd_size(exported):
    net, path = exported
    painter = UInt8Painter(net).eval()
    assert check_parity(painter, path, [(61, 35), (16, 84)]) <= 1


def test_contract_names_and_metadata(exported):
    model = onnx.load(str(exported[1]))
    assert [i.name for i in model.graph.input] == ["frames"]
    assert [o.name for o in model.graph.output] == ["stylized"]
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["title"] == "Tiny"
    assert properties["opset"] == "18"


def test_file_holds_no_paths_of_the_machine(exported):
    assert b".py" not in exported[1].read_bytes()


def test_trained_network_is_left_alone(exported):
    net, _ = exported
    assert type(net.tail[-1]).__name__ == "UpsampleConv"


def test_file_that_disagrees_is_refused_and_never_named(exported, tmp_path):
    _, path = exported
    other = UInt8Painter(build_net("base", NARROW)).eval()
    with pytest.raises(RuntimeError, match="differ by"):
        check_parity(other, path, [(32, 32)])


def test_network_that_is_not_finite_is_refused(tmp_path):
    net = build_net("base", NARROW)
    with torch.no_grad():
        net.stem[1].weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="finite"):
        export_onnx(net, tmp_path / "broken.onnx", {})
    assert not list(tmp_path.iterdir())


# the command


def checkpoint_of(path, style=None):
    torch.manual_seed(0)
    net = build_net("nano")
    style = {"name": "tiny", "title": "Tiny", "licence": "CC0"} if style is None else style
    what = Description("nano", net.settings(), style=style, training={"max_steps": 7}, step=7)
    return save(path, net, what)


def test_a_checkpoint_becomes_an_onnx_file_named_after_its_style(tmp_path, capsys):
    checkpoint = checkpoint_of(tmp_path / "step_000007.safetensors")
    assert main(["export", str(checkpoint)]) == 0
    written = tmp_path / "tiny.onnx"
    assert capsys.readouterr().out.splitlines()[-1] == str(written)
    properties = {p.key: p.value for p in onnx.load(str(written)).metadata_props}
    assert (properties["title"], properties["licence"]) == ("Tiny", "CC0")
    assert (properties["net"], properties["step"]) == ("nano", "7")
    assert json.loads(properties["training"]) == {"max_steps": 7}


def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(tmp_path, capsys):
    checkpoint = checkpoint_of(tmp_path / "tiny.safetensors")
    target = tmp_path / "mine.onnx"
    target.write_bytes(b"precious")
    words = ["export", str(checkpoint), "-o", str(target)]
    assert main(words) == 1
    assert "mine.onnx: exists already; --overwrite replaces it" in capsys.readouterr().err
    assert target.read_bytes() == b"precious"
    assert main([*words, "--overwrite"]) == 0
    assert onnx.load(str(target)).graph.input[0].name == "frames"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone.ckpt"], 1, "no checkpoint"),
        (["text.ckpt"], 1, "is not a fastvid checkpoint"),
        (["tiny.safetensors", "-o", "gone/tiny.onnx"], 1, "there is no folder gone"),
        (["tiny.safetensors", "-o", "tiny.pt"], 2, "ends in .onnx"),
        ([], 2, "CKPT"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, monkeypatch, capsys, words, code, message):
    checkpoint_of(tmp_path / "tiny.safetensors")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    before = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    try:
        found = main(["export", *words])
    except SystemExit as leave:
        found = leave.code
    error = capsys.readouterr().err
    assert found == code
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_the_name_in_a_checkpoint_never_leaves_its_folder(tmp_path):
    for name, target in (("../../evil", "evil.onnx"), ("", "a.onnx"), ("..", "..")):
        what = Description("nano", style={"name": name})
        found = default_target(tmp_path / "a.ckpt", what)
        assert found.parent == tmp_path
        assert found.name.startswith(target)


def test_a_network_of_many_styles_is_refused(tmp_path):
    with pytest.raises(ValueError, match="styles"):
        export_onnx(build_net("small", {"num_styles": 2}), tmp_path / "x.onnx", {})
