"""Clips to measure on: files, and generated scenes whose motion is known exactly."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastvid.evaluation.links import Motion
from fastvid.evaluation.metrics import EvenSample
from fastvid.motion import scenes
from fastvid.video import VideoReader

log = logging.getLogger(__name__)

SCENE_PREFIX = "scene:"
HOLDOUT_PREFIX = "holdout:"
HOLDOUT = ("coffee_pour", "juggle_football", "portrait_sun")  # films that no net was trained on
ALL = "all"
SCENE_FRAMES = 48
SCENE_SIZE = (360, 640)


@dataclass(frozen=True)
class Clip:
    """Frames to measure on: a file, or a generated scene with its exact motion.

    Attributes:
        text: path, or `scene:NAME`.
        num_frames: read so many at most.
        height_px: scale a file to this height; a scene is made at it.
    """

    text: str
    num_frames: int | None = None
    height_px: int | None = None

    @property
    def name(self) -> str:
        """For reports: without folders."""
        return self.text if self.scene_name else Path(self.text).name

    @property
    def scene_name(self) -> str | None:
        """Name of the generated scene, None for a file."""
        is_scene = self.text.startswith(SCENE_PREFIX)
        return self.text.removeprefix(SCENE_PREFIX) if is_scene else None

    @cached_property
    def scene(self) -> scenes.Scene | None:
        """The generated scene, None for a file.

        Raises:
            ValueError: if there is no scene of this name.
        """
        if self.scene_name is None:
            return None
        height = self.height_px or SCENE_SIZE[0]
        return scenes.make(self.scene_name, (height, round(height * 8 / 9) * 2))

    def frames(self) -> Iterator[np.ndarray]:
        """uint8 (H, W, 3) each.

        Raises:
            MediaError: if the file cannot be read.
        """
        scene = self.scene
        if scene is not None:
            yield from (scene.frame(t) for t in range(self.num_frames or SCENE_FRAMES))
            return
        with VideoReader(self.text, height_px=self.height_px) as reader:
            for frame in islice(reader, self.num_frames):
                yield frame.image
            report = reader.report()
        if self.num_frames is None and not report.complete:
            log.warning("%s: %s", self.text, report)

    def spread_frames(self, limit: int) -> np.ndarray:
        """At most `limit` frames from all over the clip, uint8 (N, H, W, 3)."""
        sample: EvenSample[np.ndarray] = EvenSample(limit)
        for frame in self.frames():
            sample.add(frame)
        return np.stack(sample.kept)


def scene_motion(scene: scenes.Scene) -> Motion:
    """Exact flow and visibility of a generated scene, as the meters take them."""

    def motion(prev: int, cur: int, frame: Tensor, _cur_frame: Tensor) -> tuple[Tensor, Tensor]:
        flow = torch.from_numpy(scene.flow_bwd(cur, cur - prev)).permute(2, 0, 1)[None]
        visible = torch.from_numpy(scene.visible(cur, cur - prev))[None, None]
        return flow.to(frame), visible.to(frame)

    return motion


def expand(texts: Sequence[str]) -> list[str]:
    """Clips by their names: `scene:all`, `holdout:all` and `holdout:NAME` spelt out.

    The held-out films are `<data root>/video/NAME.mp4`.

    Raises:
        ValueError: if there is no held-out film of this name.
    """
    root = Path(os.environ.get("FASTVID_DATA", "data"))
    found: list[str] = []
    for text in texts:
        if text == SCENE_PREFIX + ALL:
            found += [SCENE_PREFIX + name for name in scenes.NAMES]
        elif text.startswith(HOLDOUT_PREFIX):
            name = text.removeprefix(HOLDOUT_PREFIX)
            if name not in (ALL, *HOLDOUT):
                raise ValueError(f"{text}: held out are {', '.join(HOLDOUT)}; or holdout:all")
            names = HOLDOUT if name == ALL else (name,)
            found += [str(root / "video" / f"{each}.mp4") for each in names]
        else:
            found.append(text)
    return found


def frame_pairs(source: Clip, stylized: Clip) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of both clips side by side.

    Raises:
        ValueError: if one clip goes on after the other.
    """
    for index, (frame, painted) in enumerate(zip_longest(source.frames(), stylized.frames())):
        if frame is None or painted is None:
            shorter, longer = (source, stylized) if frame is None else (stylized, source)
            raise ValueError(
                f"{shorter.name} ends after {index} frames, {longer.name} goes on; expected as "
                f"many frames in both: cut the longer one or measure --frames {index}"
            )
        yield frame, painted
