import shutil
import traceback
import weakref
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels, squares

import rvos_cli as rvos
from rvos_cli.batch import JobResult, Listener, distinct_stems, plan, run_batch
from rvos_cli.masks import read_labels, write_indexed_png
from rvos_cli.outputs import MARK
from rvos_cli.segmenter import Segmenter


def write_mask(path: Path, labels: media.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_indexed_png(path, labels)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A video with a mask, one without in a subfolder, a frame folder with a mask, and things that are no inputs."""
    root = tmp_path / "videos"
    clip = media.encode(tmp_path / "clip.mp4", frames=[squares(index) for index in range(FRAMES)], size=(HEIGHT, WIDTH))
    (root / "day" / "two").mkdir(parents=True)
    shutil.copy(clip, root / "a.MP4")
    write_mask(root / "a.png", square_labels())
    shutil.copy(clip, root / "day" / "b.mp4")
    frames = root / "day" / "two" / "shots"
    frames.mkdir()
    for index in range(FRAMES):
        Image.fromarray(squares(index)).save(frames / f"{index}.jpg")
    write_mask(root / "day" / "two" / "shots.png", square_labels())
    write_mask(root / "day" / "Annotations" / "x" / "0.png", square_labels())
    write_mask(root / "palette" / "0.png", square_labels())
    (root / ".hidden").mkdir()
    shutil.copy(clip, root / ".hidden" / "c.mp4")
    (root / "notes.txt").write_text("no video")
    return root


@pytest.fixture(autouse=True)
def _colours(colours: None) -> None:
    """No test here needs a network."""


def statuses(report: rvos.BatchReport) -> dict[str, str]:
    return {result.job.input.name: result.status for result in report.results}


def test_a_plan_mirrors_the_tree_and_finds_the_masks(tree: Path, tmp_path: Path):
    jobs = plan(tree, output=tmp_path / "out")
    found = [
        (
            str(job.input.relative_to(tree)),
            None if job.first_mask is None else str(job.first_mask.relative_to(tree)),
            str(job.output.relative_to(tmp_path / "out")),
        )
        for job in jobs
    ]
    assert found == [
        ("a.MP4", "a.png", "a"),
        ("day/b.mp4", None, "day/b"),
        ("day/two/shots", "day/two/shots.png", "day/two/shots"),
    ]


@pytest.mark.parametrize("place", ["day/b.png", "day/b/00000.png", "b.png", "b/00000.png"])
def test_a_mask_folder_comes_before_masks_beside_the_inputs(tree: Path, tmp_path: Path, place: str):
    masks = tree / "first"
    write_mask(masks / place, square_labels())
    write_mask(tree / "day" / "b.png", square_labels())
    jobs = {job.input.name: job for job in plan(tree, output=tmp_path / "out", masks=masks)}
    assert jobs["b.mp4"].first_mask == masks / place
    assert jobs["a.MP4"].first_mask is not None
    assert set(jobs) == {"a.MP4", "b.mp4", "shots"}


def test_a_davis_tree_is_tracked_by_its_first_annotations(tmp_path: Path):
    for name in ("swan", "goat"):
        frames = tmp_path / "JPEGImages" / "480p" / name
        frames.mkdir(parents=True)
        for index in range(2):
            Image.fromarray(squares(index)).save(frames / f"{index:05d}.jpg")
            write_mask(tmp_path / "Annotations" / "480p" / name / f"{index:05d}.png", square_labels(index))
    jobs = plan(tmp_path / "JPEGImages" / "480p", output=tmp_path / "out", masks=tmp_path / "Annotations" / "480p")
    assert [(job.input.name, job.output.name) for job in jobs] == [("goat", "goat"), ("swan", "swan")]
    assert [job.first_mask for job in jobs] == [
        tmp_path / "Annotations" / "480p" / name / "00000.png" for name in ("goat", "swan")
    ]
    assert len(plan(tmp_path, output=tmp_path / "out")) == 2


def test_links_in_a_circle_end_no_plan(tree: Path, tmp_path: Path):
    inputs = [job.input for job in plan(tree, output=tmp_path / "out")]
    (tree / "circle").symlink_to(tree / "circle")
    assert [job.input for job in plan(tree, output=tree / "circle")] == inputs


def test_outputs_below_the_folder_are_never_inputs(tiny_model: Segmenter, tree: Path):
    first = run_batch(tiny_model, tree, output=tree / "results")
    shutil.copytree(tree / "results", tree / "copied")
    assert [result.job for result in first.results] == list(plan(tree, output=tree / "results"))
    assert len(plan(tree, output=tree / "elsewhere")) == len(first.results)


def test_a_linked_input_has_its_name_and_its_mask_where_the_link_stands(clip: Path, frame_folder: Path, tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "street.mp4").symlink_to(clip)
    (tree / "shots").symlink_to(frame_folder, target_is_directory=True)
    for name in ("street", "shots"):
        write_indexed_png(tree / f"{name}.png", square_labels())
    jobs = plan(tree, output="out")
    assert {(str(job.output), job.first_mask) for job in jobs} == {
        ("out/street", tree / "street.png"),
        ("out/shots", tree / "shots.png"),
    }


def test_links_that_lead_in_a_circle_end(tree: Path, tmp_path: Path):
    (tree / "day" / "up").symlink_to(tree, target_is_directory=True)
    assert len(plan(tree, output=tmp_path / "out")) == 3


def test_a_folder_that_is_itself_a_frame_folder_is_one_input(frame_folder: Path, tmp_path: Path):
    (job,) = plan(frame_folder, output=tmp_path / "out")
    assert (job.input, job.output) == (frame_folder, tmp_path / "out" / "frames")


def test_folders_with_nothing_to_do_are_told(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(rvos.InputError, match="no video and no frame folder"):
        plan(tmp_path / "empty")
    with pytest.raises(rvos.InputError, match="there is no folder"):
        plan(tmp_path / "missing")
    with pytest.raises(rvos.MaskError, match="--masks"):
        plan(tmp_path, masks=tmp_path / "missing")


def test_equal_stems_get_folders_of_their_own():
    paths = [Path(name) for name in ("x/a.mp4", "x/a.mov", "y/a.mov", "x/b.mp4", "x/masks.mp4")]
    assert distinct_stems(paths) == ["a-mp4", "a-mov", "a-mov-2", "b", "masks-2"]


def test_names_that_differ_in_case_only_get_folders_that_differ_otherwise(clip: Path, tmp_path: Path):
    paths = [Path(name) for name in ("Clip.mp4", "clip.mov", "A.mp4", "a.mp4", "Masks.mp4")]
    assert distinct_stems(paths) == ["Clip-mp4", "clip-mov", "A-mp4", "a-mp4-2", "Masks-2"]
    tree = tmp_path / "tree"
    (tree / "a" / "Objects").mkdir(parents=True)
    for name in ("A.mp4", "a/Objects/x.mp4"):
        shutil.copy(clip, tree / name)
    outputs = {str(job.output.relative_to(tmp_path)) for job in plan(tree, output=tmp_path)}
    assert outputs == {"A", "a/Objects-2/x"}, "a/ and A/ may be one folder"


@pytest.mark.parametrize("suffix", [".PNG", ".Png"])
def test_masks_may_have_their_suffix_in_capitals(tree: Path, tmp_path: Path, suffix: str):
    write_mask(tmp_path / "made.png", square_labels())
    shutil.copy(tmp_path / "made.png", tree / "day" / f"b{suffix}")
    (beside,) = (job.first_mask for job in plan(tree, output=tmp_path / "out") if job.input.name == "b.mp4")
    assert beside == tree / "day" / f"b{suffix}"
    masks = tmp_path / "first"
    masks.mkdir()
    shutil.copy(tmp_path / "made.png", masks / f"b{suffix}")
    jobs = plan(tree, output=tmp_path / "out", masks=masks)
    assert masks / f"b{suffix}" in [job.first_mask for job in jobs]


def test_no_job_writes_into_the_results_of_another(tree: Path, tmp_path: Path):
    video = tree / "a" / "objects" / "day" / "x.mp4"
    video.parent.mkdir(parents=True)
    shutil.copy(tree / "a.MP4", video)
    outputs = {str(job.output.relative_to(tmp_path)) for job in plan(tree, output=tmp_path)}
    assert {"a", "a/objects-2/day/x"} <= outputs
    taken = tree / "a" / "objects-2" / "day" / "x.mp4"
    taken.parent.mkdir(parents=True)
    shutil.copy(video, taken)
    outputs = {str(job.output.relative_to(tmp_path)) for job in plan(tree, output=tmp_path)}
    assert {"a", "a/objects-2/day/x", "a/objects-3/day/x"} <= outputs
    (tree / "a.MP4").unlink()
    assert "a/objects/day/x" in {str(job.output.relative_to(tmp_path)) for job in plan(tree, output=tmp_path)}


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


def test_what_the_reader_calls_video_the_batch_finds(tree: Path, tmp_path: Path):
    shutil.copy(tree / "day" / "b.mp4", tree / "day" / "c.h265")
    assert "c.h265" in [job.input.name for job in plan(tree, output=tmp_path / "out")]


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
