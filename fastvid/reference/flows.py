"""Motion between any two frames of a clip: estimated, or read from anybody's files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from fastvid.image import read_image
from fastvid.motion.consistency import certainty, read_pgm
from fastvid.motion.flow import estimate, read_flo
from fastvid.reference.footage import Footage, tensor_of
from fastvid.reference.settings import FlowSourceConfig

UNKNOWN_FLOW = 1e9
PLACEHOLDERS = re.compile(r"\[(%0?\d*d)\]|\{(%0?\d*d)\}")


@dataclass(frozen=True)
class Motion:
    """How one frame is seen from another.

    Attributes:
        flow: (1, 2, H, W) on the grid of the frame that looks, pointing to the other; dx, dy in
            pixels.
        certainty: (1, 1, H, W) in [0, 1], 1 = trust.
    """

    flow: Tensor
    certainty: Tensor


class FlowSource(Protocol):
    """Motion by positions in the clip, counted from 0. Used from one other thread."""

    def motion(self, current: int, other: int) -> Motion:
        """Frame `other` as seen from frame `current`."""

    def check(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Refuse what would fail later for these (current, other)."""


class EstimatedFlow:
    """DIS or RAFT on the frames, certainty from the opposite direction."""

    def __init__(
        self, footage: Footage, method: str, rule: str, data_root: Path, device: torch.device
    ) -> None:
        self.footage, self.method, self.rule = footage, method, rule
        self.data_root, self.device = data_root, device

    def motion(self, current: int, other: int) -> Motion:
        """Frame `other` as seen from frame `current`."""
        here = tensor_of(self.footage, current).to(self.device)
        there = tensor_of(self.footage, other).to(self.device)
        flow = estimate(there, here, self.method, self.data_root)
        back = estimate(here, there, self.method, self.data_root)
        return Motion(flow, certainty(flow, back, self.rule))

    def check(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Nothing can be wrong before a frame is looked at."""


class FlowFiles:
    """`.flo` files and certainty maps by the patterns of artistic-videos.

    Where there is no map, it is made from the flow of the opposite direction by `rule`.
    """

    def __init__(
        self, config: FlowSourceConfig, numbers: Sequence[int], size: tuple[int, int]
    ) -> None:
        """Check the patterns.

        Args:
            config: patterns.
            numbers: of the frames of the clip.
            size: (H, W) that every file must have.

        Raises:
            ValueError: a pattern lacks a placeholder.
        """
        self.config, self.numbers, self.size = config, numbers, size
        for name in ("backward", "forward", "certainty"):
            pattern = getattr(config, name)
            if {bool(m[1]) for m in PLACEHOLDERS.finditer(pattern)} != {True, False}:
                raise ValueError(
                    f"flow.{name}={pattern} needs [%d] for the frame on whose grid the flow lives "
                    "and {%d} for the frame it points to"
                )

    def motion(self, current: int, other: int) -> Motion:
        """Frame `other` as seen from frame `current`.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged or of another size than the frames.
        """
        flow = self._flow(current, other)
        # Renderers and Middlebury mark unknown motion by NaN or by more than 1e9.
        known = (flow.abs() < UNKNOWN_FLOW).all(1, keepdim=True)
        flow = torch.where(known, flow, 0.0)
        trust = self._certainty(flow, current, other)
        return Motion(flow, trust * known)

    def _certainty(self, flow: Tensor, current: int, other: int) -> Tensor:
        path = self._map_path(current, other)
        if path.is_file():
            levels = read_pgm(path) if path.suffix.lower() == ".pgm" else read_image(path)[..., 0]
            self._check_size(path, levels.shape[0], levels.shape[1])
            trust = torch.from_numpy(levels.copy())[None, None].float() / 255
            return 1 - trust if self.config.invert else trust
        return certainty(flow, self._flow(other, current), self.config.rule)

    def check(self, pairs: Iterable[tuple[int, int]]) -> None:
        """See that the files of these pairs exist and that the flows have the frames' size.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a flow has another size than the frames.
        """
        for current, other in pairs:
            self._check_flow(self._flow_path(current, other))
            path = self._map_path(current, other)
            reverse = self._flow_path(other, current)
            if path.suffix.lower() == ".pgm" and path.is_file():
                levels = read_pgm(path)
                self._check_size(path, levels.shape[0], levels.shape[1])
            elif not path.is_file() and not reverse.is_file():
                raise FileNotFoundError(
                    f"no certainty map {path}, and no flow {reverse} to make it from; "
                    "set flow.dir and flow.certainty"
                )

    def _flow(self, current: int, other: int) -> Tensor:
        path = self._flow_path(current, other)
        self._check_flow(path)
        return torch.from_numpy(read_flo(path)).permute(2, 0, 1)[None].contiguous()

    def _flow_path(self, current: int, other: int) -> Path:
        config = self.config
        return self._path(config.backward if other < current else config.forward, current, other)

    def _map_path(self, current: int, other: int) -> Path:
        return self._path(self.config.certainty, current, other)

    def _path(self, pattern: str, current: int, other: int) -> Path:
        grid, target = self.numbers[current], self.numbers[other]
        name = PLACEHOLDERS.sub(lambda m: m[1] % grid if m[1] else m[2] % target, pattern)
        return Path(self.config.dir) / name

    def _check_flow(self, path: Path) -> None:
        """Size by the header alone: cheap enough for all files before the first frame."""
        if not path.is_file():
            raise FileNotFoundError(f"no flow file {path}; set flow.dir and the flow patterns")
        with path.open("rb") as file:
            head = file.read(12)
        if len(head) < 12:
            raise ValueError(f"{path}: truncated .flo header ({len(head)} of 12 bytes)")
        width, height = struct.unpack("<4xii", head)
        self._check_size(path, height, width)

    def _check_size(self, path: Path, height: int, width: int) -> None:
        if (height, width) != self.size:
            raise ValueError(
                f"{path}: {width}x{height}, but the frames are {self.size[1]}x{self.size[0]}; "
                "make flow and maps at the size of the frames"
            )


class Lookahead:
    """Motion of the next frame, made in another thread while this one is optimised."""

    def __init__(self, source: FlowSource) -> None:
        self.source = source
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flow")
        self._waiting: dict[tuple[int, int], Future[Motion]] = {}

    def order(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Begin with these (current, other)."""
        for pair in pairs:
            if pair not in self._waiting:
                self._waiting[pair] = self._pool.submit(self.source.motion, *pair)

    def take(self, current: int, other: int) -> Motion:
        """One motion, waited for; errors of the source come up here."""
        self.order([(current, other)])
        return self._waiting.pop((current, other)).result()

    def close(self) -> None:
        """Drop what was not taken."""
        self._pool.shutdown(wait=True, cancel_futures=True)
