"""Figures of a stylised clip against its source, in definitions that can be compared.

Notation: O_t output and I_t source frames, RGB in [0, 1]; W(X_s) is frame s warped to the grid of
frame t by the flow between the *source* frames; M = 1 where `consistency.certainty` > 0.5.

| name               | definition                                                            |
|--------------------|-----------------------------------------------------------------------|
| `e_warp`           | sqrt( mean_t [ sum_p M |O_t - W(O_s)|^2 / (3 sum_p M) ] )               |
| `stability_ratio`  | e_warp of the output / (e_warp of the source + 0.001)                 |
| `e_warp_luma`      | e_warp of the rest O_t - W(O_s) - Y(I_t - W(I_s)), Y the BT.709 luma   |
| `e_stab_reconet`   | sqrt( mean_t [ sum_p M |O_t - W(O_{t-1})|^2 / (H W) ] )                 |
| `e_stab_huang`     | the same divided by 3 H W, so sqrt(3) smaller                         |
| `style_distance`   | mean over layers of ||G(O) - G(S)||_F / ||G(S)||_F, G = F F^T / (C H W) |
| `content_distance` | ||F(O) - F(I)|| / ||F(I)||                                            |

s = t - 1, t - 4, t - 10 (`_gap1`, ...) or the first frame (`_first`). The two `e_stab` are the
forms of Gao et al. 2018 and Huang et al. 2017; not being normalised by the trusted area, they
make clips with more occlusion look steadier, and stand here for comparison only.

One departure: a pair with less than 1 % of its pixels trusted (a cut, a hand before the lens)
says nothing about flicker and is left out of all means but the two `e_stab`. `pairs_gap1` counts
what was used, `pairs_skipped_gap1` what was not.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from fastvid.evaluation.pairs import (
    MIN_COVERAGE,
    Motion,
    PairError,
    PairMeter,
    e_stab,
    e_warp,
    stability_ratio,
)
from fastvid.image import resize_image, to_tensor
from fastvid.perceptual.losses import gram_matrix
from fastvid.perceptual.vgg import VGGFeatures, load_vgg

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT_LAYERS = ("relu3_1", "relu4_2")  # the second where the weights reach that far
GAPS = (1, 4, 10)
VGG_FRAMES = 8  # at most so many frames of a clip, evenly spread, go through VGG
CONSTANT_STD = 2 / 255  # a picture with less contrast than this is blank
SAME_RMSE = 1 / 255

Score = float | int | str | None
Item = TypeVar("Item")


def style_distance(features: Mapping[str, Tensor], style_features: Mapping[str, Tensor]) -> float:
    """Relative distance of the Gram matrices: 0 for the texture of the style image itself.

    Args:
        features: VGG-19 features of one frame by layer, each (1, C, H, W); reads `STYLE_LAYERS`.
        style_features: the same of the style image, in any size.
    """
    distances = []
    for layer in STYLE_LAYERS:
        target = gram_matrix(style_features[layer])
        difference = torch.linalg.norm(gram_matrix(features[layer]) - target)
        distances.append(float(difference / torch.linalg.norm(target)))
    return sum(distances) / len(distances)


def content_distance(features: Tensor, source_features: Tensor) -> float:
    """Relative distance of one layer's features, both (1, C, H, W): 0 for the source itself."""
    difference = torch.linalg.vector_norm(features - source_features)
    return float(difference / torch.linalg.vector_norm(source_features))


class EvenSample(Generic[Item]):
    """At most `limit` items, evenly spread over a sequence whose length nobody knows yet."""

    def __init__(self, limit: int) -> None:
        self.kept: list[Item] = []
        self.stride = 1
        self._limit = limit
        self._count = 0

    def add(self, item: Item) -> None:
        """Keep every `stride`-th item; where they become too many, every second of those."""
        if self._count % self.stride == 0:
            if len(self.kept) == self._limit:
                self.kept = self.kept[::2]
                self.stride *= 2
            if self._count % self.stride == 0:
                self.kept.append(item)
        self._count += 1


class ClipMeter:
    """Scores of a clip, taken frame by frame in bounded memory.

    Args:
        gaps: distances between the frames of a pair, in frames.
        flow_method: "dis" or "raft", run on the source frames.
        motion: exact motion instead of an estimate; the scores then say "exact".
    """

    def __init__(
        self,
        gaps: Sequence[int] = GAPS,
        flow_method: str = "dis",
        motion: Motion | None = None,
    ) -> None:
        self.stability = PairMeter(gaps, flow_method, motion)
        self.frames = 0
        self._flow_method = flow_method if motion is None else "exact"
        self._shape: tuple[int, ...] = ()
        self._variance = 0.0
        self._difference = 0.0
        self._spread: EvenSample[tuple[np.ndarray, np.ndarray]] = EvenSample(VGG_FRAMES)

    def update(self, source: np.ndarray, stylized: np.ndarray) -> None:
        """Take the next frame of both clips, uint8 (H, W, 3) RGB of one size.

        Raises:
            ValueError: if types or sizes differ from each other or from the frames before.
        """
        self._check(source, stylized)
        self.stability.update(source, stylized)
        output = stylized.astype(np.float64) / 255
        self._variance += float(output.var(axis=(0, 1)).mean())
        self._difference += float(np.square(output - source / 255.0).mean())
        self._spread.add((source, stylized))
        self.frames += 1

    def scores(
        self, style_image: np.ndarray | None = None, vgg: VGGFeatures | None = None
    ) -> dict[str, Score]:
        """All figures so far, flat; a figure that the clip is too short for is None.

        Args:
            style_image: uint8 (H, W, 3); shown to VGG at the height of the output.
            vgg: VGG-19 with `STYLE_LAYERS`; loaded if a style image comes without one. With
                neither there is no `style_distance` and no `content_distance`.

        Raises:
            ValueError: if there was no frame.
        """
        if not self.frames:
            raise ValueError("expected at least one frame in each clip, found none")
        height, width = self._shape[:2]
        scores: dict[str, Score] = {
            "frames": self.frames,
            "height_px": height,
            "width_px": width,
            "flow_method": self._flow_method,
        }
        for name, pairs in self.stability.pairs.items():
            scores |= _stability_scores(name, pairs)
        scores |= _legacy_scores(self.stability.pairs.get("gap1", []))
        if style_image is not None and vgg is None:
            vgg = load_vgg(list(STYLE_LAYERS), arch="vgg19")
        if vgg is not None:
            scores |= _perceptual_scores(self._spread.kept, style_image, vgg)
        scores["output_std"] = (self._variance / self.frames) ** 0.5
        scores["output_source_rmse"] = (self._difference / self.frames) ** 0.5
        scores["not_stylized"] = self._not_stylized()
        return scores

    def _not_stylized(self) -> str | None:
        """Why the steadiness of this clip is worth nothing, if so."""
        if (self._variance / self.frames) ** 0.5 < CONSTANT_STD:
            return "the output is blank: a constant picture is perfectly steady"
        if (self._difference / self.frames) ** 0.5 < SAME_RMSE:
            return "the output is the source"
        return None

    def _check(self, source: np.ndarray, stylized: np.ndarray) -> None:
        expected = self._shape or source.shape
        for name, frame in (("source", source), ("stylized", stylized)):
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(
                    f"{name} frame {self.frames}: expected uint8 (H, W, 3), "
                    f"found {frame.dtype} {frame.shape}"
                )
            if frame.shape != expected:
                raise ValueError(
                    f"{name} frame {self.frames} is {frame.shape[1]}x{frame.shape[0]}, expected "
                    f"{expected[1]}x{expected[0]}; stylise at the source's size or scale both"
                )
        self._shape = expected


def clip_scores(
    source_frames: Iterable[np.ndarray],
    stylized_frames: Iterable[np.ndarray],
    style_image: np.ndarray | None = None,
    vgg: VGGFeatures | None = None,
    gaps: Sequence[int] = GAPS,
    flow_method: str = "dis",
) -> dict[str, Score]:
    """Scores of a stylised clip; see the head of this file for names and definitions.

    Args:
        source_frames: uint8 (H, W, 3) each, RGB; an array (N, H, W, 3) or any iterable, read once.
        stylized_frames: as many of the same size.
        style_image: uint8 (H, W, 3), for `style_distance`.
        vgg: VGG-19 with `STYLE_LAYERS`; see `ClipMeter.scores`.
        gaps: distances between the frames of a pair, in frames.
        flow_method: "dis" or "raft", run on the source frames.

    Raises:
        ValueError: if counts, sizes or types differ.
        FileNotFoundError: if VGG weights are needed and missing.
    """
    meter = ClipMeter(gaps, flow_method)
    for source, stylized in zip_longest(source_frames, stylized_frames):
        if source is None or stylized is None:
            longer = "source" if stylized is None else "stylized"
            raise ValueError(
                f"the {longer} clip goes on after the other's {meter.frames} frames; "
                "expected as many frames in both"
            )
        meter.update(source, stylized)
    return meter.scores(style_image, vgg)


def _stability_scores(name: str, pairs: Sequence[PairError]) -> dict[str, Score]:
    used = [pair for pair in pairs if pair.coverage >= MIN_COVERAGE]
    scores: dict[str, Score] = dict.fromkeys(
        (f"e_warp_{name}", f"e_warp_source_{name}", f"stability_ratio_{name}"), None
    )
    scores |= {f"e_warp_luma_{name}": None, f"mask_coverage_{name}": None}
    scores |= {f"pairs_{name}": len(used), f"pairs_skipped_{name}": len(pairs) - len(used)}
    if used:
        output = e_warp([pair.output_mse for pair in used])
        source = e_warp([pair.source_mse for pair in used])
        scores[f"e_warp_{name}"] = output
        scores[f"e_warp_source_{name}"] = source
        scores[f"stability_ratio_{name}"] = stability_ratio(output, source)
        scores[f"e_warp_luma_{name}"] = e_warp([pair.luma_mse for pair in used])
        scores[f"mask_coverage_{name}"] = sum(pair.coverage for pair in used) / len(used)
    return scores


def _legacy_scores(pairs: Sequence[PairError]) -> dict[str, Score]:
    if not pairs:
        return {"e_stab_reconet": None, "e_stab_huang": None}
    mse = [pair.output_mse for pair in pairs]
    coverage = [pair.coverage for pair in pairs]
    return {
        "e_stab_reconet": e_stab(mse, coverage, "reconet"),
        "e_stab_huang": e_stab(mse, coverage, "huang"),
    }


@torch.no_grad()
def _perceptual_scores(
    frames: Sequence[tuple[np.ndarray, np.ndarray]],
    style_image: np.ndarray | None,
    vgg: VGGFeatures,
) -> dict[str, Score]:
    """Means over the sampled frames of what VGG sees."""
    device = next(iter([*vgg.parameters(), *vgg.buffers()])).device
    sums: dict[str, float] = {}
    style_features: dict[str, Tensor] | None = None
    if style_image is not None:
        resized = resize_image(style_image, height_px=frames[0][1].shape[0])
        style_features = vgg(to_tensor(resized).to(device))
    for source, stylized in frames:
        source_features = vgg(to_tensor(source).to(device))
        features = vgg(to_tensor(stylized).to(device))
        terms: dict[str, float] = {}
        if style_features is not None:
            terms["style_distance"] = style_distance(features, style_features)
            terms["style_distance_source"] = style_distance(source_features, style_features)
        for layer, suffix in zip(CONTENT_LAYERS, ("", "_relu4_2"), strict=True):
            if layer in features:
                value = content_distance(features[layer], source_features[layer])
                terms[f"content_distance{suffix}"] = value
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value
    return {"vgg_frames": len(frames)} | {name: v / len(frames) for name, v in sums.items()}
