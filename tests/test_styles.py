"""The networks in `fastvid/styles` as users meet them."""

import json

import numpy as np
import onnx
import pytest

import fastvid
from fastvid.evaluation.probes import GRID_LINE, grid_spectrum
from fastvid.motion import scenes
from fastvid.runtime.gallery import STYLES_DIR

MAX_BYTES = {"base": 1_700_000, "small": 300_000}
MAX_DISTANCE = {"base": 0.5, "small": 0.6}  # of the source's
NAMES = sorted(fastvid.list_styles())


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    names = ("demo", "pan", "occluder")
    return np.stack([scenes.make(name, (180, 320)).frame(7) for name in names])


@pytest.fixture(scope="module", params=NAMES)
def style(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def stylizer(style):
    return fastvid.load(style, device="cpu")


@pytest.fixture(scope="module")
def painted(stylizer, frames) -> np.ndarray:
    return stylizer(frames)


def test_the_default_style_is_shipped():
    assert "starry_night" in NAMES


def test_card_tells_where_it_comes_from_and_how_it_measures(style):
    card = fastvid.list_styles()[style]
    for key in ("title", "artist", "licence", "net", "training", "git_revision", "versions"):
        assert card[key], key
    assert len(card["scores"]["clips"]) >= 3
    mean = card["scores"]["mean"]
    assert mean["style_distance"] <= MAX_DISTANCE[card["net"]] * mean["style_distance_source"]


def test_file_is_small_and_holds_no_paths(style):
    path = STYLES_DIR / f"{style}.onnx"
    card = fastvid.list_styles()[style]
    assert path.stat().st_size <= MAX_BYTES[card["net"]]
    properties = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
    assert properties["title"] == card["title"]
    for text in (*properties.values(), json.dumps(card)):
        assert "/root" not in text
        assert "/home" not in text


def test_no_line_at_the_strides_frequencies(painted):
    lines = grid_spectrum(painted)
    faint = lines["grid_amplitude"] < 0.5  # of 255: nobody sees it, some pictures have it
    assert lines["grid_line"] < GRID_LINE or faint, lines


def test_border_is_painted_like_the_rest(painted):
    ring = np.ones(painted.shape[1:3], bool)
    ring[4:-4, 4:-4] = False
    inner = np.zeros_like(ring)
    inner[4:-4, 4:-4] = True
    inner[16:-16, 16:-16] = False  # the twelve pixels beside it
    difference = np.abs(painted[:, ring].mean((0, 1)) - painted[:, inner].mean((0, 1)))
    assert difference.max() < 12


def test_it_paints_the_same_picture_the_same_way(stylizer, painted, frames):
    first = stylizer(frames[:1])
    assert np.abs(first[0].astype(int) - frames[0]).mean() > 10
    assert np.abs(first[0].astype(int) - painted[0]).max() <= 1
    np.testing.assert_array_equal(first, stylizer(frames[:1]))
