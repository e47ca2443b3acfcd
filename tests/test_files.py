import os

import pytest

from fastvid.files import check_target, write_atomically


def test_a_new_file_in_an_existing_folder_may_be_written(tmp_path):
    check_target(tmp_path / "new.json", overwrite=False)


def test_an_existing_file_is_replaced_only_where_asked(tmp_path):
    path = tmp_path / "old.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match=r"old\.json: exists already; --overwrite"):
        check_target(path, overwrite=False)
    check_target(path, overwrite=True)
    assert path.read_text() == "old"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="is a folder; name a file"):
        check_target(tmp_path, overwrite=True)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"there is no folder .*gone"):
        check_target(tmp_path / "gone" / "new.json", overwrite=True)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(*_paths):
        raise OSError("disk full")

    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
