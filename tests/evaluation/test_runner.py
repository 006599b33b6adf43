"""Running a network over whole data sets: what it is given, what is scored, what is submitted."""

import io
import json
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import trees
from PIL import Image

from rvos_cli.config import InferenceOptions
from rvos_cli.errors import DatasetError, OutputError, UsageError
from rvos_cli.evaluation import Dataset, DatasetRun, DatasetScore, Submission, Task, evaluate_folders, load_dataset
from rvos_cli.png import DAVIS_PALETTE
from rvos_cli.segmenter import Segmenter


def run_all(
    network: trees.Oracle | Segmenter, data: Dataset, task: Task = "semi-supervised", path: Path | None = None
) -> DatasetScore | None:
    if path is None:
        return _run(DatasetRun(network, data, task))
    with Submission(path, folder=data.archive_folder) as archive:
        return _run(DatasetRun(network, data, task, submission=archive))


def _run(run: DatasetRun) -> DatasetScore | None:
    for sequence in run.dataset.sequences:
        run.run(sequence)
    return run.result()


def masks_of(path: Path) -> dict[str, trees.Labels]:
    """Read a submission, and check on the way what servers are strict about."""
    masks = {}
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert image.mode == "P"
                assert image.getpalette() == DAVIS_PALETTE.ravel().tolist()
                masks[name] = np.asarray(image)
    return masks


def test_one_shot_gives_the_first_mask_and_scores_by_ids(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path))
    oracle = trees.Oracle()
    score = run_all(oracle, data)
    assert oracle.given == {0: [1, 2]}
    assert score is not None
    assert (score.task, score.jf, len(score.objects)) == ("semi-supervised", 1.0, 4)
    assert score.sequences[0].frames == trees.FRAMES - 2
    score = run_all(trees.Oracle(swapped=True), data)
    assert score is not None
    assert score.jf < 0.1


def test_foreground_merges_what_was_followed(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path), task="foreground")
    score = run_all(trees.Oracle(swapped=True), data, "foreground")
    assert score is not None
    assert (score.jf, len(score.objects)) == (1.0, 2)


def test_zero_shot_matches_found_objects_and_keeps_the_twenty_largest(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path / "data"), task="unsupervised")
    oracle = trees.Oracle(extra=25)
    score = run_all(oracle, data, "unsupervised", tmp_path / "out.zip")
    assert oracle.given == {}
    assert score is not None
    assert (score.task, score.jf) == ("unsupervised", 1.0)
    assert score.sequences[0].frames == trees.FRAMES
    masks = masks_of(tmp_path / "out.zip")
    assert len(masks) == 2 * trees.FRAMES
    assert max(int(mask.max()) for mask in masks.values()) == 20
    assert np.array_equal(masks["bear/00001.png"] >= 19, trees.labels(1) > 0), "the large ones are among them"


def test_few_found_objects_keep_their_ids(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path / "data"), task="unsupervised", sequences=["bear"])

    class Found(trees.Oracle):
        def stream(self, *words, **options):
            for frame in super().stream(*words, **options):
                frame.labels[frame.labels > 0] -= 37
                yield frame

    run_all(Found(), data, "unsupervised", tmp_path / "out.zip")
    assert np.unique(masks_of(tmp_path / "out.zip")["bear/00000.png"]).tolist() == [0, 4, 5]


def test_a_network_knows_how_many_frames_come_and_gets_them_one_by_one(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path), task="unsupervised", sequences=["bear"])
    lengths = []

    class Counting(trees.Oracle):
        def stream(self, frames, **options):
            lengths.append(len(frames))  # a Segmenter looks ahead in what is no live camera
            assert iter(frames) is iter(frames)
            yield from super().stream(frames, **options)

    run_all(Counting(), data, "unsupervised")
    assert lengths == [trees.FRAMES]


@pytest.mark.parametrize("task", ["semi-supervised", "foreground", "unsupervised"])
def test_davis2016_is_scored_as_one_object(tmp_path: Path, task: Task) -> None:
    data = load_dataset("davis2016", trees.davis2016(tmp_path / "data"), task=task)
    score = run_all(trees.Oracle(), data, task, tmp_path / "out.zip")
    assert score is not None
    assert (score.task, score.jf) == ("foreground", 1.0)
    masks = masks_of(tmp_path / "out.zip")
    assert sorted(masks) == [f"bear/{index:05d}.png" for index in range(trees.FRAMES)]
    assert np.array_equal(masks["bear/00003.png"], trees.labels(3) > 0)


def test_a_davis_submission_has_every_frame_at_the_root_and_needs_no_truth(tmp_path: Path) -> None:
    root = trees.davis2017(tmp_path / "data", split="test-dev")
    for path in (root / "Annotations/480p").glob("*/*.png"):
        if path.stem != "00000":
            path.unlink()
    data = load_dataset("davis2017", root, split="test-dev")
    assert run_all(trees.Oracle(), data, path=tmp_path / "out.zip") is None
    masks = masks_of(tmp_path / "out.zip")
    assert sorted(masks) == [f"{name}/{index:05d}.png" for name in ("bear", "cows") for index in range(trees.FRAMES)]
    assert np.array_equal(masks["cows/00004.png"], trees.labels(4))


def test_a_youtube_vos_submission_has_exactly_the_listed_frames(tmp_path: Path) -> None:
    data = load_dataset("youtube-vos", trees.youtube(tmp_path / "data"))
    oracle = trees.Oracle()
    assert run_all(oracle, data, path=tmp_path / "out.zip") is None
    assert oracle.given == {1: [1], 3: [2]}
    masks = masks_of(tmp_path / "out.zip")
    assert sorted(masks) == [f"Annotations/003234408d/{5 * index:05d}.png" for index in range(1, 8)]
    for index in range(1, 8):
        expected = trees.labels(index, (1, 2) if index >= 3 else (1,))
        assert np.array_equal(masks[f"Annotations/003234408d/{5 * index:05d}.png"], expected)


def test_youtube_vos_with_all_masks_is_scored_object_by_object(tmp_path: Path) -> None:
    data = load_dataset("youtube-vos", trees.youtube(tmp_path, split="train", full=True), split="train")
    score = run_all(trees.Oracle(), data)
    assert score is not None
    assert (score.task, score.jf) == ("youtube-vos", 1.0)
    assert [len(entry.region.values) for entry in score.objects] == [6, 4]


def test_late_objects_of_a_plain_folder_are_given_for_the_task_youtube_vos(tmp_path: Path) -> None:
    for index in range(6):
        shown = trees.labels(index, (1, 2) if index > 1 else (1,))
        trees.write_frame(tmp_path / f"frames/{index}.jpg", shown)
        if index != 4:
            trees.write_mask(tmp_path / f"masks/{index}.png", shown)
    data = load_dataset("folder", tmp_path)
    oracle = trees.Oracle()
    score = run_all(oracle, data, "youtube-vos")
    assert oracle.given == {0: [1], 2: [2]}
    assert score is not None
    assert (score.jf, score.sequences[0].frames) == (1.0, 4)
    score = run_all(oracle, data, "semi-supervised")
    assert oracle.given == {0: [1]}
    assert score is not None
    assert [entry.id for entry in score.objects] == [1]


def test_without_truth_or_submission_nothing_is_run(tmp_path: Path) -> None:
    data = load_dataset("youtube-vos", trees.youtube(tmp_path))
    with pytest.raises(DatasetError, match="--submission"):
        DatasetRun(trees.Oracle(), data, "semi-supervised")


def test_a_first_mask_without_objects_is_named_before_anything_is_run(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    trees.write_mask(tmp_path / "Annotations/480p/cows/00000.png", trees.labels(0, ()))
    with pytest.raises(DatasetError, match="cows: the first true mask has no object"):
        DatasetRun(trees.Oracle(), load_dataset("davis2017", tmp_path), "semi-supervised")


@pytest.mark.parametrize("task", ["semi-supervised", "foreground"])
def test_too_few_true_masks_are_named_before_anything_is_run(tmp_path: Path, task: Task) -> None:
    for index in range(4):
        for name in ("long", "short"):
            trees.write_frame(tmp_path / f"frames/{name}/{index}.jpg", trees.labels(index))
            if index < 2 or name == "long":
                trees.write_mask(tmp_path / f"masks/{name}/{index}.png", trees.labels(index))
    data = load_dataset("folder", tmp_path, task=task)
    with pytest.raises(
        DatasetError, match=f"short has 2 true masks, of which the task {task} scores none.*--sequences"
    ):
        DatasetRun(trees.Oracle(), data, task)
    assert DatasetRun(trees.Oracle(), data, "unsupervised").score
    score = run_all(trees.Oracle(), load_dataset("folder", tmp_path, task=task, sequences=["long"]), task)
    assert score is not None and score.jf == 1.0


@pytest.mark.parametrize("task", ["semi-supervised", "unsupervised", "youtube-vos"])
def test_true_masks_of_another_size_are_named_before_anything_is_run(tmp_path: Path, task: Task) -> None:
    for name in ("bear", "cows"):
        for index in range(3):
            shown = trees.labels(index)
            trees.write_frame(tmp_path / f"frames/{name}/{index}.jpg", shown)
            trees.write_mask(tmp_path / f"masks/{name}/{index}.png", shown if name == "bear" else shown[:40])
    data = load_dataset("folder", tmp_path, task=task)
    with pytest.raises(
        DatasetError, match=r"cows.0\.png is 64x40, its frame 64x48; true masks need the size of the fr"
    ):
        DatasetRun(trees.Oracle(), data, task)
    trees.write_mask(tmp_path / "masks/cows/0.png", trees.labels(0).T)  # as that of a frame with an orientation tag
    assert DatasetRun(trees.Oracle(), data, task).score
    (tmp_path / "frames/cows/0.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"0\.jpg cannot be read"):
        DatasetRun(trees.Oracle(), data, task)


def test_a_single_true_mask_is_too_few_for_youtube_vos(tmp_path: Path) -> None:
    trees.youtube(tmp_path, split="train")
    objects = {"1": {"frames": ["00005"]}}
    (tmp_path / "train/meta.json").write_text(json.dumps({"videos": {"003234408d": {"objects": objects}}}))
    data = load_dataset("youtube-vos", tmp_path, split="train")
    with pytest.raises(DatasetError, match="has 1 true mask, of which the task youtube-vos scores none: it needs 2"):
        DatasetRun(trees.Oracle(), data, "semi-supervised")


def test_masks_of_0_and_255_are_no_objects_of_youtube_vos_and_that_is_said_before_anything_is_run(
    tmp_path: Path,
) -> None:
    def write(index: int, mask: trees.Labels) -> None:
        trees.write_frame(tmp_path / f"frames/{index}.jpg", trees.labels(index))
        trees.write_mask(tmp_path / f"masks/{index}.png", mask)

    write(0, np.zeros_like(trees.labels(0)))
    for index in (1, 2, 3):
        write(index, np.where(trees.labels(index) > 0, 255, 0).astype(np.uint8))
    with pytest.raises(DatasetError, match="need the task foreground"):
        DatasetRun(trees.Oracle(), load_dataset("folder", tmp_path), "youtube-vos")
    for index in (2, 3):
        write(index, trees.labels(index))
    score = run_all(trees.Oracle(), load_dataset("folder", tmp_path), "youtube-vos")
    assert score is not None and len(score.objects) == 2


def test_options_reach_the_network_and_time_and_frames_are_counted(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path))
    oracle, seen = trees.Oracle(), []
    run = DatasetRun(oracle, data, "semi-supervised", options=InferenceOptions(size=96, threshold=0.4))
    run.run(data.sequences[0], progress=lambda done, total: seen.append((done, total)))
    assert oracle.options == {"size": 96, "max_objects": 10, "threshold": 0.4}
    assert seen[-1] == (trees.FRAMES, trees.FRAMES)
    assert run.frames == trees.FRAMES
    assert run.seconds > 0


def test_a_real_network_follows_late_objects_into_a_submission(tmp_path: Path, tiny_model: Segmenter) -> None:
    data = load_dataset("youtube-vos", trees.youtube(tmp_path / "data"))
    run_all(tiny_model, data, path=tmp_path / "out.zip")
    masks = masks_of(tmp_path / "out.zip")
    assert len(masks) == 7
    assert {mask.shape for mask in masks.values()} == {(trees.HEIGHT, trees.WIDTH)}
    entered = masks["Annotations/003234408d/00015.png"]
    assert np.array_equal(entered == 2, trees.labels(3) == 2), "its first mask is given, so it is exact"
    assert not (masks["Annotations/003234408d/00010.png"] == 2).any()


@pytest.mark.parametrize("task", ["semi-supervised", "unsupervised", "foreground"])
def test_the_submission_scores_what_the_run_scored(tmp_path: Path, tiny_model: Segmenter, task: Task) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path / "data", names=("bear",)), task=task)
    score = run_all(tiny_model, data, task, tmp_path / "out.zip")
    with ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "out")
    assert evaluate_folders(tmp_path / "out", tmp_path / "data", task) == score


def test_a_failure_leaves_no_zip_and_no_reader(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path / "data"))
    (tmp_path / "data/Annotations/480p/cows/00003.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"00003\.png"):
        run_all(trees.Oracle(), data, path=tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_earlier_zip_is_kept_unless_force_is_given(tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        Submission(tmp_path / "out.zip")
    with pytest.raises(ZeroDivisionError), Submission(tmp_path / "out.zip", force=True):
        raise ZeroDivisionError
    assert (tmp_path / "out.zip").read_bytes() == b"mine"
    with Submission(tmp_path / "out.zip", force=True) as archive:
        archive.write("a", "0", trees.labels(0))
    assert list(masks_of(tmp_path / "out.zip")) == ["a/0.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_two_submissions_of_one_name_do_not_meet_and_the_later_one_keeps_its_masks(tmp_path: Path) -> None:
    early, late = Submission(tmp_path / "out.zip"), Submission(tmp_path / "out.zip")
    with pytest.raises(OutputError, match=r"out\.zip has appeared meanwhile; .* in .*out-\w+\.zip"), late:
        with early:
            early.write("early", "0", trees.labels(0))
            late.write("late", "0", trees.labels(0))
        late.write("late", "1", trees.labels(1))
    assert list(masks_of(tmp_path / "out.zip")) == ["early/0.png"]
    (other,) = (path for path in tmp_path.iterdir() if path.name != "out.zip")
    assert list(masks_of(other)) == ["late/0.png", "late/1.png"]


def test_a_name_that_is_taken_meanwhile_is_replaced_with_force(tmp_path: Path) -> None:
    with Submission(tmp_path / "out.zip", force=True) as archive:
        archive.write("a", "0", trees.labels(0))
        (tmp_path / "out.zip").write_bytes(b"another")
    assert list(masks_of(tmp_path / "out.zip")) == ["a/0.png"]


def test_the_same_masks_give_the_same_zip(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        with Submission(tmp_path / "new" / name, folder="Annotations") as archive:
            archive.write("v", "00000", trees.labels(0))
    assert (tmp_path / "new/a.zip").read_bytes() == (tmp_path / "new/b.zip").read_bytes()


def test_places_and_names_that_cannot_be_a_zip_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name a file that ends in \.zip"):
        Submission(tmp_path / "out.tar")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"), Submission(tmp_path / "file" / "out.zip"):
        pass


def test_reading_stops_with_whoever_reads(tmp_path: Path) -> None:
    data = load_dataset("davis2017", trees.davis2017(tmp_path))
    with closing(data.sequences[0].images()) as images:
        next(images)
    assert list(images) == []
