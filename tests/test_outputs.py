"""The output folder: whose files it may remove, and which folders it knows for its own."""

from pathlib import Path

import pytest

import rvos_cli as rvos
from rvos_cli.outputs import OutputFolder, is_output_folder


def begun(folder: Path) -> OutputFolder:
    return OutputFolder(folder, options=rvos.OutputOptions())


def test_a_folder_of_the_users_that_has_the_name_of_the_unfinished_work_is_left_alone(tmp_path: Path):
    notes = tmp_path / "unfinished" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(rvos.OutputError, match="not the work of an earlier run"):
        begun(tmp_path)
    assert notes.read_text() == "mine"
    assert not is_output_folder(tmp_path)


def test_what_an_earlier_run_left_unfinished_makes_way(tmp_path: Path):
    with pytest.raises(OSError, match="no space"), begun(tmp_path) as first:
        (first.staging / "overlay.part.mp4").write_bytes(b"half")
        raise OSError("no space")
    assert is_output_folder(tmp_path)
    assert not (begun(tmp_path).staging / "overlay.part.mp4").exists()


def test_an_empty_folder_of_that_name_is_taken(tmp_path: Path):
    (tmp_path / "unfinished").mkdir()
    begun(tmp_path)
    assert is_output_folder(tmp_path)


def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), begun(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path):
    with begun(tmp_path) as first:
        (first.staging / "overlay.part.mp4").write_bytes(b"half")
        with pytest.raises(rvos.OutputError, match="another run is writing"):
            begun(tmp_path)
        assert (first.staging / "overlay.part.mp4").read_bytes() == b"half"
    begun(tmp_path)
