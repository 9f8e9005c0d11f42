from __future__ import annotations

from pathlib import Path

import pytest

from app.retrain.folders import digest, write_file, write_folder


def fill(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_text("content")


def test_a_folder_is_there_whole(tmp_path):
    write_folder(tmp_path / "deep" / "policy-1", fill)

    assert (tmp_path / "deep" / "policy-1" / "inner" / "file").read_text() == "content"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["policy-1"]


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path):
    def break_off(folder: Path) -> None:
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "policy-1", break_off)
    assert not (tmp_path / "policy-1").exists()

    write_folder(tmp_path / "policy-1", fill)  # what was left does not stand in the way

    assert [path.name for path in tmp_path.iterdir()] == ["policy-1"]


def test_what_has_a_name_is_never_changed(tmp_path):
    write_folder(tmp_path / "policy-1", fill)

    with pytest.raises(FileExistsError, match="policy-1 exists already"):
        write_folder(tmp_path / "policy-1", fill)


def test_a_digest_is_of_names_and_contents(tmp_path):
    for name in ("a", "b"):
        write_folder(tmp_path / name, fill)
    same = digest(tmp_path / "a")
    assert same == digest(tmp_path / "b")

    (tmp_path / "b" / "inner" / "file").rename(tmp_path / "b" / "file")
    assert digest(tmp_path / "b") != same
    (tmp_path / "a" / "inner" / "file").write_text("other")
    assert digest(tmp_path / "a") != same


def test_a_file_is_replaced_whole(tmp_path):
    for data in (b"one", b"two"):
        write_file(tmp_path / "file", data)

        assert (tmp_path / "file").read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 1
