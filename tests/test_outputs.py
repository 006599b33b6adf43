"""The output folder: whose files it may remove, and which folders it knows for its own."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import pytest

import rvos_cli as rvos
from rvos_cli import locks, outputs
from rvos_cli.locks import FileLock
from rvos_cli.outputs import FINAL_NAMES, MARK, OutputFolder, is_output_folder, results_of_another
from rvos_cli.results import RunSummary


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
        with pytest.raises(rvos.BusyError, match="another run is writing"):
            begun(tmp_path)
        assert (first.staging / "overlay.part.mp4").read_bytes() == b"half"
    begun(tmp_path)


def test_a_run_that_ends_while_another_begins_does_not_take_its_place_along(tmp_path: Path, monkeypatch):
    first = begun(tmp_path)
    lock = locks._lock

    def end_the_first(file: int) -> None:
        monkeypatch.setattr(locks, "_lock", lock)
        first._leave_no_trace()  # the second has the file open, which nobody else will find any more
        lock(file)

    monkeypatch.setattr(locks, "_lock", end_the_first)
    with pytest.raises(rvos.BusyError):
        begun(tmp_path)
    assert begun(tmp_path)._lock.held


def test_a_run_that_ends_while_another_looks_is_no_failure_of_that_one(tmp_path: Path, monkeypatch):
    first = begun(tmp_path)
    acquire = FileLock.acquire

    def end_the_first(lock: FileLock) -> bool:
        monkeypatch.setattr(FileLock, "acquire", acquire)
        first._leave_no_trace()
        return lock.acquire()

    monkeypatch.setattr(FileLock, "acquire", end_the_first)
    assert begun(tmp_path)._lock.held


def test_a_file_that_a_file_system_calls_stale_is_somebody_elses(tmp_path: Path, monkeypatch):
    def stale(file: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    run = begun(tmp_path / "a")  # and not later, when nothing can be opened and looked at any more
    monkeypatch.setattr(os, "fstat", stale)
    with pytest.raises(rvos.BusyError):
        begun(tmp_path / "b")
    monkeypatch.undo()
    assert run._lock.held


def test_a_mark_that_goes_while_it_is_looked_for_is_no_folder_of_somebody_else(tmp_path: Path, monkeypatch):
    first, looked = begun(tmp_path), outputs._is_unfinished

    def too_late(folder: Path) -> bool:
        monkeypatch.setattr(outputs, "_is_unfinished", looked)
        first._leave_no_trace()
        return looked(folder)

    monkeypatch.setattr(outputs, "_is_unfinished", too_late)
    assert begun(tmp_path)._lock.held


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


def finished(run: OutputFolder, content: str = "new") -> RunSummary:
    """Put a whole result below the folder for unfinished work, and return its summary."""
    (run.staging / "masks").mkdir()
    for name in ("overlay.mp4", "masks/00000.png"):
        (run.staging / name).write_text(content)
    return RunSummary(
        input="a.mp4", frames=1, fps=25.0, size=(1, 1), objects=(), outputs=run.outputs, seconds=1.0, mode="segment",
        frames_per_second=1.0, device="cpu", weights="lite", weights_sha256="", version="1",
    )  # fmt: skip


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("step", range(7))
def test_a_run_that_ends_while_results_are_moved_leaves_a_folder_that_rvos_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool, step: int
):
    if older:
        with begun(tmp_path) as run:
            run.commit(finished(run, "old"))
    replace, done = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with (
            contextlib.suppress(KeyboardInterrupt),
            OutputFolder(tmp_path, options=rvos.OutputOptions(force=True)) as run,
        ):
            run.commit(finished(run))
    assert is_output_folder(tmp_path)
    if (tmp_path / "summary.json").exists():
        content = "new" if len(done) == (6 if older else 4) else "old"
        assert [(tmp_path / name).read_text() for name in ("overlay.mp4", "masks/00000.png")] == [content] * 2
    with OutputFolder(tmp_path, options=rvos.OutputOptions(force=True)) as run:
        run.commit(finished(run))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "overlay.mp4", "summary.json"]


def test_a_summary_that_cannot_be_written_leaves_older_results_and_the_new_ones_where_they_are(tmp_path: Path):
    with begun(tmp_path) as run:
        run.commit(finished(run, "old"))
    before = (tmp_path / "summary.json").read_text()
    with (
        pytest.raises(rvos.OutputError, match=r"summary\.json cannot be written"),
        OutputFolder(tmp_path, options=rvos.OutputOptions(force=True)) as run,
    ):
        (run.staging / "summary.json").mkdir()
        run.commit(finished(run))
    assert (tmp_path / "summary.json").read_text() == before
    assert (tmp_path / "overlay.mp4").read_text() == "old" and (run.staging / "overlay.mp4").read_text() == "new"


def test_what_cannot_be_cleared_up_keeps_the_mark_that_says_whose_it_is(tmp_path: Path, monkeypatch):
    with monkeypatch.context() as patch, begun(tmp_path) as run:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        (run.staging / "others").mkdir()
        run.commit(finished(run))
        assert is_output_folder(tmp_path)
    (tmp_path / "summary.json").unlink()
    with OutputFolder(tmp_path, options=rvos.OutputOptions(force=True)) as run:
        assert [path.name for path in run.staging.iterdir()] == [MARK]


def test_no_cure_removes_what_no_run_has_made(tmp_path: Path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "hand.png").write_bytes(b"drawn by hand")
    with pytest.raises(rvos.OutputError, match="holds masks, which no run of rvos has made; choose another") as failure:
        begun(tmp_path)
    assert "--force" not in str(failure.value)
    (tmp_path / "summary.json").write_text('{"frames": 1, "objects": [], "weights": {}}')
    with pytest.raises(rvos.OutputError, match=r"holds results already \(masks, summary.json\); .*--force"):
        begun(tmp_path)


@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize("name", FINAL_NAMES)
def test_a_link_that_leads_nowhere_has_its_name(tmp_path: Path, name: str, circle: bool):
    (tmp_path / name).symlink_to(tmp_path / (name if circle else "nowhere"))
    with pytest.raises(rvos.OutputError, match=f"holds {name}"):
        OutputFolder(tmp_path, options=rvos.OutputOptions(), inputs=[tmp_path / "a.mp4"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("target", ["nowhere", "out/masks"])
def test_a_link_that_leads_nowhere_makes_way_where_results_may_be_replaced(
    tmp_path: Path, tiny_model, frame_folder, target: str
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "masks").symlink_to(tmp_path / target)
    tiny_model.segment(frame_folder, output=out, force=True, overlay=False, objects=False)
    assert sorted(path.name for path in out.iterdir()) == ["masks", "summary.json"]
    assert (out / "masks").is_dir() and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("below", ["", "a/b"])
def test_an_output_folder_that_leads_in_a_circle_is_one_clear_line(tmp_path: Path, below: str):
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(rvos.OutputError, match=r"cannot be written \(.*\); choose another"):
        OutputFolder(tmp_path / "out" / below, options=rvos.OutputOptions(), inputs=[tmp_path / "a.mp4"])


def test_results_that_come_while_a_run_begins_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    acquire = FileLock.acquire

    def late(lock: FileLock) -> bool:
        (tmp_path / "summary.json").write_text('{"frames": 1, "objects": [], "weights": {}}')  # the first run's end
        return acquire(lock)

    monkeypatch.setattr(FileLock, "acquire", late)
    with pytest.raises(rvos.OutputError, match="holds results already"):
        begun(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_summary_says_whose_results_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine, other = tmp_path / "mine.mp4", tmp_path / "other.mp4"
    for path in (mine, other):
        path.write_bytes(b"video")
    monkeypatch.chdir(tmp_path)

    def told(**entries: str) -> str | None:
        values = {"frames": 1, "objects": [], "weights": {}, **entries}
        (tmp_path / "summary.json").write_text(json.dumps(values))
        return results_of_another(tmp_path, Path("mine.mp4"))

    assert results_of_another(tmp_path, mine) is None
    assert told(input="mine.mp4", path=str(mine)) is None
    assert told(input=str(mine)) is None
    assert told(input="mine.mp4", path=str(other)) == "mine.mp4"
    assert told(input="mine.mp4", path=str(tmp_path / "gone" / "mine.mp4")) == "mine.mp4"
    assert told(input="mine.mp4") == "mine.mp4", "it may have been run in another folder"
    assert told() == "another input"
