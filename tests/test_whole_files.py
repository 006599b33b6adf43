"""Files that are whole or absent."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rvos_cli.errors import OutputError
from rvos_cli.whole_files import draft, write_bytes, writing_beside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_bears_its_name_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with draft(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old" and beside.parent == tmp_path
    assert path.read_text() == "new" and names(tmp_path) == ["a.txt"]


def test_after_a_failure_all_is_as_it_was(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), draft(path) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), draft(path):
        pass  # nothing was written
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_the_longest_name_will_do(tmp_path: Path):
    path = tmp_path / ("a" * 255)
    write_bytes(path, b"all")
    assert path.read_bytes() == b"all"


def test_two_drafts_of_one_file_do_not_meet(tmp_path: Path):
    path = tmp_path / "a.txt"
    with draft(path) as one, draft(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_bytes(path, bytes([number]) * 1000), range(40)))
    assert path.read_bytes() in [bytes([number]) * 1000 for number in range(40)] and names(tmp_path) == ["a.txt"]


def test_what_the_system_refuses_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"), writing_beside(tmp_path / "file" / "a.txt") as beside:
        beside.write_text("all")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"), writing_beside(tmp_path / "folder") as beside:
        beside.write_text("all")
    assert names(tmp_path) == ["file", "folder"]


def test_what_is_there_is_replaced(tmp_path: Path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("first", "second"):
        with writing_beside(path) as beside:
            beside.write_text(text)
    assert path.read_text() == "second" and names(path.parent) == ["a.txt"]
