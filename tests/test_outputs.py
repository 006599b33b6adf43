"""The output folder: whose files it may remove, and which folders it knows for its own."""

import errno
import os
import shutil
from pathlib import Path

import pytest

import rvos_cli as rvos
from rvos_cli import locks
from rvos_cli.outputs import MARK, OutputFolder, is_output_folder


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


def test_where_there_are_no_locks_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(file: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.raises(KeyboardInterrupt), begun(tmp_path) as run:
        (run.staging / "overlay.part.mp4").write_bytes(b"half")
        raise KeyboardInterrupt
    with begun(tmp_path) as run:
        assert [path.name for path in run.staging.iterdir()] == [MARK]


def test_a_run_that_ends_while_it_clears_up_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class EndedError(BaseException):
        """Stands for the end of the process."""

    def end(*_: object, **__: object) -> None:
        raise EndedError

    run = begun(tmp_path)
    (run.staging / "masks").mkdir()
    monkeypatch.setattr(shutil, "rmtree", end)
    with pytest.raises(EndedError):
        run._leave_no_trace()
    del run
    monkeypatch.undo()
    with begun(tmp_path) as run:
        assert [path.name for path in run.staging.iterdir()] == [MARK]


def test_a_start_that_fails_leaves_neither_lock_nor_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: OutputFolder) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "_empty", fail)
        with pytest.raises(rvos.OutputError, match="cannot be written") as failure:
            begun(tmp_path / "a")
    with begun(tmp_path / "a"):
        pass
    assert failure.value is not None  # as a caller keeps it who tells it later


def test_a_start_that_fails_early_leaves_another_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: OutputFolder, inputs: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with begun(tmp_path) as first:
        (first.staging / "overlay.part.mp4").write_bytes(b"half")
        with monkeypatch.context() as patch:
            patch.setattr(OutputFolder, "_check_inputs", fail)
            with pytest.raises(rvos.OutputError, match="Permission denied"):
                begun(tmp_path)
        assert (first.staging / "overlay.part.mp4").read_bytes() == b"half"


def test_the_error_of_a_run_is_told_even_where_nothing_can_be_written_any_more(tmp_path: Path, monkeypatch):
    with pytest.raises(rvos.OutputError, match="first"), begun(tmp_path) as run:
        (run.staging / "masks").mkdir()
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: pytest.fail("touched"))
        (run.staging / "overlay.part.mp4").write_bytes(b"half")
        raise rvos.OutputError("first")
