"""Frame pairs of real clips with flow and certainty: computed once, kept on disk.

One folder per clip below the cache root, named by the clip's content and by every setting that
changes the numbers, so a cache is never stale and several runs may share it:

    frames.npy     uint8 (F, H, W, 3)   the frames that pairs refer to
    pairs.npy      int32 (P, 3)         index of prev, index of cur, gap in frames
    flow.npy       float16 (P, 2, H, W) flow_bwd: on cur's grid, pointing to prev, pixels
    certainty.npy  uint8 (P, H, W)      255 = trust

They are memory-mapped: a crop reads only its own rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fastvid.image import to_tensor
from fastvid.motion.consistency import certainty
from fastvid.motion.cuts import CutFinder
from fastvid.motion.flow import estimate
from fastvid.video import MediaError, VideoReader, probe

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".gif")
_FORMAT = 1  # part of the cache key; raise it when the numbers change


@dataclass(frozen=True)
class PairSettings:
    """What decides the content of the cache.

    Attributes:
        height_px: short side of the frames; clips are scaled down to it, never up.
        gaps: distances in frames between prev and cur.
        anchor_every: one frame in so many is cur in one pair per gap.
        max_anchors: of a long film, at most so many, evenly spread.
        method: flow estimator, see `fastvid.motion.flow.estimate`.
        rule: certainty rule, see `fastvid.motion.consistency.certainty`.
    """

    height_px: int = 360
    gaps: tuple[int, ...] = (1, 2, 4, 8)
    anchor_every: int = 32
    max_anchors: int = 100
    method: str = "dis"
    rule: str = "ruder2016"


@dataclass(frozen=True)
class ClipPairs:
    """The cached pairs of one clip, memory-mapped; shapes in the module's docstring."""

    name: str
    frames: np.ndarray
    pairs: np.ndarray
    flow: np.ndarray
    certainty: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)


def has_clips(folder: Path) -> bool:
    """Whether there is any video file in a folder that may not exist."""
    return folder.is_dir() and any(p.suffix.lower() in VIDEO_SUFFIXES for p in folder.iterdir())


def list_clips(folder: Path, holdout: Sequence[str] = ()) -> list[Path]:
    """Video files of a folder by name, without those whose stem is in `holdout`.

    Raises:
        FileNotFoundError: if there is no such folder, or no clip in it.
        ValueError: if a held-out clip does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}; put clips there, set data.root or FASTVID_DATA, "
            "or train without files: data=synthetic"
        )
    clips = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    clips = [p for p in clips if p.stem not in holdout]
    if not clips:
        raise FileNotFoundError(f"no clips in {folder} ({', '.join(VIDEO_SUFFIXES)})")
    return clips


def load_pairs(clips: Iterable[Path], settings: PairSettings, cache: Path) -> list[ClipPairs]:
    """Pairs of every clip, from the cache or made now; unreadable clips are named and skipped.

    Raises:
        RuntimeError: if no clip gave a single pair.
    """
    result = []
    for clip in tqdm(list(clips), desc="flow", unit="clip", leave=False):
        try:
            pairs = clip_pairs(clip, settings, cache)
        except (MediaError, OSError) as error:
            log.warning("skipping %s: %s", clip.name, error)
            continue
        if len(pairs):
            result.append(pairs)
        else:
            log.warning("skipping %s: too short for a pair of frames in one shot", clip.name)
    if not result:
        raise RuntimeError("none of the clips gave a pair of frames; see the warnings above")
    return result


def clip_pairs(clip: Path, settings: PairSettings, cache: Path) -> ClipPairs:
    """Pairs of one clip, from the cache or made now."""
    folder = cache / f"{clip.stem}-{_digest(clip, settings)}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=cache, prefix=".draft-"))
        try:
            for name, array in compute_pairs(clip, settings).items():
                np.save(draft / f"{name}.npy", array)
            os.replace(draft, folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster; its numbers are the same
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r")
        for name in ("frames", "pairs", "flow", "certainty")
    }
    return ClipPairs(clip.stem, **arrays)


def compute_pairs(clip: Path, settings: PairSettings) -> dict[str, np.ndarray]:
    """The arrays of the cache for one clip."""
    wanted, shots = plan_pairs(clip, settings)
    needed = sorted({index for pair in wanted for index in pair})
    position = {index: k for k, index in enumerate(needed)}
    frames = [image for index, image in _read(clip, settings.height_px) if index in position]
    flows, certainties, pairs = [], [], []
    for prev, cur in wanted:
        prev_frame, cur_frame = (to_tensor(frames[position[i]]) for i in (prev, cur))
        flow_bwd = estimate(prev_frame, cur_frame, settings.method)
        flow_fwd = estimate(cur_frame, prev_frame, settings.method)
        trust = certainty(flow_bwd, flow_fwd, settings.rule)
        flows.append(flow_bwd[0].half().numpy())
        certainties.append((trust[0, 0] * 255).round().to(torch.uint8).numpy())
        pairs.append((position[prev], position[cur], cur - prev))
    h, w = frames[0].shape[:2] if frames else (0, 0)
    log.debug("%s: %d pairs in %d shots", clip.name, len(pairs), shots)
    return {
        "frames": np.array(frames, np.uint8).reshape(-1, h, w, 3),
        "pairs": np.array(pairs, np.int32).reshape(-1, 3),
        "flow": np.array(flows, np.float16).reshape(-1, 2, h, w),
        "certainty": np.array(certainties, np.uint8).reshape(-1, h, w),
    }


def plan_pairs(clip: Path, settings: PairSettings) -> tuple[list[tuple[int, int]], int]:
    """Indices (prev, cur) of the pairs of a clip, none across a cut, and the number of shots."""
    find_cut = CutFinder()
    starts = [0]  # first frame of each frame's shot
    for index, image in _read(clip, settings.height_px):
        cut = find_cut(image)
        if index:
            starts.append(index if cut else starts[-1])
    count = min(-(-len(starts) // settings.anchor_every), settings.max_anchors)
    anchors = np.linspace(0, len(starts) - 1, count + 1).round().astype(int)[1:]
    wanted = [
        (int(cur) - gap, int(cur))
        for cur in anchors
        for gap in settings.gaps
        if cur - gap >= starts[cur]
    ]
    return wanted, len(set(starts))


def _read(clip: Path, short_side_px: int) -> Iterator[tuple[int, np.ndarray]]:
    """Frames by number, the short side scaled down to at most `short_side_px`."""
    h, w = probe(clip).size
    height_px = round(h * min(1.0, short_side_px / min(h, w)))
    with VideoReader(clip, height_px=height_px) as reader:
        for index, frame in enumerate(reader):
            yield index, frame.image


def _digest(clip: Path, settings: PairSettings) -> str:
    """Of the settings, the clip's size and its first megabytes (films can be large)."""
    with clip.open("rb") as file:
        head = file.read(2**22)
    key = json.dumps([asdict(settings), clip.stat().st_size, _FORMAT], sort_keys=True)
    return hashlib.sha256(key.encode() + head).hexdigest()[:16]
