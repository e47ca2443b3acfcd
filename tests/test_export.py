import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from fastvid.export import UInt8Painter, check_parity, export_onnx
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
