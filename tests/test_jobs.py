from pathlib import Path

import pytest
from tiny_clips import write_clip, write_picture

from fastvid.runtime.jobs import Job, default_target, plan
from fastvid.video import MediaError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("film.mp4", "film.udnie.mp4"),
        ("my film.v2.MOV", "my film.v2.udnie.MOV"),
        ("film.webm", "film.udnie.mkv"),  # no H.264 in there
        ("film.avi", "film.udnie.mkv"),
        ("film.gif", "film.udnie.mp4"),
        ("photo.JPG", "photo.udnie.JPG"),
        ("photo.tiff", "photo.udnie.png"),
        ("x_%04d.png", "x_%04d.udnie.png"),
    ],
)
def test_the_default_target_is_beside_the_source_with_the_style_in_its_name(name, expected):
    assert default_target(Path("a b") / name, "udnie") == Path("a b") / expected


def test_folders_and_globs_go_into_a_folder_beside(tmp_path):
    touch(tmp_path / "holiday" / "1.png")
    for source in (tmp_path / "holiday", tmp_path / "holiday" / "*.png"):
        assert default_target(source, "udnie") == tmp_path / "holiday.udnie"


def test_one_file_is_one_job(tmp_path):
    film = touch(tmp_path / "film.mp4")
    assert plan([str(film)], None, "s") == [Job(film, tmp_path / "film.s.mp4")]
    out = tmp_path / "other.mkv"
    assert plan([str(film)], str(out), "s") == [Job(film, out)]
    inside = Job(film, tmp_path / "film.s.mp4", makes_folder=True)
    assert plan([str(film)], str(tmp_path), "s") == [inside]
    new = plan([str(film)], f"{tmp_path}/new/", "s")
    assert new == [Job(film, tmp_path / "new" / "film.s.mp4", makes_folder=True)]


def test_several_files_go_beside_themselves_or_into_one_folder(tmp_path):
    films = [touch(tmp_path / name) for name in ("b.mp4", "a.mp4")]
    texts = [str(film) for film in films]
    assert [job.target.name for job in plan(texts, None, "s")] == ["b.s.mp4", "a.s.mp4"]
    out = tmp_path / "out"
    assert [job.target for job in plan(texts, str(out), "s")] == [
        out / "b.s.mp4",
        out / "a.s.mp4",
    ]
    with pytest.raises(MediaError, match="need a folder as output"):
        plan(texts, "one.mp4", "s")


def test_a_folder_gives_its_films_in_natural_order_and_its_images_as_one_sequence(tmp_path):
    folder = tmp_path / "in"
    for name in ("c10.mp4", "c9.mkv", "notes.txt", ".hidden.mp4", "c9.s.mkv"):
        touch(folder / name)
    write_picture(folder / "p1.png")
    jobs = plan([str(folder)], None, "s")
    out = tmp_path / "in.s"
    assert jobs == [
        Job(folder / "c9.mkv", out / "c9.s.mkv", True, True),
        Job(folder / "c10.mp4", out / "c10.s.mp4", True, True),
        Job(folder, out),
    ]
    assert plan([str(folder)], str(tmp_path / "x"), "s")[0].target == tmp_path / "x" / "c9.s.mkv"


def test_a_folder_of_images_alone_is_one_sequence(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_picture(folder / "p1.png")
    assert plan([str(folder)], None, "s") == [Job(folder, tmp_path / "in.s")]
    film = tmp_path / "film.mp4"
    assert plan([str(folder)], str(film), "s") == [Job(folder, film)]


def test_a_quoted_glob_of_films_is_expanded(tmp_path):
    for name in ("c10.mp4", "c9.mp4", "d.mp4"):
        touch(tmp_path / name)
    jobs = plan([str(tmp_path / "c*.mp4")], None, "s")
    assert [job.source.name for job in jobs] == ["c9.mp4", "c10.mp4"]


def test_a_file_that_only_looks_like_a_pattern_is_a_file(tmp_path):
    film = write_clip(tmp_path / "100%d [a].mp4", 2)
    assert plan([str(film)], None, "s") == [Job(film, tmp_path / "100%d [a].s.mp4")]


def test_empty_folders_and_clashing_names_are_refused(tmp_path):
    with pytest.raises(MediaError, match="neither a film nor an image"):
        plan([str(tmp_path)], None, "s")
    films = [touch(tmp_path / d / "a.mp4") for d in ("x", "y")]
    with pytest.raises(MediaError, match="two inputs would be written to this one name"):
        plan([str(film) for film in films], str(tmp_path / "out"), "s")
