"""What a training step costs."""

import argparse
import json

import pytest
import torch
from tiny import data_root

from fastvid.evaluation import benchmark, training_speed
from fastvid.evaluation.training_speed import (
    PRECISIONS,
    STAGES,
    TrainingStep,
    settings,
)
from fastvid.training.data import GeneratedScenes, TrainingSamples

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Tiny pairs of generated scenes, judged by the narrow VGG of the tests."""
    monkeypatch.setenv("FASTVID_DATA", str(data_root(tmp_path / "data")))
    found = settings("nano")
    found.style.image = "tiny.png"
    found.loss.arch = "vgg19"
    found.data.crop_px, found.batch_size = 64, 2
    scenes = GeneratedScenes((80, 96))  # rendering those of a real run takes seconds
    samples = TrainingSamples(
        [scenes], [scenes], num_stills=0, crop_px=64, real_fraction=0.5, noise_std=0.01,
        exposure=0.04, seed=0,
    )  # fmt: skip
    monkeypatch.setattr(training_speed, "build_samples", lambda _config: (samples, None))
    return found


def test_a_step_trains_the_network(config):
    step = TrainingStep(config, "32-true", CPU)
    before = [parameter.detach().clone() for parameter in step.module.net.parameters()]
    step.calls()["step"](0)
    after = list(step.module.net.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_only_architectures_are_trained():
    with pytest.raises(ValueError, match="takes architectures"):
        training_speed.benchmark(["starry_night"], 1, "cpu", PRECISIONS)


def test_the_command_says_what_a_step_costs_and_who_takes_how_much(config, tmp_path, monkeypatch):
    monkeypatch.setattr(training_speed, "settings", lambda _net: config)
    words = ["--training", "--nets", "nano", "--rounds", "1", "--device", "cpu"]
    words += ["--json", str(tmp_path / "t.json"), "--markdown", str(tmp_path / "t.md")]
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    assert benchmark.run(parser.parse_args(words)) == 0
    (row,) = json.loads((tmp_path / "t.json").read_text())["training"]
    assert (row["net"], row["judge"], row["precision"]) == ("nano", "vgg19", "32-true")
    assert row["images_per_s"] == pytest.approx(4 / row["step_s"], rel=1e-3)
    for stage in STAGES:
        assert row[f"{stage}_share"] > 0
    table = (tmp_path / "t.md").read_text()
    assert "2 pairs of 64x64 from generated scenes, judged by vgg19" in table
    assert "| nano | 32-true |" in table
