from pathlib import Path

import numpy as np
import pytest
import torch

from fastvid.image import write_image
from fastvid.motion.consistency import certainty, write_pgm
from fastvid.motion.flow import write_flo
from fastvid.reference.flows import EstimatedFlow, FlowFiles, Lookahead, Motion
from fastvid.reference.footage import Film, Stills, open_footage
from fastvid.reference.long_term import closest_first, earlier_frames, normalize
from fastvid.reference.settings import FlowSourceConfig
from fastvid.video import MediaError, VideoReader, VideoWriter

SIZE = (20, 24)


def shift_flow(dx: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    flow = np.zeros((*size, 2), np.float32)
    flow[..., 0] = dx
    return flow


def write_frames(folder: Path, numbers: range, size: tuple[int, int] = SIZE) -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (size[0], size[1] + 20, 3), dtype=np.uint8)
    for k, number in enumerate(numbers):
        write_image(folder / f"f_{number:02d}.ppm", texture[:, k : k + size[1]])


def files(folder: Path, **changes: object) -> FlowFiles:
    config = FlowSourceConfig(method="files", dir=str(folder), **changes)  # type: ignore[arg-type]
    return FlowFiles(config, (7, 8, 9), SIZE)


def test_brackets_name_the_grid_and_braces_the_frame_pointed_to(tmp_path: Path) -> None:
    write_flo(tmp_path / "backward_8_7.flo", shift_flow(1))
    write_flo(tmp_path / "forward_8_9.flo", shift_flow(-2))
    for other in (7, 9):
        write_pgm(tmp_path / f"reliable_8_{other}.pgm", np.full(SIZE, 51, np.uint8))
    source = files(tmp_path)
    back, forth = source.motion(1, 0), source.motion(1, 2)
    assert back.flow[0, 0, 0, 0] == 1
    assert forth.flow[0, 0, 0, 0] == -2
    torch.testing.assert_close(back.certainty, torch.full((1, 1, *SIZE), 0.2))


def test_patterns_pad_numbers_and_maps_may_be_inverted(tmp_path: Path) -> None:
    write_flo(tmp_path / "to0007from_8.flo", shift_flow(1))
    write_image(tmp_path / "occluded8-7.png", np.full((*SIZE, 3), 255, np.uint8))
    source = files(
        tmp_path,
        backward="to{%04d}from_[%d].flo",
        certainty="occluded[%d]-{%d}.png",
        invert=True,
    )
    source.check([(1, 0)])
    assert not source.motion(1, 0).certainty.any()


def test_missing_map_is_made_from_both_directions(tmp_path: Path) -> None:
    write_flo(tmp_path / "backward_8_7.flo", shift_flow(1))
    write_flo(tmp_path / "forward_7_8.flo", shift_flow(-1))
    source = files(tmp_path)
    source.check([(1, 0), (0, 1)])
    there, back = (torch.from_numpy(shift_flow(dx)).permute(2, 0, 1)[None] for dx in (1, -1))
    torch.testing.assert_close(source.motion(1, 0).certainty, certainty(there, back))


def test_unknown_motion_is_not_trusted(tmp_path: Path) -> None:
    flow = shift_flow(1)
    flow[3, 4] = np.nan
    flow[5, 6] = 1e10
    write_flo(tmp_path / "backward_8_7.flo", flow)
    write_pgm(tmp_path / "reliable_8_7.pgm", np.full(SIZE, 255, np.uint8))
    motion = files(tmp_path).motion(1, 0)
    assert motion.flow.isfinite().all()
    assert float(motion.certainty.sum()) == SIZE[0] * SIZE[1] - 2
    assert not motion.certainty[0, 0, 3, 4]
    assert not motion.certainty[0, 0, 5, 6]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"backward_8_7\.flo"):
        files(tmp_path).check([(1, 0)])
    write_flo(tmp_path / "backward_8_7.flo", shift_flow(1))
    with pytest.raises(FileNotFoundError, match=r"reliable_8_7\.pgm.*forward_7_8\.flo"):
        files(tmp_path).check([(1, 0)])


def test_wrong_size_of_flow_names_the_file_and_both_sizes(tmp_path: Path) -> None:
    write_flo(tmp_path / "backward_8_7.flo", shift_flow(1, (10, 12)))
    with pytest.raises(ValueError, match=r"backward_8_7\.flo: 12x10, but the frames are 24x20"):
        files(tmp_path).check([(1, 0)])


def test_wrong_size_of_map_names_the_file_and_both_sizes(tmp_path: Path) -> None:
    write_flo(tmp_path / "backward_8_7.flo", shift_flow(1))
    write_pgm(tmp_path / "reliable_8_7.pgm", np.zeros((10, 12), np.uint8))
    with pytest.raises(ValueError, match=r"reliable_8_7\.pgm: 12x10, but the frames are 24x20"):
        files(tmp_path).check([(1, 0)])


def test_pattern_without_placeholder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"flow\.backward=b_%d\.flo needs \[%d\]"):
        files(tmp_path, backward="b_%d.flo")


def test_estimated_flow_is_that_of_the_frames(tmp_path: Path) -> None:
    size = (64, 80)
    write_frames(tmp_path, range(1, 3), size)
    footage = Stills(tmp_path / "f_%02d.ppm")
    source = EstimatedFlow(footage, "dis", "ruder2016", tmp_path, torch.device("cpu"))
    motion = source.motion(1, 0)
    assert motion.flow.shape == (1, 2, *size)
    assert float(motion.flow[0, 0].median()) == pytest.approx(1, abs=0.3)
    assert motion.certainty.shape == (1, 1, *size)


def test_lookahead_hands_over_what_was_ordered_and_its_errors(tmp_path: Path) -> None:
    class Source:
        def motion(self, current: int, other: int) -> Motion:
            calls.append((current, other))
            if current == 9:
                raise ValueError("broken file")
            return Motion(torch.full((1, 2, 1, 1), float(current)), torch.ones(1, 1, 1, 1))

        def check(self, pairs: object) -> None:
            """Nothing to check."""

    calls: list[tuple[int, int]] = []
    flows = Lookahead(Source())
    flows.order([(1, 0), (9, 8)])
    assert flows.take(1, 0).flow.max() == 1
    with pytest.raises(ValueError, match="broken file"):
        flows.take(9, 8)
    flows.close()
    assert calls == [(1, 0), (9, 8)]


def test_earlier_frames_are_closest_first_and_exist() -> None:
    assert earlier_frames(0, [1, 2]) == []
    assert earlier_frames(3, [1, 2, 4]) == [2, 1]
    assert earlier_frames(9, [1], every=4) == [8, 5, 1]
    assert earlier_frames(8, [1], every=4) == [7, 4, 0]


def test_closest_first_in_both_forms_by_hand() -> None:
    maps = [torch.full((1, 1, 1, 1), value) for value in (0.5, 0.75, 0.875)]
    paper = [float(c) for c in closest_first(maps)]
    program = [float(c) for c in closest_first(maps, reduced=True)]
    assert paper == [0.5, 0.25, 0.0]  # 0.875 - 0.5 - 0.75 < 0
    assert program == [0.5, 0.25, 0.125]  # 0.875 - 0.5 - 0.25


def test_both_forms_agree_on_binary_maps() -> None:
    generator = torch.Generator().manual_seed(2)
    maps = [(torch.rand(1, 1, 9, 9, generator=generator) > 0.5).float() for _ in range(4)]
    for a, b in zip(closest_first(maps), closest_first(maps, reduced=True), strict=True):
        assert torch.equal(a, b)
    assert float(sum(closest_first(maps)).max()) == 1  # type: ignore[union-attr, arg-type]


def test_normalize_divides_by_the_sum_where_it_exceeds_one() -> None:
    maps = [torch.tensor([[[[1.0, 0.25]]]]), torch.tensor([[[[0.5, 0.25]]]])]
    a, b = normalize(maps)
    torch.testing.assert_close(a, torch.tensor([[[[2 / 3, 0.25]]]]))
    torch.testing.assert_close(b, torch.tensor([[[[1 / 3, 0.25]]]]))
    assert normalize([]) == []


def test_frames_keep_the_numbers_of_their_names(tmp_path: Path) -> None:
    write_frames(tmp_path, range(7, 12))
    footage = open_footage(tmp_path / "f_%02d.ppm", tmp_path / "spool")
    assert footage.clip.numbers == (7, 8, 9, 10, 11)
    assert footage.clip.size == SIZE
    assert footage.image(2).shape == (*SIZE, 3)
    part = open_footage(tmp_path / "f_%02d.ppm", tmp_path / "spool", 9, 2)
    assert part.clip.numbers == (9, 10)
    assert [stamp.name for stamp in part.clip.frames] == ["f_09.ppm", "f_10.ppm"]
    np.testing.assert_array_equal(part.image(0), footage.image(2))


def test_frames_end_at_the_first_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_frames(tmp_path, range(1, 6))
    (tmp_path / "f_03.ppm").unlink()
    footage = Stills(tmp_path / "f_%02d.ppm")
    assert footage.clip.numbers == (1, 2)
    assert "number 3 is missing; 2 frames" in caplog.text
    with pytest.raises(MediaError, match="there is no frame 3"):
        Stills(tmp_path / "f_%02d.ppm", start_number=3)


def test_frame_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    write_frames(tmp_path, range(1, 3))
    write_image(tmp_path / "f_02.ppm", np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"f_02\.ppm: 8x9 pixels, but f_01\.ppm has 24x20"):
        Stills(tmp_path / "f_%02d.ppm")


def test_films_can_be_looked_up_in_any_order(tmp_path: Path) -> None:
    for k in range(4):
        write_image(tmp_path / f"{k}.png", np.full((32, 48, 3), 40 * k + 20, np.uint8))
    film = tmp_path / "film.mp4"
    with VideoReader(tmp_path) as reader, VideoWriter(film, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    footage = open_footage(film, tmp_path / "spool", start_number=2)
    assert isinstance(footage, Film)
    assert footage.clip.numbers == (2, 3, 4)
    assert footage.image(2).mean() == pytest.approx(140, abs=3)
    assert footage.image(0).mean() == pytest.approx(60, abs=3)


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no image found"):
        Stills(tmp_path / "x_%d.png")
