"""What a training step costs."""

import argparse

import pytest
import torch
from tiny import data_root

from fastvid.evaluation import benchmark, training_speed
from fastvid.evaluation.training_speed import (
    PRECISIONS,
    STAGES,
    TrainingStep,
    measure_step,
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


def test_shares_are_of_the_same_round(config):
    row = measure_step(config, "32-true", rounds=2, device=CPU)
    assert (row["net"], row["judge"], row["precision"]) == ("nano", "vgg19", "32-true")
    assert row["images_per_s_p10"] <= row["images_per_s"] <= row["images_per_s_p90"]
    for stage in STAGES:
        assert row[f"{stage}_share"] > 0
    table = training_speed.training_table([row])
    assert "2 pairs of 64x64" in table.title
    assert len(table.rows[0]) == len(table.header)


def test_only_architectures_are_trained():
    with pytest.raises(ValueError, match="takes architectures"):
        training_speed.benchmark(["starry_night"], 1, "cpu", PRECISIONS)


def test_the_command_writes_the_table_of_a_training_step(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_speed, "settings", lambda _net: config)
    target = tmp_path / "training.md"
    words = ["--training", "--nets", "nano", "--rounds", "1", "--device", "cpu"]
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    assert benchmark.run(parser.parse_args([*words, "--markdown", str(target)])) == 0
    assert "| nano | 32-true |" in target.read_text()
    assert "judged by vgg19" in capsys.readouterr().out
