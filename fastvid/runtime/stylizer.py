"""One interface to a trained network, whatever runs it."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import numpy as np
import onnxruntime as ort

from fastvid.runtime.contract import MIN_SIDE_PX, check_contract, check_frames
from fastvid.runtime.engines import onnx_cpu
from fastvid.runtime.engines.choice import DEVICES, ENGINES, Device, EngineName, choose
from fastvid.runtime.engines.protocol import Engine, Paint
from fastvid.runtime.graph.reach import reach_px
from fastvid.runtime.graph.rewriting import rewrite
from fastvid.runtime.graph.statistics import Moments, add_statistics, fold_statistics
from fastvid.runtime.tiles import paint_tiles

__all__ = [
    "DEVICES",
    "ENGINES",
    "Device",
    "EngineName",
    "OnnxStylizer",
    "Stylizer",
]

log = logging.getLogger(__name__)

_TRIAL_SIZE = (180, 320)


class Stylizer(Protocol):
    """What the pipeline needs of a network, whatever runs it."""

    @property
    def name(self) -> str:
        """Of the style, `starry_night`."""

    @property
    def engine(self) -> str:
        """What really runs, for people: `ONNX Runtime 1.31.1 CPU`."""

    @property
    def device(self) -> str:
        """Where it really runs, `cpu` or `cuda`."""

    @property
    def chosen(self) -> EngineName:
        """What was chosen: on this `device`, the name that asks for just this engine."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint uint8 RGB frames (N, H, W, 3); same shape and type out."""

    def adapt(self, frames: np.ndarray | None) -> None:
        """Hold the normalisation at the statistics of these frames; None lets it go."""

    def at(self, seconds: float) -> None:
        """Set the moment of the film that the next frames belong to."""

    def lanes(self, size: tuple[int, int]) -> int:
        """How many frames of this (H, W) are best painted side by side, where they may wait."""

    def frozen(self, frame: np.ndarray, lanes: int) -> Paint:
        """What paints frames of this one's size as this stylizer would at this moment.

        Later calls of `adapt` and `at` change nothing of it, and `lanes` threads may call it at
        once.
        """

    def measure(self, frame: np.ndarray) -> Moments | None:
        """Statistics of one frame (H, W, 3); None where the network has no normalisation."""

    def held_at(self, moments: Moments, frame: np.ndarray) -> "Stylizer":
        """Another stylizer, held at statistics and ready for frames of this one's size."""


@dataclass(frozen=True)
class _Painting:
    """An engine and what it was made for: frames of (H, W), threads that call it at once."""

    size: tuple[int, int]
    lanes: int
    engine: Engine


class OnnxStylizer:
    """A network of the fastvid contract.

    For every size of frames that comes along, the file is rewritten into a faster graph of that
    size (`fastvid.runtime.graph`), which the engine then runs; the last size is kept.

    Attributes:
        name: of the style, `starry_night`.
        engine: what really runs, for people: `ONNX Runtime 1.31.1 CPU`.
        device: `cpu` or `cuda`, what really runs.
        chosen: the engine by the name that asks for it.
        metadata: title, artist, net, licence and the rest of what the file says about itself.
    """

    def __init__(
        self,
        model: bytes,
        name: str,
        device: Device = "auto",
        engine: EngineName = "auto",
        tile_px: int | None = None,
    ) -> None:
        """Check the file, choose the engine and paint one small frame with it.

        Args:
            model: the ONNX file's bytes.
            name: of the style.
            device: `auto` falls back to the CPU and says why; `cuda` fails instead.
            engine: `auto` is the fastest that works, or one of `ENGINES`. int8 paints what
                statistics are held for, see `adapt`; all else is painted in float32.
            tile_px: side of the tiles that larger pictures are painted in, which takes less memory
                and more time; None paints them whole. The pixels are equal.

        Raises:
            ValueError: if the bytes are no network of the contract, or the names contradict.
            RuntimeError: if the device or engine that is asked for would not run the network.
        """
        self.name = name
        self.metadata: Mapping[str, str] = check_contract(model, name)
        if tile_px is not None and tile_px < MIN_SIDE_PX:
            raise ValueError(f"tile is {tile_px} pixels, expected at least {MIN_SIDE_PX}")
        self._tile_px = tile_px
        self._model = self._held = model
        self._measuring: tuple[tuple[int, int], ort.InferenceSession] | None = None
        self._painting: _Painting | None = None
        self._statistics = add_statistics(model)
        self._reach: tuple[int, int] | None = None
        self._is_held = False
        self._keys: np.ndarray | None = None
        probe = _waves(_TRIAL_SIZE)
        trial = cache(partial(rewrite, self._fold(probe)))
        self._choice, first = choose(trial, probe, device, engine, whole_frames=tile_px is None)
        self.engine, self.device, self.chosen = first.name, first.device, self._choice.name

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint frames.

        Args:
            frames: uint8 RGB (N, H, W, 3), H and W at least 16.

        Raises:
            ValueError: if the frames have another type or shape, or are too small.
            RuntimeError: if the engine fails, out of memory for example.
        """
        check_frames(frames)
        if len(frames) == 0:
            return frames.copy()
        if self._tile_px is not None and self._tile_px < max(frames.shape[1:3]):
            return np.stack([self._paint_tiled(frame, self._tile_px) for frame in frames])
        return self._paint(np.ascontiguousarray(frames))

    def _paint_tiled(self, frame: np.ndarray, tile_px: int) -> np.ndarray:
        if self._held is self._model and self._statistics is not None:
            # A tile must not be normalised by itself: hold the frame's statistics meanwhile.
            self.adapt(frame[None])
            try:
                return self._paint_tiled(frame, tile_px)
            finally:
                self.adapt(None)
        if self._reach is None:
            self._reach = reach_px(self._held)
        return paint_tiles(self._paint, frame, tile_px, *self._reach)

    def _paint(self, frames: np.ndarray) -> np.ndarray:
        engine = self._engine_for(frames)
        if len(frames) == 1 or engine.device != "cpu":
            return engine(frames)
        # A CPU gains nothing from batches, and needs the memory of one frame only.
        return np.concatenate([engine(frame[None]) for frame in frames])

    def lanes(self, size: tuple[int, int]) -> int:
        """See `Stylizer`; 1 on a card, and for tiles, which are for little memory."""
        if self.device != "cpu" or self._tile_px is not None:
            return 1
        return onnx_cpu.lanes_for(size)

    def frozen(self, frame: np.ndarray, lanes: int) -> Paint:
        """See `Stylizer`; RuntimeError as for a call.

        Args:
            frame: uint8 RGB (H, W, 3), the next one that will be painted.
            lanes: threads that will call it at once, at most those of `lanes`.
        """
        check_frames(frame[None])
        return self._engine_for(np.ascontiguousarray(frame[None]), lanes)

    def adapt(self, frames: np.ndarray | None) -> None:
        """Fold the statistics of these frames into the network, until the next `adapt`.

        Every frame is then painted by one fixed function: equal input gives equal output, and no
        part of a picture changes another through the normalisation. Adapted on one frame, the
        network paints that frame as it did before.

        Args:
            frames: uint8 RGB (N, H, W, 3), a few frames of the shot; they pass one at a time.
                None goes back to every frame's own statistics.
        """
        if frames is None:
            held = self._model
        else:
            check_frames(frames)
            if len(frames) == 0:
                raise ValueError("adapt: expected at least one frame, got none")
            held = self._fold(frames)
        is_new = (held, frames is not None) != (self._held, self._is_held)
        if is_new or self.chosen == "int8":
            self._hold(held, frames)

    def at(self, seconds: float) -> None:
        """Nothing: one style is the same at every moment."""

    def become(
        self,
        model: bytes,
        measured: Sequence[Moments] | None = None,
        keys: np.ndarray | None = None,
    ) -> None:
        """Paint with other weights from now on.

        Args:
            model: ONNX file of the same graph.
            measured: statistics of frames, from `measure`, to hold it at; None for every frame's.
            keys: those frames, where it is to be held for a whole shot; None for a frame or two.
        """
        self._model, self._statistics, self._measuring = model, add_statistics(model), None
        held = fold_statistics(model, measured) if measured else model
        self._hold(held, keys)

    def _hold(self, held: bytes, keys: np.ndarray | None) -> None:
        """Paint with this network, held for a shot of which these are frames, if any are given."""
        self._held, self._is_held, self._painting = held, keys is not None, None
        self._keys = keys if self.chosen == "int8" else None  # whose ranges are those of a shot

    def _fold(self, frames: np.ndarray) -> bytes:
        """The network held at these frames' statistics; itself where it has no norm."""
        measured = [moments for frame in frames if (moments := self.measure(frame)) is not None]
        if not measured:
            log.debug("%s has no instance norm: it is a fixed function already", self.name)
            return self._model
        return fold_statistics(self._model, measured)

    def held_at(self, moments: Moments, frame: np.ndarray) -> "OnnxStylizer":
        """Another stylizer, held at these statistics; this one stays as it is.

        May be called in another thread than the one that paints.

        Args:
            moments: from `measure`.
            frame: uint8 RGB (H, W, 3); the engine is made for its size and has painted it once.
        """
        other = copy.copy(self)
        other._held, other._painting = fold_statistics(self._model, [moments]), None
        other._is_held = True
        other(frame[None])
        return other

    def measure(self, frame: np.ndarray) -> Moments | None:
        """What goes into each instance norm at one frame: its mean and variance, by names.

        May be called in another thread than the one that paints.

        Args:
            frame: uint8 RGB (H, W, 3).

        Returns:
            What `held_at` takes; None where the network has no norm.
        """
        if self._statistics is None:
            return None
        size = frame.shape[:2]
        if self._measuring is None or self._measuring[0] != size:
            measuring = rewrite(self._statistics, size)
            self._measuring = size, onnx_cpu.open_session(measuring, lean=True)
        _, session = self._measuring
        options = ort.RunOptions()
        # What a large frame takes is given back, the painting needs it next.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"frames": np.ascontiguousarray(frame[None])}, options)
        return dict(zip(names, values, strict=True))

    def graph(self, size: tuple[int, int]) -> bytes:
        """What an engine is given for frames of (H, W): ONNX, held as this stylizer is."""
        return rewrite(self._held, size)

    def _engine_for(self, frames: np.ndarray, lanes: int = 1) -> Engine:
        size = frames.shape[1:3]
        now = self._painting
        if now is None or (now.size, now.lanes) != (size, lanes):
            self._painting = None  # first free, then build: two would need the memory of two
            keys, self._keys = self._keys, None
            probe = keys if keys is not None and keys.shape[1:3] == size else frames[:1]
            make = self._choice.held if self._is_held else self._choice.passing
            now = self._painting = _Painting(size, lanes, make(cache(self.graph), probe, lanes))
            self.engine = now.engine.name
        return now.engine


def _waves(size: tuple[int, int]) -> np.ndarray:
    """A colourful frame (1, H, W, 3) to try an engine on; smooth in parts, as films are."""
    y, x = np.mgrid[: size[0], : size[1]] / size[1]
    channels = [np.sin(2 * np.pi * (a * x + b * x * y)) for a, b in ((3, 9), (5, 20), (2, 40))]
    return (127.5 + 127.5 * np.stack(channels, axis=2)[None]).astype(np.uint8)
