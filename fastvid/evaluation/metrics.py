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

from fastvid.evaluation.judge import load_judge, perceptual_scores
from fastvid.evaluation.links import Motion, SourceLinks, one_thread
from fastvid.evaluation.pairs import (
    MIN_COVERAGE,
    PairError,
    PairMeter,
    e_stab,
    e_warp,
    stability_ratio,
)
from fastvid.image import to_tensor
from fastvid.perceptual.vgg import VGGFeatures

GAPS = (1, 4, 10)
VGG_FRAMES = 8  # at most so many frames of a clip, evenly spread, go through VGG
CONSTANT_STD = 2 / 255  # a picture with less contrast than this is blank
SAME_RMSE = 1 / 255

Score = float | int | str | None
Item = TypeVar("Item")


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


class OutputMeter:
    """What is gathered of one painting of a clip.

    Attributes:
        stability: its frame pairs.
        sample: frames for VGG.
    """

    def __init__(self, gaps: Sequence[int]) -> None:
        self.stability = PairMeter(gaps)
        self.sample: EvenSample[np.ndarray] = EvenSample(VGG_FRAMES)
        self._variance = 0.0
        self._difference = 0.0

    def add_contrast(self, variance: float, difference: float) -> None:
        """Note the spatial variance of a frame and its mean square difference from the source."""
        self._variance += variance
        self._difference += difference

    def scores(self, frames: int) -> dict[str, Score]:
        """All that needs no VGG, flat."""
        scores: dict[str, Score] = {}
        for name, pairs in self.stability.pairs.items():
            scores |= _stability_scores(name, pairs)
        scores |= _legacy_scores(self.stability.pairs.get("gap1", []))
        scores["output_std"] = std = (self._variance / frames) ** 0.5
        scores["output_source_rmse"] = rmse = (self._difference / frames) ** 0.5
        scores["not_stylized"] = None
        if std < CONSTANT_STD:
            scores["not_stylized"] = "the output is blank: a constant picture is perfectly steady"
        elif rmse < SAME_RMSE:
            scores["not_stylized"] = "the output is the source"
        return scores


class Comparison:
    """Scores of several paintings of one clip, taken frame by frame in bounded memory.

    Flow, masks and VGG features of the source are worked out once, however many paintings there
    are.

    Args:
        names: of the paintings.
        gaps: distances between the frames of a pair, in frames.
        flow_method: "dis" or "raft", run on the source frames.
        motion: exact motion instead of an estimate; the scores then say "exact".

    Attributes:
        meters: one for each painting.
        frames: how many have been taken.
    """

    def __init__(
        self,
        names: Iterable[str],
        gaps: Sequence[int] = GAPS,
        flow_method: str = "dis",
        motion: Motion | None = None,
    ) -> None:
        self.meters = {name: OutputMeter(gaps) for name in names}
        self.frames = 0
        self._links = SourceLinks(gaps, flow_method, motion)
        self._sources: EvenSample[np.ndarray] = EvenSample(VGG_FRAMES)
        self._flow_method = flow_method if motion is None else "exact"
        self._shape: tuple[int, ...] = ()

    def update(self, source: np.ndarray, painted: Mapping[str, np.ndarray]) -> None:
        """Take the next frame of the source and of every painting, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: if types or sizes differ from each other or from the frames before.
        """
        self._check("source", source)
        for name in self.meters:
            self._check("stylized", painted[name])
        links = self._links.update(source)
        source_tensor = to_tensor(source)
        with one_thread():
            for name, meter in self.meters.items():
                output = to_tensor(painted[name])
                meter.stability.update(links, painted[name], output)
                meter.sample.add(painted[name])
                meter.add_contrast(
                    float(output.var(dim=(2, 3), correction=0).mean()),
                    float((output - source_tensor).square().mean()),
                )
        self._sources.add(source)
        self.frames += 1

    def scores(
        self, styles: Mapping[str, np.ndarray] | None = None, vgg: VGGFeatures | None = None
    ) -> dict[str, dict[str, Score]]:
        """All figures so far, flat, by painting; a figure that the clip is too short for is None.

        Args:
            styles: style images, uint8 (H, W, 3), of the paintings that have one; see
                `perceptual_scores`.
            vgg: VGG-19 with `STYLE_LAYERS`; loaded if a style image comes without one. With
                neither there is no `style_distance` and no `content_distance`.

        Raises:
            ValueError: if there was no frame.
            FileNotFoundError: if VGG weights are needed and missing.
        """
        if not self.frames:
            raise ValueError("expected at least one frame in each clip, found none")
        if styles and vgg is None:
            judge = load_judge(required=True)
            vgg = judge.vgg if judge else None
        height, width = self._shape[:2]
        known: dict[str, Score] = {
            "frames": self.frames,
            "height_px": height,
            "width_px": width,
            "flow_method": self._flow_method,
        }
        seen: Mapping[str, Mapping[str, Score]] = {}
        if vgg is not None:
            samples = {name: meter.sample.kept for name, meter in self.meters.items()}
            seen = perceptual_scores(vgg, self._sources.kept, samples, styles or {})
        return {
            name: {**known, **meter.scores(self.frames), **seen.get(name, {})}
            for name, meter in self.meters.items()
        }

    def _check(self, name: str, frame: np.ndarray) -> None:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"{name} frame {self.frames}: expected uint8 (H, W, 3), "
                f"found {frame.dtype} {frame.shape}"
            )
        self._shape = self._shape or frame.shape
        if frame.shape != self._shape:
            raise ValueError(
                f"{name} frame {self.frames} is {frame.shape[1]}x{frame.shape[0]}, expected "
                f"{self._shape[1]}x{self._shape[0]}; stylise at the source's size or scale both"
            )


class ClipMeter:
    """Scores of one painting of a clip; the arguments are those of `Comparison`."""

    def __init__(
        self,
        gaps: Sequence[int] = GAPS,
        flow_method: str = "dis",
        motion: Motion | None = None,
    ) -> None:
        self._comparison = Comparison(("",), gaps, flow_method, motion)

    @property
    def frames(self) -> int:
        """How many have been taken."""
        return self._comparison.frames

    @property
    def stability(self) -> PairMeter:
        """The frame pairs."""
        return self._comparison.meters[""].stability

    def update(self, source: np.ndarray, stylized: np.ndarray) -> None:
        """Take the next frame of both clips; see `Comparison.update`."""
        self._comparison.update(source, {"": stylized})

    def scores(
        self, style_image: np.ndarray | None = None, vgg: VGGFeatures | None = None
    ) -> dict[str, Score]:
        """All figures so far, flat; see `Comparison.scores`."""
        return self._comparison.scores({} if style_image is None else {"": style_image}, vgg)[""]


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
        vgg: see `Comparison.scores`.
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
