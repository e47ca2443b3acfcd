import csv
import logging
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
import pytorch_lightning as pl
import torch
from tiny import data_root, texture, vgg_weights

from fastvid import checkpoint
from fastvid.config import (
    DataConfig,
    LossConfig,
    NetConfig,
    StyleConfig,
    TrainConfig,
    TrainerConfig,
)
from fastvid.image import to_tensor, write_image
from fastvid.nets import build_net
from fastvid.nets.blocks import InstanceNorm, normalizing
from fastvid.perceptual.paintings import measure
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.training import run
from fastvid.training.build import build_samples
from fastvid.training.module import StyleTransferModule

# Lightning's own: a tree-utility of torch that moved, and its hint at a product.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec.*", "ignore:.*does not have many workers.*", "ignore:.*GPU available.*"
)
NARROW = {"channels": 8, "stem_channels": 8, "dilations": (1,), "tail_channels": (8,)}


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    return TrainConfig(
        style=StyleConfig(name="tiny", title="Tiny", image="tiny.png", height_px=48),
        net=NetConfig("base", NARROW),
        loss=LossConfig(style_layers=["relu1_1", "relu2_1"], content_layers=["relu2_1"]),
        data=DataConfig(kind="synthetic", root=str(data_root(tmp_path / "data")), crop_px=64),
        trainer=TrainerConfig(accelerator="cpu", devices="1"),
        max_steps=6,
        still_fraction=0.5,
        batch_size=2,
        temporal_ramp_steps=2,
        warmup_steps=2,
        checkpoint_every=2,
        sample_every=3,
        log_every=1,
    )


def module_of(config) -> StyleTransferModule:
    torch.manual_seed(0)
    layers = [*config.loss.style_layers, *config.loss.content_layers]
    vgg = VGGFeatures(layers, vgg_weights("caffe"))
    net = build_net(config.net.name, config.net.settings)
    painting = measure(vgg, to_tensor(texture(48, 64, seed=5)))
    return StyleTransferModule(net, vgg, [painting], config, checkpoint.Description("base"))


def rows(folder: Path) -> dict[int, dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): row for row in csv.DictReader(file)}


class KillAt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def test_run_leaves_everything_it_promises(config, tmp_path):
    path = run.train(config, tmp_path / "outputs")
    assert path.name == "tiny.onnx"
    names = {p.name for p in path.parent.iterdir()}
    assert names == {
        "tiny.onnx", "tiny.json", "tiny.safetensors", "metrics.csv", "samples", "checkpoints",
    }  # fmt: skip
    assert sorted(p.name for p in (path.parent / "samples").iterdir()) == [
        "step_000003.png",
        "step_000006.png",
    ]
    table = rows(path.parent)
    assert list(table) == [1, 2, 3, 4, 5, 6]
    assert table[3]["temporal"] == ""
    assert float(table[6]["temporal"]) > 0
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    frames = np.zeros((1, 20, 30, 3), np.uint8)
    assert session.run(None, {"frames": frames})[0].shape == frames.shape
    net, what = checkpoint.load(path.with_suffix(".safetensors"))
    assert (what.step, what.style["title"]) == (6, "Tiny")
    assert net.settings() == what.settings | {"dilations": (1,), "tail_channels": (8,)}


@pytest.mark.parametrize("killed_at", [3, 4, 5])
def test_killed_run_resumes_as_if_nothing_had_happened(config, tmp_path, monkeypatch, killed_at):
    whole = rows(run.train(config, tmp_path / "whole").parent)
    build = run.build_trainer
    with monkeypatch.context() as patch:
        patch.setattr(
            run,
            "build_trainer",
            lambda config, folder, more: build(config, folder, [*more, KillAt(killed_at)]),
        )
        with pytest.raises(RuntimeError, match="killed"):
            run.train(config, tmp_path / "killed")
    config.resume = "auto"
    resumed = rows(run.train(config, tmp_path / "killed").parent)
    assert list(resumed) == list(whole)
    for step, row in whole.items():
        same = {k: resumed[step][k] for k in row if k != "seconds"}
        assert same == {k: v for k, v in row.items() if k != "seconds"}


def test_resume_auto_starts_afresh_when_nothing_is_unfinished(config, tmp_path):
    config.resume = "auto"
    ours = checkpoint.Description("base")
    assert run.find_checkpoint(config, tmp_path, ours) is None
    config.resume = str(tmp_path / "gone.ckpt")
    with pytest.raises(FileNotFoundError, match="gone"):
        run.find_checkpoint(config, tmp_path, ours)


def test_resume_auto_takes_no_run_of_other_settings(config, tmp_path, caplog):
    net = build_net(config.net.name, config.net.settings)
    config.resume = "auto"
    folder = tmp_path / config.style.name / "2026-01-01_00-00-00" / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / "step_000003.ckpt"

    def found(**training):
        what = checkpoint.Description("base", dict(net.settings()), training=training)
        state = {f"averaged.module.{k}": v for k, v in net.state_dict().items()}
        torch.save({"state_dict": state, checkpoint.DESCRIPTION_KEY: vars(what)}, file)
        ours = replace(what, training={"loss": {"style_weight": 4.0}, "log_every": 1})
        return run.find_checkpoint(config, tmp_path, ours)

    assert found(loss={"style_weight": 4.0}, log_every=50) == file
    with caplog.at_level("INFO"):
        assert found(loss={"style_weight": 5.0}) is None
    assert "has another loss.style_weight; resume=" in caplog.text
    file.write_bytes(b"half a file")
    assert run.find_checkpoint(config, tmp_path, checkpoint.Description("base")) is None
    assert "damaged" in caplog.text


def test_loss_falls_on_one_batch(config):
    config.ema_decay = 0.0
    module = module_of(config)
    module.log_dict = lambda *args, **kwargs: None
    optimizer = torch.optim.Adam(module.net.parameters(), lr=3e-3)
    batch = {"frame": to_tensor(np.stack([texture(64, 64, seed=k) for k in range(2)]))}
    losses = []
    for _ in range(40):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_loss_that_is_not_finite_names_the_terms(config):
    module = module_of(config)
    with torch.no_grad():
        module.net.stem[1].weight.fill_(math.nan)
    with pytest.raises(RuntimeError, match=r"not finite at step 0 .*content nan.*style nan"):
        module.training_step({"frame": torch.rand(1, 3, 64, 64)}, 0)


@pytest.mark.parametrize("kind", ["still", "pair"])
def test_every_parameter_that_asks_for_a_gradient_gets_one(config, kind):
    module = module_of(config)
    module.log_dict = lambda *args, **kwargs: None
    samples, _ = build_samples(config)
    sample = samples[0 if kind == "still" else samples.num_stills]
    module.training_step({name: value[None] for name, value in sample.items()}, 0).backward()
    asking = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    assert asking
    assert [name for name, gradient in asking.items() if gradient is None] == []


def test_checkpoint_holds_the_networks_alone(config):
    keys = module_of(config).state_dict()
    assert all(key.startswith(("net.", "averaged.")) for key in keys)


def test_base_network_learns_many_paintings_and_gives_its_nearest_row(config, tmp_path):
    styles = Path(config.data.root) / "styles"
    write_image(styles / "other.png", 255 - texture(72, 96, seed=9))
    config.paintings = ["tiny.png", "other.png"]
    path = run.train(config, tmp_path / "outputs")
    assert path.name == "tiny.safetensors"
    base, what = checkpoint.load(path)
    assert what.settings["num_styles"] == 2
    assert what.training["paintings"] == ["tiny", "other"]
    rows = [module.weight for module in base.modules() if isinstance(module, InstanceNorm)]
    assert all(not torch.equal(row[0], row[1]) for row in rows)  # each had its turns

    config.paintings, config.init_weights, config.max_steps = [], str(path), 1
    config.learning_rate = 0.0
    again, _ = checkpoint.load(run.train(config, tmp_path / "again").with_suffix(".safetensors"))
    frame = torch.rand(1, 3, 32, 32)
    painted = []
    with torch.inference_mode():
        for row in range(2):
            with normalizing(base, row):
                painted.append(base(frame))
        found = again(frame)
    assert min(float((found - p).abs().max()) for p in painted) < 1e-5


def test_shipped_style_trains_without_any_data(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    config.style = StyleConfig(name="starry_night", image="starry_night.jpg")
    config.loss, config.max_steps = LossConfig(), 2
    config.net, config.init_weights = NetConfig(), "shipped"
    config.data = DataConfig(root=str(tmp_path / "nothing"), crop_px=64)
    path = run.train(config, tmp_path / "outputs")
    assert path.is_file()
    _, what = checkpoint.load(path.with_suffix(".safetensors"))
    assert what.training["loss"]["arch"] == "mini"
    assert what.training["init_weights"] == "shipped"


def test_paintings_take_turns(config):
    config.paintings = ["a", "b", "c"]
    module = module_of(config)
    module.paintings = torch.nn.ModuleList([module.paintings[0]] * 3)
    found = []
    for step in range(30):
        type(module).global_step = property(lambda self, step=step: step)
        found.append(module.row)
    del type(module).global_step
    rounds = [tuple(found[k : k + 3]) for k in range(0, 30, 3)]
    assert all(sorted(r) == [0, 1, 2] for r in rounds)
    assert len(set(rounds)) > 1


def test_starting_from_another_network_is_refused(config, tmp_path):
    other = tmp_path / "nano.safetensors"
    net = build_net("nano")
    checkpoint.save(other, net, checkpoint.Description("nano", net.settings()))
    config.init_weights = str(other)
    with pytest.raises(ValueError, match=r"nano\.safetensors is a nano"):
        run.train(config, tmp_path / "outputs")


def test_machines_that_were_not_given_the_same_are_refused(monkeypatch):
    ours = {"loss": {"arch": "vgg19", "style_weight": 4.0}, "data": ["Clips"], "resume": None}
    theirs = {}

    def gather(found, given):
        found[:] = [given, theirs]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    together, alone = SimpleNamespace(world_size=2), SimpleNamespace(world_size=1)
    check = run.SameEverywhere(ours)
    check.setup(alone, None, "fit")
    theirs = dict(ours)
    check.setup(together, None, "fit")
    theirs = ours | {"loss": {"arch": "mini", "style_weight": 4.0}, "resume": "step_000002.ckpt"}
    with pytest.raises(ValueError, match=r"differ in loss\.arch, resume; give all machines"):
        check.setup(together, None, "fit")


def test_temporal_weight_rises_after_the_stills(config):
    config.loss.temporal_weight = 30.0
    module = module_of(config)
    weights = []
    for step in range(6):
        type(module).global_step = property(lambda self, step=step: step)
        weights.append(module.weights["temporal"])
    del type(module).global_step
    assert weights == [0, 0, 0, 15, 30, 30]


def test_missing_painting_says_where_it_was_looked_for(config, tmp_path):
    config.style.image = "absent.jpg"
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg.*styles"):
        run.train(config, tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(config, tmp_path, monkeypatch, caplog):
    import signal

    class Interrupt(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGINT)

    build = run.build_trainer
    monkeypatch.setattr(
        run, "build_trainer", lambda c, folder, more: build(c, folder, [*more, Interrupt()])
    )
    with caplog.at_level(logging.WARNING), pytest.raises(run.InterruptedRun, match="step 3 of 6"):
        run.train(config, tmp_path / "outputs")
    (kept,) = (tmp_path / "outputs" / "tiny").glob("*/checkpoints/step_000003.ckpt")
    _, what = checkpoint.load(kept)
    assert what.step == 3
