"""What is measured: networks, each with its painting, its statistics and its strength."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastvid.evaluation.card import read_card
from fastvid.evaluation.clips import Clip
from fastvid.image import read_image
from fastvid.reference.paintings import find_painting
from fastvid.runtime.finish import blend
from fastvid.runtime.gallery import find_model
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import Device, EngineName, OnnxStylizer

log = logging.getLogger(__name__)

STATISTICS = ("shot", "frame")  # the first is what infer.py does
ADAPT_FRAMES = 4  # of the clip, evenly spread; four are enough to fix its statistics
FULL = 1.0


@dataclass(frozen=True)
class Net:
    """A network to measure.

    Attributes:
        label: what it is called in tables; no other one is called so.
        path: of the ONNX file.
        style_image: file name of the painting, None where it is not known.
        painting: uint8 (H, W, 3), likewise.
    """

    label: str
    path: Path
    style_image: str | None
    painting: np.ndarray | None


@dataclass(frozen=True)
class Contestant:
    """A network in one way of running it.

    Attributes:
        net: the network.
        statistics: of its instance norms: `frame`, those of each frame, as the file paints by
            itself, or `shot`, held at those of a few frames of the clip.
        strength: share of the painting in the output, the rest is the source.
    """

    net: Net
    statistics: str
    strength: float

    @property
    def name(self) -> str:
        """For tables and as a key."""
        strength = "" if self.strength == FULL else f", strength {self.strength:g}"
        return f"{self.net.label}, per {self.statistics}{strength}"


def find_nets(styles: Sequence[str], painting: str | None = None) -> list[Net]:
    """Networks by name or file, each with its own painting.

    Args:
        styles: shipped styles or ONNX files.
        painting: an image for all of them, instead of their own ones.

    Raises:
        ValueError: if there is no such style, or the same network is named twice.
        FileNotFoundError: if a file does not exist.
    """
    paths = [find_model(style) for style in styles]
    stems = [path.name.removesuffix(".onnx") for path in paths]
    labels = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))}: named twice; give each network once")
    images: dict[Path, np.ndarray] = {}  # one array for nets of one painting: VGG sees it once
    nets = []
    for label, path in zip(labels, paths, strict=True):
        file = painting_of(path) if painting is None else Path(painting)
        if file is not None and file not in images:
            images[file] = read_image(file)
        nets.append(Net(label, path, file.name if file else None, images[file] if file else None))
    return nets


def painting_of(model: Path) -> Path | None:
    """The painting in `<data root>/styles` that a network was trained on.

    By the name on its card, else by its file's: `starry_night.small.onnx` paints `starry_night`.
    None, with a warning, where there is no such picture.
    """
    card = model.with_suffix(".json")
    known = read_card(card).get("name") if card.is_file() else None
    name = str(known or model.name.split(".")[0])
    try:
        return find_painting(name, Path(os.environ.get("FASTVID_DATA", "data")))
    except FileNotFoundError as error:
        log.warning("%s: no style_distance (%s)", model.name, error)
        return None


class Painters:
    """All contestants, ready to paint; a network that runs at several strengths paints once.

    Args:
        contestants: in any order.
        device: `auto`, `cpu` or `cuda`.
        engine: see `fastvid.runtime.loading.load`; `auto` may take another one in the next run.
    """

    def __init__(
        self, contestants: Sequence[Contestant], device: Device, engine: EngineName
    ) -> None:
        self._stylizers: dict[tuple[Path, str], OnnxStylizer] = {}
        self._contestants = list(contestants)
        for contestant in contestants:
            key = self._key(contestant)
            if key not in self._stylizers:
                self._stylizers[key] = load(contestant.net.path, device, engine)

    def adapt(self, clip: Clip) -> None:
        """Give those with the statistics of a shot the statistics of this clip."""
        if any(statistics == "shot" for _, statistics in self._stylizers):
            frames = clip.spread_frames(ADAPT_FRAMES)
            for (_, statistics), stylizer in self._stylizers.items():
                if statistics == "shot":
                    stylizer.adapt(frames)

    def paint(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The frame, uint8 (H, W, 3), by every contestant."""
        full = {key: stylizer(frame[None])[0] for key, stylizer in self._stylizers.items()}
        return {
            contestant.name: blend(frame, full[self._key(contestant)], contestant.strength)
            for contestant in self._contestants
        }

    def stylizer_of(self, contestant: Contestant) -> OnnxStylizer:
        """The network behind it, in its present state."""
        return self._stylizers[self._key(contestant)]

    @staticmethod
    def _key(contestant: Contestant) -> tuple[Path, str]:
        return contestant.net.path, contestant.statistics
