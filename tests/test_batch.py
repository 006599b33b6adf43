"""Folders done: what is skipped, what fails and costs the others nothing, what is never replaced, what is told."""

import json
import shutil
import subprocess
import sys
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from squares import FRAMES, square_labels, squares
from trees import write_mask

import rvos_cli as rvos
from rvos_cli import batch
from rvos_cli.batch import JobResult, Listener, run_batch
from rvos_cli.masks import read_labels
from rvos_cli.outputs import MARK, OutputFolder
from rvos_cli.segmenter import Segmenter


@pytest.fixture(autouse=True)
def _colours(colours: None) -> None:
    """No test here needs a network."""


def statuses(report: rvos.BatchReport) -> dict[str, str]:
    return {result.job.input.name: result.status for result in report.results}


def test_finished_inputs_are_skipped_until_something_changes(tiny_model: Segmenter, tree: Path, tmp_path: Path):
    out = tmp_path / "out"

    def again(threshold: float = 0.5, **outputs: bool) -> dict[str, str]:
        return statuses(
            run_batch(
                tiny_model,
                tree,
                output=out,
                inference=rvos.InferenceOptions(threshold=threshold, max_objects=3),
                outputs=rvos.OutputOptions(**outputs),
            )
        )

    done = {"a.MP4": "done", "b.mp4": "done", "shots": "done"}
    skipped = dict.fromkeys(done, "skipped")
    assert again() == done
    assert read_labels(out / "day" / "two" / "shots" / "masks" / "3.png").any()
    assert again() == skipped
    (out / "a" / "masks" / "00002.png").unlink()
    assert again() == {**skipped, "a.MP4": "done"}
    (out / "a" / "objects" / "01" / "00001.png").unlink()
    assert again() == {**skipped, "a.MP4": "done"}
    (out / "day" / "b" / "overlay.mp4").unlink()
    assert again() == {**skipped, "b.mp4": "done"}
    write_mask(tree / "a.png", np.where(square_labels() == 1, 1, 0).astype(np.uint8))
    assert again() == {**skipped, "a.MP4": "done"}
    Image.fromarray(squares(FRAMES)).save(tree / "day" / "two" / "shots" / "99.jpg")
    assert again() == {**skipped, "shots": "done"}
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "._0.jpg"):
        (tree / "day" / "two" / "shots" / name).write_text("no frame")
    assert again() == skipped
    assert again(threshold=0.6) == done
    assert again(threshold=0.6) == skipped
    assert again(threshold=0.6, objects=False) == done
    assert again(threshold=0.6, objects=False, force=True) == done


def test_what_was_corrected_is_done_again_and_nothing_else(tiny_model: Segmenter, tree: Path, tmp_path: Path):
    out, fixes = tmp_path / "out", tmp_path / "fixes"

    def again() -> dict[str, str]:
        return statuses(run_batch(tiny_model, tree, output=out, frame_masks=fixes))

    fixes.mkdir()
    assert again() == {"a.MP4": "done", "b.mp4": "done", "shots": "done"}
    fixed = np.where(square_labels(3) == 1, 1, 0).astype(np.uint8)
    write_mask(fixes / "day" / "b" / "00003.png", fixed)
    skipped = {"a.MP4": "skipped", "b.mp4": "skipped", "shots": "skipped"}
    assert again() == {**skipped, "b.mp4": "done"}
    assert np.array_equal(read_labels(out / "day" / "b" / "masks" / "00003.png"), fixed)
    assert again() == skipped
    (fixes / "a").mkdir()
    report = run_batch(tiny_model, tree, output=out, frame_masks=fixes)
    assert statuses(report) == {**skipped, "a.MP4": "failed"}
    assert "has no masks" in str(report.failed[0].error)


def test_a_failed_input_does_not_stop_the_others(tiny_model: Segmenter, tree: Path, tmp_path: Path):
    (tree / "a.MP4").write_bytes(b"this is no video")
    report = run_batch(tiny_model, tree, output=tmp_path / "out")
    assert statuses(report) == {"a.MP4": "failed", "b.mp4": "done", "shots": "done"}
    (failed,) = report.failed
    assert failed.error and "a.MP4" in failed.error and "\n" not in failed.error
    assert report.to_dict()["failed"] == 1
    assert not (tmp_path / "out" / "a").exists()


def test_even_a_fault_of_the_program_does_not_stop_the_others(
    tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Segmenter, "track", lambda *_, **__: 1 // 0)
    report = run_batch(tiny_model, tree, output=tmp_path / "out")
    assert statuses(report) == {"a.MP4": "failed", "b.mp4": "done", "shots": "failed"}
    assert "unexpected ZeroDivisionError" in str(report.failed[0].error)


def test_files_of_somebody_else_are_not_replaced(tiny_model: Segmenter, tree: Path):
    drawn = tree / "day" / "b" / "masks" / "hand.png"
    write_mask(drawn, square_labels())
    report = run_batch(tiny_model, tree, output=tree)
    assert statuses(report) == {"a.MP4": "done", "b.mp4": "failed", "shots": "failed"}
    assert drawn.is_file() and "holds masks" in str(report.failed[0].error)


def test_results_of_another_input_are_not_replaced(tiny_model: Segmenter, clip: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in ("day1", "day2"):
        Path(day).mkdir()
        shutil.copy(clip, f"{day}/img.mp4")
    Path("day2/img.mp4").write_bytes(clip.read_bytes() + bytes(9))

    def run(day: str, force: bool = False, root: Path = Path("out")) -> rvos.BatchReport:
        options = rvos.OutputOptions(force=force, objects=False, overlay=False)
        return run_batch(tiny_model, day, output=root, outputs=options)

    assert statuses(run("day1")) == {"img.mp4": "done"}
    (failed,) = run("day2").failed
    assert str(failed.error).startswith("out/img holds the results of day1/img.mp4; ")
    assert "--output" in str(failed.error) and "--force" in str(failed.error)
    assert statuses(run("day1")) == {"img.mp4": "skipped"}
    shutil.copy(Path("day2/img.mp4"), "day1/img.mp4")
    assert statuses(run("day1")) == {"img.mp4": "done"}, "it is the same input, which has changed"
    assert statuses(run("day2", force=True)) == {"img.mp4": "done"}
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    Path("day2").mkdir()
    shutil.copy(clip, "day2/img.mp4")
    assert len(run("day2", root=tmp_path / "out").failed) == 1, "its name alone is the same"


def test_unfinished_work_of_another_input_makes_way(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    left = tmp_path / "out" / "clip" / "unfinished"
    left.mkdir(parents=True)
    (left / MARK).touch()
    (left / "overlay.part.mp4").write_bytes(b"half")
    assert statuses(run_batch(tiny_model, clip.parent, output=tmp_path / "out")) == {"clip.mp4": "done"}
    assert not left.exists()


def test_a_failure_keeps_nothing_of_its_job(tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch):
    class Large:
        """Stands for a video's states."""

    alive = []

    def fail(*_: object, **__: object) -> None:
        state = Large()
        alive.append(weakref.ref(state))
        try:
            raise ValueError("first")
        except ValueError:
            fail_again(state)

    def fail_again(state: Large) -> None:
        raise RuntimeError("second")

    monkeypatch.setattr(Segmenter, "segment", fail)
    report = run_batch(tiny_model, tree, output=tmp_path / "out")
    assert [result.error for result in report.failed] == ["unexpected RuntimeError: second"]
    assert traceback.extract_tb(report.failed[0].failure.__traceback__)[-1].name == "fail_again"
    assert [state() for state in alive] == [None]


def test_a_failure_that_is_its_own_cause_is_one_too(tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        error = RuntimeError("round")
        raise error from error

    monkeypatch.setattr(Segmenter, "segment", fail)
    assert len(run_batch(tiny_model, tree, output=tmp_path / "out").failed) == 1


@pytest.mark.parametrize("force", [False, True])
def test_what_another_run_is_busy_with_comes_last_and_is_skipped_when_that_one_has_done_it(
    tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
):
    monkeypatch.setattr(batch, "WAIT", 0.01)
    out, heard = tmp_path / "out", []
    busy = {name: OutputFolder(out / name, options=rvos.OutputOptions()) for name in ("a", "day/b")}

    class OtherRun(Listener):
        """Goes on with its jobs while this one waits: finishes the first, and dies in the second."""

        looks = 0

        def started(self, job):
            self.looks += 1
            if self.looks == 4:  # the second round
                busy["a"]._leave_no_trace()
                tiny_model.track(tree / "a.MP4", first_mask=tree / "a.png", output=out / "a")
            if self.looks == 9:
                busy["day/b"]._lock.release()

        def postponed(self, job):
            heard.append(f"{job.input.name} postponed")

        def ended(self, result):
            heard.append(f"{result.job.input.name} {result.status}")

    report = run_batch(tiny_model, tree, output=out, outputs=rvos.OutputOptions(force=force), listener=OtherRun())
    assert heard == ["a.MP4 postponed", "b.mp4 postponed", "shots done", "a.MP4 skipped", "b.mp4 done"]
    assert [result.job.input.name for result in report.results] == ["a.MP4", "b.mp4", "shots"]


def test_with_force_a_job_is_done_again_where_the_run_that_was_at_it_has_died(
    tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch, "WAIT", 0.01)
    out, force = tmp_path / "out", rvos.OutputOptions(force=True)
    run_batch(tiny_model, tree, output=out)
    other = OutputFolder(out / "a", options=force)

    class OtherRun(Listener):
        def postponed(self, job):
            other._lock.release()

    assert set(statuses(run_batch(tiny_model, tree, output=out, outputs=force, listener=OtherRun())).values()) == {
        "done"
    }
    assert not (out / "a" / "unfinished").exists()


def test_what_another_run_finishes_just_before_is_skipped(
    tiny_model: Segmenter, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, track = tmp_path / "out", Segmenter.track

    def after_the_other_run(model: Segmenter, input: Path, **keywords: object) -> rvos.RunSummary:
        monkeypatch.setattr(Segmenter, "track", track)
        track(model, input, **keywords)
        return track(model, input, **keywords)

    monkeypatch.setattr(Segmenter, "track", after_the_other_run)
    report = run_batch(tiny_model, tree, output=out)
    assert statuses(report) == {"a.MP4": "skipped", "b.mp4": "done", "shots": "done"}


def test_two_commands_share_the_jobs_of_a_batch(clip: Path, tiny_weights: Path, tmp_path: Path):
    names = [f"{number}.mp4" for number in range(8)]
    (tmp_path / "videos").mkdir()
    for name in names:
        shutil.copy(clip, tmp_path / "videos" / name)
    words = ["batch", "videos", "-o", "out", "--weights", tiny_weights, "--device", "cpu", "--json", "--quiet"]
    command = [sys.executable, "-m", "rvos_cli", *map(str, words)]
    commands = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=300)[0]) for process in commands]
    assert [process.returncode for process in commands] == [0, 0]
    made = [{job["input"]: job["status"] for job in report["jobs"]} for report in reports]
    assert all({made[0][name], made[1][name]} >= {"done"} for name in made[0])
    assert len(made[0]) == len(names) and not any((tmp_path / "out").rglob("unfinished"))
    assert len(list((tmp_path / "out").rglob("masks/*.png"))) == len(names) * FRAMES


def test_a_listener_hears_everything(tiny_model: Segmenter, tree: Path, tmp_path: Path):
    heard: list[str] = []

    class Ear(Listener):
        def planned(self, jobs):
            heard.append(f"{len(jobs)} planned")

        def started(self, job):
            heard.append(f"{job.input.name} started")

        def progressed(self, job, done, total):
            heard.append(f"{done}")

        def noticed(self, job, kind, line):
            heard.append(line)

        def ended(self, result: JobResult):
            heard.append(result.status)

    run_batch(tiny_model, tree, output=tmp_path / "out", listener=Ear())
    frames = [str(index + 1) for index in range(FRAMES)]
    found = "found 2 objects: ids 1, 2"
    assert heard == [
        "3 planned",
        *("a.MP4 started", found, *frames, "done"),
        *("b.mp4 started", *frames, "done"),
        *("shots started", found, *frames, "done"),
    ]
