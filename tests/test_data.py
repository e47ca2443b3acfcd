import numpy as np
import pytest
import torch
from tiny import texture

from fastvid.image import write_image
from fastvid.motion.warp import warp
from fastvid.training.data import (
    GeneratedScenes,
    Photos,
    StepSampler,
    TrainingSamples,
    list_photos,
    loader,
)


@pytest.fixture
def photos(tmp_path):
    for k in range(3):
        write_image(tmp_path / f"{k}.png", texture(90 + 10 * k, 120, seed=k))
    return Photos(list_photos(tmp_path))


def samples(photos, movers=(), **changes):
    options = dict(
        num_stills=4, crop_px=64, real_fraction=0.5, noise_std=0.02, exposure=0.05, seed=3
    )
    return TrainingSamples([photos], list(movers), **{**options, **changes})


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_sample_is_a_function_of_seed_and_number(photos):
    first, second = samples(photos), samples(photos)
    for index in (5, 0, 9):  # any order
        assert equal(first[index], second[index])
    assert not equal(first[0], first[1])
    assert not equal(first[0], samples(photos, seed=4)[0])


def test_stills_come_first_then_pairs(photos):
    data = samples(photos)
    assert data[3].keys() == {"frame"}
    pair = data[4]
    assert pair.keys() == {"prev", "cur", "prev_shown", "cur_shown", "flow_bwd", "certainty"}
    assert {k: v.shape[0] for k, v in pair.items() if k in ("cur", "flow_bwd", "certainty")} == {
        "cur": 3,
        "flow_bwd": 2,
        "certainty": 1,
    }
    assert all(v.shape[-2:] == (64, 64) for v in pair.values())
    assert all(0 <= pair[k].min() <= pair[k].max() <= 1 for k in ("prev", "cur", "cur_shown"))


@pytest.mark.parametrize("real_fraction", [0.0, 1.0])
def test_flow_leads_from_cur_to_prev_also_when_mirrored(photos, real_fraction):
    data = samples(
        photos,
        [GeneratedScenes((96, 128))],
        real_fraction=real_fraction,
        exposure=0.0,
        num_stills=0,
    )
    for index in range(6):
        pair = {k: v[None] for k, v in data[index].items()}
        error = (warp(pair["prev"], pair["flow_bwd"]) - pair["cur"]).abs() * pair["certainty"]
        still = (pair["prev"] - pair["cur"]).abs() * pair["certainty"]
        assert error.mean() < 0.02
        assert error.mean() <= still.mean() + 0.002


def test_noise_is_shown_but_not_in_the_clean_frames(photos):
    quiet = samples(photos, noise_std=0.0)[7]
    assert torch.equal(quiet["cur"], quiet["cur_shown"])
    noisy = samples(photos, noise_std=0.1)[7]
    assert torch.equal(noisy["cur"], quiet["cur"])
    assert not torch.equal(noisy["cur"], noisy["cur_shown"])


def test_small_photos_are_enlarged(tmp_path):
    write_image(tmp_path / "small.png", texture(20, 30))
    assert samples(Photos(list_photos(tmp_path)))[0]["frame"].shape == (3, 64, 64)


def test_processes_share_the_samples_of_every_step():
    whole = list(StepSampler(2, 5, 4))
    shares = [list(StepSampler(2, 5, 4, rank, 2)) for rank in range(2)]
    assert whole[0] == [8, 9, 10, 11]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole
    with pytest.raises(ValueError, match="multiple of 3"):
        StepSampler(0, 1, 4, 0, 3)


def test_worker_processes_change_nothing(photos):
    data = samples(photos)
    here = list(loader(data, StepSampler(0, 2, 2), num_workers=0))
    there = list(loader(data, StepSampler(0, 2, 2), num_workers=1))
    assert all(equal(a, b) for a, b in zip(here, there, strict=True))


def test_photo_folder_is_optional(tmp_path):
    assert list_photos(tmp_path / "none") == []
    assert Photos([]).pair(np.random.default_rng(0)) is None
