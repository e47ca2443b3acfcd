import pickle

import pytest
import torch

from fastvid import checkpoint
from fastvid.checkpoint import Description, load, save
from fastvid.nets import build_net

NARROW = {"channels": 8, "stem_channels": 8, "dilations": (1,), "tail_channels": (8,)}


def test_saved_network_comes_back_with_its_provenance(tmp_path):
    net = build_net("base", NARROW).eval()
    what = Description("base", net.settings(), style={"name": "tiny"}, step=7)
    again, found = load(save(tmp_path / "tiny.safetensors", net, what))
    x = torch.rand(1, 3, 16, 20)
    with torch.inference_mode():
        assert torch.equal(again(x), net(x))
    assert (found.net, found.style, found.step) == ("base", {"name": "tiny"}, 7)


def test_training_checkpoint_gives_the_averaged_weights(tmp_path):
    net = build_net("base", NARROW)
    state = {f"averaged.module.{k}": v for k, v in net.state_dict().items()}
    state |= {f"net.{k}": torch.zeros_like(v) for k, v in net.state_dict().items()}
    description = vars(Description("base", net.settings()))
    torch.save({"state_dict": state, checkpoint.DESCRIPTION_KEY: description}, tmp_path / "a.ckpt")
    again, _ = load(tmp_path / "a.ckpt")
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.ckpt", b"not a checkpoint"),
        ("text.safetensors", b"not a checkpoint"),
        ("empty.ckpt", b""),
        pytest.param("evil.ckpt", pickle.dumps(Evil(), protocol=2), id="evil"),
    ],
)
def test_foreign_files_are_refused_in_one_line_without_running_code(
    tmp_path, capsys, name, content
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="is not a fastvid checkpoint") as error:
        load(tmp_path / name)
    assert "\n" not in str(error.value)
    assert "code ran" not in capsys.readouterr().out


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.ckpt"):
        load(tmp_path / "gone.ckpt")
