"""Which inputs a folder has, which mask is whose, and where the outputs of each go."""

import shutil
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from squares import square_labels, squares
from trees import write_mask

import rvos_cli as rvos
from rvos_cli.batch import run_batch
from rvos_cli.batch_plan import distinct_stems, no_first_mask_of, plan, unused_masks
from rvos_cli.masks import write_indexed_png
from rvos_cli.segmenter import Segmenter


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


@pytest.mark.parametrize("place", ["day/two/shots", "shots"])
@pytest.mark.parametrize(("name", "first"), [("0.png", None), ("3.png", "day/two/shots.png")])
def test_whole_masks_lie_under_the_name_of_the_results_and_may_make_up_for_the_first(
    tree: Path, tmp_path: Path, place: str, name: str, first: str | None
):
    fixes = tree / "fixes"  # no inputs are looked for in there
    write_mask(fixes / place / name, square_labels())
    write_mask(fixes / "elsewhere" / "b" / "00000.png", square_labels())
    jobs = {job.input.name: job for job in plan(tree, output=tmp_path / "out", frame_masks=fixes)}
    assert (jobs["shots"].frame_masks, jobs["shots"].mode) == (fixes / place, "track")
    assert jobs["shots"].first_mask == (None if first is None else tree / first)
    assert jobs["a.MP4"].frame_masks is jobs["b.mp4"].frame_masks is None
    assert (jobs["a.MP4"].mode, jobs["b.mp4"].mode) == ("track", "segment")
    assert set(jobs) == {"a.MP4", "b.mp4", "shots"}


@pytest.mark.parametrize(("name", "beside"), [("00000.png", False), ("0.png", False), ("00003.png", True)])
def test_a_video_with_a_whole_mask_of_its_first_frame_needs_no_other(
    tree: Path, tmp_path: Path, name: str, beside: bool
):
    write_mask(tmp_path / "fixes" / "a" / name, square_labels())
    job = plan(tree, output=tmp_path / "out", frame_masks=tmp_path / "fixes")[0]
    assert (job.input.name, job.first_mask is not None) == ("a.MP4", beside)


def test_a_folder_without_any_corrected_mask_yet_corrects_nothing(tree: Path, tmp_path: Path):
    (tmp_path / "fixes" / "b").mkdir(parents=True)
    jobs = plan(tree, output=tmp_path / "out", frame_masks=tmp_path / "fixes")
    assert len(jobs) == 3 and unused_masks(jobs, tmp_path / "fixes") == []


def test_masks_of_none_of_the_inputs_are_told(tree: Path, tmp_path: Path):
    fixes = tmp_path / "fixes"
    write_mask(fixes / "elsewhere" / "b" / "00000.png", square_labels())
    with pytest.raises(rvos.MaskError, match=r"has masks, but of no input .* put those of a into .*a$"):
        plan(tree, output=tmp_path / "out", frame_masks=fixes)
    write_mask(fixes / "b" / "00000.png", square_labels())
    assert unused_masks(plan(tree, output=tmp_path / "out", frame_masks=fixes), fixes) == [fixes / "elsewhere" / "b"]


@pytest.mark.parametrize("place", ["day/b.png", "b.png", "b/00000.png", "day/two/shots/3.png"])
def test_whether_first_masks_are_of_any_input_is_told(tree: Path, tmp_path: Path, place: str):
    first = tmp_path / "first"
    write_mask(first / "c.png", square_labels())
    assert no_first_mask_of(plan(tree, output=tmp_path / "out", masks=first), tree, first)
    write_mask(first / place, square_labels())
    assert not no_first_mask_of(plan(tree, output=tmp_path / "out", masks=first), tree, first)


def test_first_masks_may_lie_among_the_others(tree: Path, tmp_path: Path):
    both = tmp_path / "both"
    write_mask(both / "b.png", square_labels())
    jobs = plan(tree, output=tmp_path / "out", masks=both, frame_masks=both)
    assert unused_masks(jobs, both) == [] and not no_first_mask_of(jobs, tree, both)
    write_mask(both / ".cache" / "x" / "0.png", square_labels())
    assert unused_masks(jobs, both) == []


def test_masks_beside_the_inputs_are_of_no_folder_above(tree: Path, tmp_path: Path):
    jobs = plan(tree, output=tmp_path / "out", masks=tree.parent)
    assert any(job.first_mask for job in jobs) and no_first_mask_of(jobs, tree, tree.parent)
    assert not no_first_mask_of(plan(tree, output=tmp_path / "out", masks=tree), tree, tree)


def test_a_first_mask_that_a_whole_one_stands_in_for_is_not_missed(tree: Path, tmp_path: Path):
    write_mask(tmp_path / "first" / "a.png", square_labels())
    write_mask(tmp_path / "fixes" / "a" / "00000.png", square_labels())
    jobs = plan(tree, output=tmp_path / "out", masks=tmp_path / "first", frame_masks=tmp_path / "fixes")
    assert not no_first_mask_of(jobs, tree, tmp_path / "first")


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


def test_pictures_beside_a_video_are_no_frames(clip: Path, tmp_path: Path):
    folder = tmp_path / "videos" / "day"
    folder.mkdir(parents=True)
    shutil.copy(clip, folder / "a.mp4")
    Image.fromarray(squares(0)).save(folder / "thumbnail.jpg")
    assert [job.input.name for job in plan(tmp_path / "videos", output=tmp_path / "out")] == ["a.mp4"]
    (folder / "a.mp4").unlink()
    assert [job.input.name for job in plan(tmp_path / "videos", output=tmp_path / "out")] == ["day"]
    write_mask(folder / "0.png", square_labels())  # a palette image comes first: a folder of masks
    with pytest.raises(rvos.InputError, match="no video and no frame folder"):
        plan(tmp_path / "videos", output=tmp_path / "out")


def test_links_in_a_circle_end_no_plan(tree: Path, tmp_path: Path):
    inputs = [job.input for job in plan(tree, output=tmp_path / "out")]
    (tree / "circle").symlink_to(tree / "circle")
    assert [job.input for job in plan(tree, output=tree / "circle")] == inputs


def test_outputs_below_the_folder_are_never_inputs(tiny_model: Segmenter, colours: None, tree: Path):
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
    with pytest.raises(rvos.MaskError, match="with --frame-masks"):
        plan(tmp_path, frame_masks=tmp_path / "missing")


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


def test_a_picture_that_pillow_refuses_stops_no_other_input(tree: Path, tmp_path: Path):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (2 << 20), zip=True)
    (tree / "odd").mkdir()
    Image.new("RGB", (64, 48)).save(tree / "odd" / "0.png", pnginfo=text)
    with pytest.raises(ValueError), Image.open(tree / "odd" / "0.png"):
        pass
    assert {job.input.name for job in plan(tree, output=tmp_path / "out")} == {"a.MP4", "b.mp4", "shots", "odd"}


def test_what_the_reader_calls_video_the_batch_finds(tree: Path, tmp_path: Path):
    shutil.copy(tree / "day" / "b.mp4", tree / "day" / "c.h265")
    assert "c.h265" in [job.input.name for job in plan(tree, output=tmp_path / "out")]
