"""Optical flow: estimators by name, and Middlebury .flo files."""

import os
import struct
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastvid.image import load_cv2

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLO_TAG = b"PIEH"  # float 202021.25, little endian
MAX_SIDE_PX = 1 << 16  # a header beyond this is damage, not a film

RAFT_WEIGHTS = Path("weights") / "raft_small_torchvision.safetensors"
RAFT_MIN_SIDE_PX = 128  # four levels of correlation pyramid over features of 1/8 size
RAFT_UPDATES = 12
DIS_MIN_SIDE_PX = 32  # DIS takes patches of 8 px at half resolution and coarser


class FlowEstimator(Protocol):
    """Motion between two frames; see `estimate` for shapes and directions."""

    def __call__(self, prev: Tensor, cur: Tensor, data_root: Path | None) -> Tensor:
        """flow_bwd of a checked pair."""


def estimate(
    prev: Tensor, cur: Tensor, method: str = "dis", data_root: str | Path | None = None
) -> Tensor:
    """Backward flow: on the current frame's grid, pointing to the previous frame.

    `warp(prev, estimate(prev, cur))` resembles `cur`. Swap the arguments for the forward flow.

    Args:
        prev: frame t-1, (B, 3, H, W) RGB in [0, 1].
        cur: frame t, same shape and device.
        method: `"dis"` (OpenCV, preset medium, on the CPU) or `"raft"` (torchvision's RAFT-small,
            12 updates, where the tensors are).
        data_root: folder that holds `weights/`; by default the environment variable FASTVID_DATA,
            else `data`. Only RAFT needs it.

    Returns:
        (B, 2, H, W) float32 on the device of `cur`: dx (right +), dy (down +), in pixels.

    Raises:
        ValueError: if the method is unknown or the frames do not fit together.
        FileNotFoundError: if the weights of RAFT are missing.
    """
    if method not in ESTIMATORS:
        raise ValueError(f"flow: method {method!r} is not one of {', '.join(sorted(ESTIMATORS))}")
    if prev.shape != cur.shape or cur.ndim != 4 or cur.shape[1] != 3:
        raise ValueError(
            "flow: expected two frames (B, 3, H, W) of one shape, "
            f"found {tuple(prev.shape)} and {tuple(cur.shape)}"
        )
    with torch.no_grad():
        return ESTIMATORS[method](prev, cur, Path(data_root) if data_root else None)


def _estimate_dis(prev: Tensor, cur: Tensor, data_root: Path | None) -> Tensor:
    """DIS, preset medium (Kroeger et al. 2016), on 8-bit luma; 18 ms at 640x360 on one core."""
    cv2 = load_cv2()
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = cur.shape[-2:]

    def gray(frames: Tensor) -> "NDArray[np.uint8]":
        frames, _ = _pad_sides(frames.float().cpu(), multiple=1, least=DIS_MIN_SIDE_PX)
        levels = (frames.clamp(0, 1) * 255).round().to(torch.uint8)
        rgb = levels.permute(0, 2, 3, 1).contiguous().numpy()
        return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in rgb])

    flows = [
        dis.calc(cur_gray, prev_gray, None)
        for prev_gray, cur_gray in zip(gray(prev), gray(cur), strict=True)
    ]
    _, (left, top) = _pad_sides(cur[:, :1], multiple=1, least=DIS_MIN_SIDE_PX)
    flow = torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2)
    return flow[..., top : top + height, left : left + width].contiguous().to(cur.device)


def _estimate_raft(prev: Tensor, cur: Tensor, data_root: Path | None) -> Tensor:
    """RAFT-small (Teed and Deng 2020), last of 12 updates."""
    root = data_root or Path(os.environ.get("FASTVID_DATA", "data"))
    model = _load_raft(root / RAFT_WEIGHTS, cur.device)
    height, width = cur.shape[-2:]
    with torch.autocast(cur.device.type, enabled=False):
        target, (left, top) = _pad_sides(prev.float(), multiple=8, least=RAFT_MIN_SIDE_PX)
        source, _ = _pad_sides(cur.float(), multiple=8, least=RAFT_MIN_SIDE_PX)
        # The network was trained on [-1, 1]; fed [0, 1] it returns plausible but worse flow.
        flow = model(source * 2 - 1, target * 2 - 1, num_flow_updates=RAFT_UPDATES)[-1]
    return flow[..., top : top + height, left : left + width].contiguous()


ESTIMATORS: dict[str, FlowEstimator] = {"dis": _estimate_dis, "raft": _estimate_raft}


def _pad_sides(frames: Tensor, multiple: int, least: int) -> tuple[Tensor, tuple[int, int]]:
    """Frames padded evenly by replication to sides that fit, and the (left, top) margin."""
    height, width = frames.shape[-2:]
    missing_y = max(-(-height // multiple) * multiple, least) - height
    missing_x = max(-(-width // multiple) * multiple, least) - width
    left, top = missing_x // 2, missing_y // 2
    sides = (left, missing_x - left, top, missing_y - top)
    return (F.pad(frames, sides, mode="replicate") if any(sides) else frames), (left, top)


@lru_cache(maxsize=2)
def _load_raft(path: Path, device: torch.device) -> Callable[..., Any]:
    from safetensors.torch import load_file
    from torchvision.models.optical_flow import raft_small

    if not path.is_file():
        raise FileNotFoundError(
            f"flow: RAFT weights not found at {path}; set FASTVID_DATA or data.root to the folder "
            "that holds weights/, or use method 'dis'"
        )
    model = raft_small(weights=None)
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False).to(device)


def read_flo(path: str | Path) -> "NDArray[np.float32]":
    """Flow of a Middlebury .flo file, (H, W, 2) float32: dx, dy in pixels.

    Layout: the bytes `PIEH` (float 202021.25), int32 width, int32 height, then row by row
    interleaved float32 (dx, dy), all little endian.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the tag, the sizes or the length of the file are wrong.
    """
    data = Path(path).read_bytes()
    if data[:4] != FLO_TAG:
        found = "a big-endian tag" if data[:4] == FLO_TAG[::-1] else repr(data[:4])
        raise ValueError(
            f"{path}: not a little-endian .flo file (expected {FLO_TAG!r}, found {found})"
        )
    if len(data) < 12:
        raise ValueError(f"{path}: truncated .flo header ({len(data)} of 12 bytes)")
    width, height = struct.unpack("<ii", data[4:12])
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise ValueError(f"{path}: impossible .flo size {width}x{height}; the file is damaged")
    expected = 12 + 8 * width * height
    if len(data) != expected:
        kind = "truncated" if len(data) < expected else "overlong"
        raise ValueError(
            f"{path}: {kind} .flo file, {width}x{height} needs {expected} bytes, found {len(data)}"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    return flow.astype(np.float32)  # a copy: the buffer is read-only


def write_flo(path: str | Path, flow: "NDArray[Any]") -> None:
    """Writes (H, W, 2) flow (dx, dy in pixels) as a Middlebury .flo file.

    The file appears under its name only when complete.

    Raises:
        ValueError: if the shape is not (H, W, 2).
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.size == 0:
        raise ValueError(f"{path}: expected a flow (H, W, 2), found {flow.shape}")
    height, width = flow.shape[:2]
    header = FLO_TAG + struct.pack("<ii", width, height)
    write_whole(Path(path), header + np.ascontiguousarray(flow, "<f4").tobytes())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name beside its own, then renames it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files private
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
