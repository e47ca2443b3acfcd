import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fastvid.motion.consistency import _smooth_deriche, certainty, read_pgm, write_pgm
from fastvid.motion.flow import read_flo

ASSETS = Path(os.environ.get("FASTVID_DATA", Path(__file__).parents[2] / "shared" / "assets"))
GOLDEN = ASSETS.parent / "golden" / "ruder2016"
FULL = 254 / 255  # trust after the 2016 smoothing, which cuts to a byte


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


def smooth_flow(size: tuple[int, int], seed: int, scale: float = 2.0) -> torch.Tensor:
    coarse = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(seed))
    return scale * torch.nn.functional.interpolate(coarse, size, mode="bilinear")


def loop_certainty(
    flow: NDArray[np.float32], reverse: NDArray[np.float32], rule: str
) -> NDArray[np.float64]:
    """The rules of Ruder et al. pixel by pixel, (2, H, W) flows, grey levels."""
    _, height, width = flow.shape
    levels = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            u, v = (float(part) for part in flow[:, y, x])
            bx, by = x + u, y + v
            x1, y1 = math.floor(bx), math.floor(by)
            if x1 < 0 or y1 < 0 or x1 + 1 >= width or y1 + 1 >= height:
                continue
            a, b = bx - x1, by - y1
            r = (1 - b) * ((1 - a) * reverse[:, y1, x1] + a * reverse[:, y1, x1 + 1])
            r = r + b * ((1 - a) * reverse[:, y1 + 1, x1] + a * reverse[:, y1 + 1, x1 + 1])
            gradient = 0.0
            for channel in flow:
                left, right = channel[y, max(x - 1, 0)], channel[y, min(x + 1, width - 1)]
                up, down = channel[max(y - 1, 0), x], channel[min(y + 1, height - 1), x]
                gradient += (0.5 * (right - left)) ** 2 + (0.5 * (down - up)) ** 2
            own = u * u + v * v
            missed = (u + r[0]) ** 2 + (v + r[1]) ** 2
            if missed >= 0.01 * (own + r[0] ** 2 + r[1] ** 2) + 0.5:
                levels[y, x] = -255 if rule == "ruder2016" else 0
            elif rule == "ruder2016" and gradient > 0.01 * own + 0.002:
                levels[y, x] = 0
            else:
                levels[y, x] = 255
    if rule == "ruder2016":
        taps = (0.02192964, 0.22851215, 0.49911642, 0.22851215, 0.02192964)
        for _ in range(2):
            padded = np.pad(levels, ((0, 0), (2, 2)), "symmetric")
            levels = sum(t * padded[:, k : k + levels.shape[1]] for k, t in enumerate(taps)).T
    return levels.clip(0, 255)


@pytest.mark.parametrize("rule", ["ruder2016", "ruder2018"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_certainty_equals_a_loop_over_pixels(rule: str, seed: int) -> None:
    flow = smooth_flow((19, 26), seed) + 0.05 * torch.randn(1, 2, 19, 26)
    reverse = -flow + 0.5 * torch.randn(1, 2, 19, 26)
    levels = 255 * certainty(flow, reverse, rule)[0, 0].numpy()
    expected = loop_certainty(flow[0].numpy(), reverse[0].numpy(), rule)
    assert 0 < expected.mean() < 255
    # The loop keeps fractions, the map is cut to bytes.
    assert np.abs(levels - expected).max() <= 1.001


def test_golden_maps_of_the_authors_come_back_byte_for_byte() -> None:
    if not GOLDEN.is_dir():
        pytest.skip("the golden flows are not here (../shared/golden)")
    for a, b in ((1, 2), (2, 3), (2, 1), (3, 2)):
        directions = ("forward", "backward") if a < b else ("backward", "forward")
        flow, reverse = (
            torch.from_numpy(read_flo(GOLDEN / f"{direction}_{i}_{j}.flo")).permute(2, 0, 1)[None]
            for direction, i, j in zip(directions, (a, b), (b, a), strict=True)
        )
        levels = (255 * certainty(flow, reverse)).round()[0, 0].numpy()
        np.testing.assert_array_equal(levels, read_pgm(GOLDEN / f"reliable_{a}_{b}.pgm"))


@pytest.mark.parametrize("rule", ["ruder2016", "ruder2018"])
def test_opposite_flows_are_certain_away_from_the_border(rule: str) -> None:
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 24, 30)
    trust = certainty(flow, -flow, rule)
    assert trust.shape == (1, 1, 24, 30)
    assert trust[..., 6:-6, 6:-6].min() >= FULL
    assert trust[..., :2, :].max() < 0.5  # these rows come from above the frame
    assert trust[..., -2:].max() < 0.5


def test_zero_flow_distrusts_the_last_row_and_column() -> None:
    # Their bilinear neighbour is outside: so it is in both programs of the authors.
    still = torch.zeros(1, 2, 8, 9)
    trust = certainty(still, still, "ruder2018")[0, 0]
    assert (trust[:-1, :-1] == 1).all()
    assert (trust[-1] == 0).all()
    assert (trust[:, -1] == 0).all()


def moving_square(shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """flow_bwd and flow_fwd of a square that moves right over a still ground."""
    flow_bwd, flow_fwd = torch.zeros(1, 2, 40, 60), torch.zeros(1, 2, 40, 60)
    flow_fwd[:, 0, 12:28, 20:36] = shift
    flow_bwd[:, 0, 12:28, 20 + shift : 36 + shift] = -shift
    return flow_bwd, flow_fwd


@pytest.mark.parametrize("shift", [2, 5, 9])
def test_a_moving_square_leaves_a_distrusted_band_as_wide_as_its_shift(shift: int) -> None:
    flow_bwd, flow_fwd = moving_square(shift)
    row = certainty(flow_bwd, flow_fwd, "ruder2018")[0, 0, 20, :-1]
    assert row.lt(0.5).nonzero().flatten().tolist() == list(range(20, 20 + shift))
    # The rule of 2016 also distrusts the edges, and grows the band: it holds the other one.
    older = certainty(flow_bwd, flow_fwd, "ruder2016")[0, 0, 20, :-1]
    assert older[20 : 20 + shift].max() == 0
    assert shift < int(older.lt(0.5).sum()) <= shift + 8


def test_flipping_both_flows_flips_the_map() -> None:
    flow = smooth_flow((21, 34), 4)
    reverse = -flow + 0.4 * torch.randn(1, 2, 21, 34)
    mirror = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    flipped = certainty(flow.flip(-1) * mirror, reverse.flip(-1) * mirror, "ruder2018").flip(-1)
    # Positions on whole pixels at the border are the one asymmetry of the rule.
    agree = flipped == certainty(flow, reverse, "ruder2018")
    assert agree[..., 1:-1].float().mean() > 0.99


@pytest.mark.parametrize("rule", ["ruder2016", "ruder2018"])
def test_a_batch_equals_its_items(rule: str) -> None:
    flow = torch.cat([smooth_flow((18, 22), seed) for seed in (5, 6)])
    reverse = -flow + 0.4 * torch.randn(2, 2, 18, 22)
    together = certainty(flow, reverse, rule)
    for index in range(2):
        item = slice(index, index + 1)
        assert torch.equal(together[item], certainty(flow[item], reverse[item], rule))


def test_values_are_whole_grey_levels() -> None:
    flow = smooth_flow((18, 22), 7)
    levels = 255 * certainty(flow, -flow)
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert levels.min() >= 0
    assert levels.max() <= 255


def test_flow_that_is_not_a_number_is_not_trusted() -> None:
    flow = torch.zeros(1, 2, 10, 10)
    flow[0, 0, 4, 4] = float("nan")
    flow[0, 1, 6, 6] = float("inf")
    trust = certainty(flow, torch.zeros(1, 2, 10, 10), "ruder2018")[0, 0]
    assert trust[4, 4] == 0
    assert trust[6, 6] == 0
    assert trust[2, 2] == 1


def half_textured() -> torch.Tensor:
    """A frame that is flat on the left and noise on the right."""
    image = torch.full((1, 3, 40, 80), 0.5)
    image[..., 40:] = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    return image


def test_homogeneous_regions_tolerate_more_given_the_frame() -> None:
    flow = torch.zeros(1, 2, 40, 80)
    reverse = flow.clone()
    reverse[:, 0] = 1.2  # 1.44 square pixels off: above 0.5, below 0.5 + 2
    assert certainty(flow, reverse, "ruder2018").max() == 0
    trust = certainty(flow, reverse, "ruder2018", half_textured())[0, 0]
    assert (trust[:-1, :30] == 1).all()
    assert (trust[:, 50:] == 0).all()
    reverse[:, 0] = 1.7  # 2.89 is beyond any tolerance
    assert certainty(flow, reverse, "ruder2018", half_textured()).max() == 0


def test_a_flat_frame_gives_the_full_tolerance() -> None:
    flow = torch.zeros(1, 2, 20, 20)
    reverse = torch.full((1, 2, 20, 20), 1.1)
    trust = certainty(flow, reverse, "ruder2018", torch.full((1, 3, 20, 20), 0.3))
    assert (trust[..., :-1, :-1] == 1).all()


def test_structure_smoothing_equals_the_recursion_of_the_reference() -> None:
    signal = np.random.default_rng(0).random(60).astype(np.float32)
    run_in = 80  # of repeated edge: by then the recursion has settled
    x = np.pad(signal.astype(np.float64), run_in, "edge")
    a = 2.5 / (math.sqrt(math.pi) * 3.0)
    e = math.exp(-a)
    k = (1 - e) ** 2 / (1 + 2 * a * e - e * e)
    forth, back = np.zeros_like(x), np.zeros_like(x)
    for i in range(2, len(x)):
        forth[i] = k * (x[i] + e * (a - 1) * x[i - 1]) + 2 * e * forth[i - 1] - e * e * forth[i - 2]
    for i in range(len(x) - 3, -1, -1):
        back[i] = k * (e * (a + 1) * x[i + 1] - e * e * x[i + 2])
        back[i] += 2 * e * back[i + 1] - e * e * back[i + 2]
    smoothed = _smooth_deriche(torch.from_numpy(signal).view(1, 1, 1, -1), 3.0)
    expected = (forth + back)[run_in:-run_in]
    np.testing.assert_allclose(smoothed[0, 0, 0].numpy(), expected, atol=2e-4)


def test_wrong_arguments_are_named() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    with pytest.raises(ValueError, match="not one of ruder2016, ruder2018"):
        certainty(flow, flow, "sundaram")
    with pytest.raises(ValueError, match=r"found \(1, 2, 8, 8\) and \(1, 2, 8, 9\)"):
        certainty(flow, torch.zeros(1, 2, 8, 9))
    with pytest.raises(ValueError, match="takes no image"):
        certainty(flow, flow, "ruder2016", torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"found \(1, 3, 4, 4\)"):
        certainty(flow, flow, "ruder2018", torch.zeros(1, 3, 4, 4))


def test_pgm_files_come_back(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 9), np.uint8)
    write_pgm(tmp_path / "r.pgm", levels)
    np.testing.assert_array_equal(read_pgm(tmp_path / "r.pgm"), levels)
    # 10 is both a grey level and a line feed, 35 is '#': neither belongs to the header.
    (tmp_path / "c.pgm").write_bytes(b"P5 # by hand\n2 1\n# more\n255\n\x0a\x23")
    assert read_pgm(tmp_path / "c.pgm").tolist() == [[10, 35]]


def test_damaged_pgm_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.pgm"
    for data, message in (
        (b"", "not a binary PGM"),
        (b"P2\n1 1\n255\n7\n", "not a binary PGM"),
        (b"P5\n2 2\n65535\n" + bytes(8), "maximum 65535"),
        (b"P5\n4 4\n255\n" + bytes(15), "needs 16 bytes of pixels, found 15"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_pgm(path)
    with pytest.raises(ValueError, match="expected uint8"):
        write_pgm(path, np.zeros((2, 2)))
