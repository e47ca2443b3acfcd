import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fastvid.motion.flow import ESTIMATORS, RAFT_WEIGHTS, estimate, read_flo, write_flo
from fastvid.motion.warp import warp

ASSETS = Path(os.environ.get("FASTVID_DATA", Path(__file__).parents[2] / "shared" / "assets"))
SINTEL = ASSETS / "flow" / "sintel_alley_1"


def texture(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Smooth noise, the kind of picture that optical flow can follow."""
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    for _ in range(3):
        noise = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    return (0.5 + 0.2 * noise / noise.std()).clamp(0, 1)


def shifted_pair(dx: int, dy: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of a picture that moves right by dx and down by dy."""
    picture = texture((136, 200))
    prev = picture[..., 20:-20, 20:-20]
    return prev, picture[..., 20 - dy : 116 - dy, 20 - dx : 180 - dx]


def end_point_error(flow: torch.Tensor, expected: torch.Tensor) -> float:
    return float((flow - expected).norm(dim=1).mean())


def test_dis_finds_a_known_shift_and_its_direction() -> None:
    prev, cur = shifted_pair(5, -3)
    flow = estimate(prev, cur, "dis")
    assert flow.shape == (1, 2, 96, 160)
    assert flow.dtype == torch.float32
    # The picture moved right and up, so the way back points left and down.
    expected = torch.tensor([-5.0, 3.0]).view(1, 2, 1, 1)
    assert end_point_error(flow[..., 12:-12, 12:-12], expected) < 0.15


def test_warping_along_the_estimate_gives_the_current_frame() -> None:
    prev, cur = shifted_pair(4, 2)
    error = (warp(prev, estimate(prev, cur)) - cur).abs()[..., 12:-12, 12:-12].mean()
    assert error < 0.1 * (prev - cur).abs().mean()


def test_flipping_a_pair_flips_dx() -> None:
    prev, cur = shifted_pair(6, 1)
    flow = estimate(prev, cur)
    mirrored = estimate(prev.flip(-1), cur.flip(-1)).flip(-1)
    mirrored = mirrored * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    assert end_point_error(flow[..., 12:-12, 12:-12], mirrored[..., 12:-12, 12:-12]) < 0.1


def test_a_batch_equals_its_items() -> None:
    pairs = [shifted_pair(3, 0), shifted_pair(-2, 4)]
    prev, cur = (torch.cat(frames) for frames in zip(*pairs, strict=True))
    together = estimate(prev, cur)
    for index, (one_prev, one_cur) in enumerate(pairs):
        assert torch.equal(together[index : index + 1], estimate(one_prev, one_cur))


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (16, 16), (33, 50)])
def test_dis_takes_any_size(size: tuple[int, int]) -> None:
    frames = texture(size)
    flow = estimate(frames, frames)
    assert flow.shape == (1, 2, *size)
    assert flow.abs().max() < 0.5


def test_raft_takes_odd_sizes_and_returns_float32(tmp_path: Path) -> None:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    (tmp_path / RAFT_WEIGHTS).parent.mkdir()
    save_file(raft_small(weights=None).state_dict(), tmp_path / RAFT_WEIGHTS)
    frames = texture((45, 131))
    with torch.autocast("cpu", torch.bfloat16):
        flow = estimate(frames, frames, "raft", data_root=tmp_path)
    assert flow.shape == (1, 2, 45, 131)
    assert flow.dtype == torch.float32
    assert flow.isfinite().all()


def test_missing_raft_weights_are_named_with_the_remedy(tmp_path: Path) -> None:
    frames = torch.rand(1, 3, 16, 16)
    with pytest.raises(FileNotFoundError, match=r"FASTVID_DATA.*'dis'"):
        estimate(frames, frames, "raft", data_root=tmp_path)


def test_wrong_frames_and_methods_are_refused() -> None:
    frames = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match=f"not one of {', '.join(sorted(ESTIMATORS))}"):
        estimate(frames, frames, "deepflow")
    with pytest.raises(ValueError, match=r"found \(1, 3, 16, 16\) and \(1, 3, 16, 18\)"):
        estimate(frames, torch.rand(1, 3, 16, 18))


@pytest.mark.weights
@pytest.mark.parametrize(("method", "published"), [("dis", 0.298), ("raft", 0.242)])
def test_end_point_error_on_sintel(method: str, published: float) -> None:
    if not SINTEL.is_dir():
        pytest.skip("the Sintel pair is not here; set FASTVID_DATA")
    from fastvid.image import read_image, to_tensor

    first, second = (to_tensor(read_image(SINTEL / f"frame_000{n}.png")) for n in (1, 2))
    truth = torch.from_numpy(read_flo(SINTEL / "flow_0001.flo")).permute(2, 0, 1)[None]
    # The file holds the motion from the first frame to the second, on the first one's grid.
    flow = estimate(prev=second, cur=first, method=method, data_root=ASSETS)
    assert end_point_error(flow, truth) == pytest.approx(published, abs=0.005)


def test_flo_files_come_back_bit_for_bit(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(0, 9, (5, 7, 2)).astype(np.float32)
    write_flo(tmp_path / "a b.flo", flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "a b.flo"), flow)
    assert [file.name for file in tmp_path.iterdir()] == ["a b.flo"]


def test_flo_layout_is_middleburys(tmp_path: Path) -> None:
    flow = np.zeros((2, 3, 2), np.float32)
    flow[0, 1] = (4.0, -5.0)
    write_flo(tmp_path / "x.flo", flow)
    data = (tmp_path / "x.flo").read_bytes()
    assert struct.unpack("<f", data[:4]) == (202021.25,)
    assert struct.unpack("<ii", data[4:12]) == (3, 2)  # width first
    assert struct.unpack("<12f", data[12:])[2:4] == (4.0, -5.0)


def test_damaged_flo_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.flo"
    write_flo(path, np.zeros((4, 4, 2), np.float32))
    good = path.read_bytes()
    for damage, message in (
        (b"", "not a little-endian .flo"),
        (b"hello world, a text", "not a little-endian .flo"),
        (struct.pack(">fii", 202021.25, 4, 4) + good[12:], "a big-endian tag"),
        (good[:9], "truncated .flo header"),
        (good[:-1], "truncated .flo file, 4x4 needs 140 bytes, found 139"),
        (good + b"\0", "overlong .flo file"),
        (good[:4] + struct.pack("<ii", -4, 4) + good[12:], "impossible .flo size -4x4"),
        (good[:4] + struct.pack("<ii", 1 << 30, 4) + good[12:], "impossible .flo size"),
    ):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=message):
            read_flo(path)
    with pytest.raises(FileNotFoundError):
        read_flo(tmp_path / "none.flo")


def test_a_refused_flow_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.flo"
    write_flo(path, np.ones((2, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"expected a flow \(H, W, 2\), found \(2, 4, 4\)"):
        write_flo(path, np.zeros((2, 4, 4), np.float32))
    np.testing.assert_array_equal(read_flo(path), np.ones((2, 2, 2), np.float32))


def test_flow_without_opencvs_libraries_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # what a slim container does to the import
    frame = torch.rand(1, 3, 32, 32)
    with pytest.raises(RuntimeError, match=r"libgl1.*opencv-python-headless"):
        estimate(frame, frame, "dis")
