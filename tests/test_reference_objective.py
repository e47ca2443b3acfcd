import os
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_nets import (
    MEAN_RGB,
    numpy_features,
    numpy_gram,
    numpy_warp,
    tiny_vgg,
    tiny_weights,
)
from torch import Tensor

from fastvid.image import read_image, to_array, to_tensor
from fastvid.motion.consistency import read_pgm
from fastvid.motion.flow import read_flo
from fastvid.motion.warp import inside, warp
from fastvid.perceptual.losses import gram_matrices, gram_matrix
from fastvid.perceptual.vgg import load_vgg, read_weights
from fastvid.reference.mode import MODES
from fastvid.reference.objective import (
    Anchor,
    Objective,
    Weights,
    _Gram,
    half_squared_differences,
)

CONTENT, STYLE = ["relu2_2"], ["relu1_1", "relu2_1"]
SIZE = (13, 18)  # odd: the pooling rounds up


def picture(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def build(mode: str = "paper", weights: Weights | None = None, **options: object) -> Objective:
    chosen = MODES[mode]
    vgg = tiny_vgg([*CONTENT, *STYLE])
    painting = vgg(chosen.vgg_input(chosen.encode(picture(3, (9, 11)))))
    grams = gram_matrices({name: painting[name] for name in STYLE})
    certainty = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(5))
    anchors = [Anchor(chosen.encode(picture(2)), certainty)]
    return Objective(
        vgg,
        chosen,
        weights or Weights(tv=0.0),
        chosen.encode(picture(1)),
        CONTENT,
        grams,
        anchors,
        **options,  # type: ignore[arg-type]
    )


def encode(image: Tensor, white: float) -> np.ndarray:
    return image[0].double().numpy() * white - MEAN_RGB[:, None, None]


@pytest.mark.parametrize(("mode", "white"), [("paper", 255.0), ("original", 256.0)])
def test_losses_equal_the_formulas_in_numpy(mode: str, white: float) -> None:
    losses = build(mode).losses(MODES[mode].encode(picture(4)))
    weights = tiny_weights()
    x, frame = encode(picture(4), white), encode(picture(1), white)
    painting = encode(picture(3, (9, 11)), white)
    fx, fp = (numpy_features(weights, p, "relu2_2") for p in (x, frame))
    fs = numpy_features(weights, painting, "relu2_1")
    content = 5 * np.mean((fx["relu2_2"] - fp["relu2_2"]) ** 2)
    style = sum(100 * np.mean((numpy_gram(fx[n]) - numpy_gram(fs[n])) ** 2) for n in STYLE)
    certainty = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(5))[0].numpy()
    temporal = 1000 * np.mean(certainty * (x - encode(picture(2), white)) ** 2)
    assert losses.content == pytest.approx(content, rel=1e-4)
    assert losses.style == pytest.approx(style, rel=1e-4)
    assert losses.temporal == pytest.approx(temporal, rel=1e-4)
    assert losses.total == pytest.approx(content + style + temporal, rel=1e-4)


def test_gradient_is_that_of_the_losses() -> None:
    objective = build(weights=Weights(tv=0.5))
    x = MODES["paper"].encode(picture(4))
    _, gradient = objective(x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))

    def value(point: Tensor) -> float:
        return objective.losses(point).total + 0.5 * float(half_squared_differences(point))

    slope = (value(x + 0.01 * direction) - value(x - 0.01 * direction)) / 0.02
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gram_and_its_gradient_are_those_of_the_plain_formula(
    memory_format: torch.memory_format,
) -> None:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(1, 3, 4, 5, generator=generator, dtype=torch.float64)
    features = features.to(memory_format=memory_format).requires_grad_()
    push = torch.randn(1, 3, 3, generator=generator, dtype=torch.float64)
    found, wanted = _Gram.apply(features), gram_matrix(features)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((g * push).sum(), features)[0] for g in (found, wanted)]
    torch.testing.assert_close(*gradients)


def temporal_gradient(mode: str, criterion: str = "mse") -> tuple[Tensor, Anchor, Tensor]:
    objective = build(mode, Weights(content=0, style=0, tv=0), criterion=criterion)
    x = MODES[mode].encode(picture(4))
    return objective(x)[1], objective.anchors[0], x


def test_paper_weighs_the_temporal_gradient_with_the_certainty() -> None:
    gradient, anchor, x = temporal_gradient("paper")
    wanted = 2 * 1000 * anchor.certainty * (x - anchor.target) / x.numel()
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


def test_original_weighs_the_temporal_gradient_with_the_root_of_the_certainty() -> None:
    gradient, anchor, x = temporal_gradient("original")
    wanted = 2 * 1000 * anchor.certainty.sqrt() * (x - anchor.target) / x.numel()
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


def test_smooth_l1_is_linear_beyond_one_grey_level() -> None:
    objective = build(weights=Weights(content=0, style=0, tv=0), criterion="smoothl1")
    x, anchor = MODES["paper"].encode(picture(4)), objective.anchors[0]
    d = (anchor.certainty.sqrt() * (x - anchor.target)).numpy()
    wanted = 1000 * np.mean(np.where(np.abs(d) < 1, 0.5 * d * d, np.abs(d) - 0.5))
    assert objective.losses(x).temporal == pytest.approx(wanted, rel=1e-5)


def test_gradient_is_zero_where_nothing_is_certain() -> None:
    gradient, anchor, _ = temporal_gradient("paper")
    objective = build(weights=Weights(content=0, style=0, tv=0))
    objective.anchors = [Anchor(anchor.target, torch.zeros_like(anchor.certainty))]
    assert not objective(MODES["paper"].encode(picture(4)))[1].any()
    assert gradient.any()


def test_total_variation_leaves_out_the_last_row_and_column_and_the_total() -> None:
    image = picture(6).double()
    x = image[0].numpy()
    dx = x[:, :-1, :-1] - x[:, :-1, 1:]
    dy = x[:, :-1, :-1] - x[:, 1:, :-1]
    assert float(half_squared_differences(image)) == pytest.approx(
        0.5 * np.sum(dx**2 + dy**2), rel=1e-12
    )
    start = MODES["paper"].encode(picture(4))
    plain, with_tv = build(), build(weights=Weights(tv=10.0))
    assert plain.losses(start) == with_tv.losses(start)
    assert not torch.equal(plain(start)[1], with_tv(start)[1])


def test_normalized_gradients_have_the_weight_as_their_l1_norm() -> None:
    objective = build(weights=Weights(content=0, style=0, tv=0), normalize_gradients=True)
    x = MODES["paper"].encode(picture(4))
    assert float(objective(x)[1].abs().sum()) == pytest.approx(1000, rel=1e-4)
    plain = build(weights=Weights(content=0, style=0, tv=0))
    assert objective.losses(x) == plain.losses(x)  # the losses are not rescaled


def test_terms_of_weight_zero_cost_nothing_and_give_no_gradient() -> None:
    objective = build(weights=Weights(0, 0, 0, 0))
    losses, gradient = objective(MODES["paper"].encode(picture(4)))
    assert losses.total == 0
    assert not gradient.any()


def test_anchor_of_another_size_names_both_sizes() -> None:
    mode = MODES["paper"]
    with pytest.raises(ValueError, match=r"expected an anchor .*13, 18.*found .*13, 17"):
        Objective(
            tiny_vgg(CONTENT),
            mode,
            Weights(),
            mode.encode(picture(1)),
            CONTENT,
            {},
            [Anchor(torch.zeros(1, 3, 13, 17), torch.zeros(1, 1, 13, 17))],
        )


def test_original_cuts_to_bytes_and_paper_keeps_floats() -> None:
    image = torch.tensor([99.9, 100.0, 300.0, -4.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2) / 255
    assert MODES["paper"].kept(image) is image
    cut = MODES["original"].kept(image)
    assert to_array(cut)[0, ..., 0].tolist() == [[99, 100], [255, 0]]
    assert to_array(MODES["paper"].kept(image))[0, ..., 0].tolist() == [[100, 100], [255, 0]]


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_pixel_space_is_that_of_the_weights(mode: str) -> None:
    chosen, image = MODES[mode], picture(1)
    pixels = chosen.encode(image)
    assert pixels[0, 0, 0, 0].item() == pytest.approx(
        image[0, 0, 0, 0].item() * chosen.white - 123.68, rel=1e-5
    )
    torch.testing.assert_close(chosen.decode(pixels), image)
    assert chosen.encode(chosen.mean_color(image)).abs().max() < 1e-4


def assets() -> tuple[Path, Path]:
    """Data root and golden folder, or a skip that says what is missing."""
    shared = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("FASTVID_DATA", shared / "assets"))
    golden = shared / "golden" / "ruder2016"
    if not (root / "weights").is_dir() or not golden.is_dir():
        pytest.skip(f"needs {root / 'weights'} and {golden}")
    return root, golden


@pytest.mark.weights
def test_golden_frames_have_the_losses_of_the_formulas() -> None:
    root, golden = assets()
    mode = MODES["original"]
    frames = [read_image(golden / f"marple8_{k:02d}.ppm") for k in (1, 2)]
    flow = read_flo(golden / "backward_2_1.flo")
    levels = read_pgm(golden / "reliable_2_1.pgm")
    layers = ["relu1_1", "relu2_1"]
    vgg = load_vgg(layers, data_root=root, ceil_mode=True)

    flow_t = torch.from_numpy(flow).permute(2, 0, 1)[None]
    first, second = (to_tensor(frame) for frame in frames)
    seen = torch.where(inside(flow_t), warp(first, flow_t), mode.mean_color(first))
    certainty = torch.from_numpy(levels)[None, None].float() / 255
    objective = Objective(
        vgg,
        mode,
        Weights(content=0, style=0),
        mode.encode(first),
        [],
        {},
        [Anchor(mode.encode(seen), certainty)],
    )
    losses = objective.losses(mode.encode(second))

    warped = numpy_warp(frames[0] / 255, flow, MEAN_RGB / 256)
    difference = 256 * (frames[1] / 255 - warped)
    temporal = 1000 * np.mean(levels[..., None] / 255 * difference**2)
    assert losses.temporal == pytest.approx(temporal, rel=1e-4)

    # The network on a part of the frames: numpy's convolutions are slow.
    first, second = first[..., 100:161, 200:275], second[..., 100:161, 200:275]
    grams = gram_matrices({"relu1_1": vgg(mode.vgg_input(mode.encode(first)))["relu1_1"]})
    objective = Objective(vgg, mode, Weights(), mode.encode(first), ["relu2_1"], grams)
    losses = objective.losses(mode.encode(second))
    weights = read_weights(root / "weights" / "vgg19_caffe_conv1_1_to_conv4_1.safetensors", "vgg19")
    deep = [numpy_features(weights, encode(part, 256.0), "relu2_1") for part in (first, second)]
    content = 5 * np.mean((deep[1]["relu2_1"] - deep[0]["relu2_1"]) ** 2)
    style_grams = [numpy_gram(f["relu1_1"]) for f in deep]
    style = 100 * np.mean((style_grams[1] - style_grams[0]) ** 2)
    assert losses.content == pytest.approx(content, rel=1e-4)
    assert losses.style == pytest.approx(style, rel=1e-4)
