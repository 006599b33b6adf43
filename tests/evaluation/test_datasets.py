"""The official layouts on small trees, whole and damaged."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import trees
from PIL import Image

from rvos_cli.errors import DatasetError, InputError, UsageError
from rvos_cli.evaluation import Sequence, load_dataset


def stems(sequence: Sequence) -> list[str]:
    return [path.stem for path in sequence.frames]


def given(sequence: Sequence, *, late: bool) -> dict[int, list[int]]:
    masks = enumerate(sequence.given(late=late))
    return {index: np.unique(mask[mask > 0]).tolist() for index, mask in masks if mask is not None}


def test_davis2017_has_the_sequences_of_the_list_in_its_order(tmp_path: Path) -> None:
    trees.davis2017(tmp_path, names=("cows", "bear"))
    trees.write_frame(tmp_path / "JPEGImages/480p/other/00000.jpg", trees.labels(0))
    data = load_dataset("davis2017", tmp_path)
    assert (data.name, data.split, data.archive_folder) == ("davis2017", "val", "")
    assert [sequence.name for sequence in data.sequences] == ["cows", "bear"]
    assert stems(data.sequences[0]) == [f"{index:05d}" for index in range(trees.FRAMES)]
    assert data.unscorable() == ""
    assert given(data.sequences[0], late=False) == {0: [1, 2]}


def test_frames_are_read_in_order_and_exactly(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    sequence = load_dataset("davis2017", tmp_path).sequences[0]
    images = list(sequence.images())
    assert [image.shape for image in images] == [(trees.HEIGHT, trees.WIDTH, 3)] * trees.FRAMES
    for index, image in enumerate(images):
        assert np.array_equal(np.rint(image[..., 0] / 40), trees.labels(index))


def test_a_damaged_frame_is_named_when_it_is_read(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    (tmp_path / "JPEGImages/480p/bear/00003.jpg").write_bytes(b"no picture")
    images = load_dataset("davis2017", tmp_path).sequences[0].images()
    with pytest.raises(InputError, match=r"00003\.jpg"):
        list(images)


def test_unsupervised_takes_the_annotations_with_void(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    truth = load_dataset("davis2017", tmp_path, task="unsupervised").sequences[0].truth("00000")
    assert truth is not None
    assert truth[-1, -1] == 255
    truth = load_dataset("davis2017", tmp_path).sequences[0].truth("00000")
    assert truth is not None
    assert truth[-1, -1] == 0


def test_without_annotations_with_void_the_others_serve_and_it_is_said(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    shutil.rmtree(tmp_path / "Annotations_unsupervised")
    data = load_dataset("davis2017", tmp_path, task="unsupervised")
    assert data.unscorable() == ""
    assert "no Annotations_unsupervised/480p" in data.notices[0]


def test_the_folder_above_davis_serves_too(tmp_path: Path) -> None:
    trees.davis2017(tmp_path / "DAVIS")
    assert len(load_dataset("davis2017", tmp_path).sequences) == 2


def test_a_test_split_has_first_masks_only_and_cannot_be_scored(tmp_path: Path) -> None:
    trees.davis2017(tmp_path, split="test-dev")
    for path in (tmp_path / "Annotations/480p").glob("*/*.png"):
        if path.stem != "00000":
            path.unlink()
    data = load_dataset("davis2017", tmp_path, split="test-dev")
    assert "davis2017 test-dev" in data.unscorable()
    assert "bear has no true mask for frame 00001" in data.unscorable()
    shutil.rmtree(tmp_path / "Annotations")
    shutil.rmtree(tmp_path / "Annotations_unsupervised")
    (tmp_path / "ImageSets/2019").mkdir()
    (tmp_path / "ImageSets/2019/test-dev.txt").write_text("cows\n")
    data = load_dataset("davis2017", tmp_path, split="test-dev", task="unsupervised")
    assert [sequence.name for sequence in data.sequences] == ["cows"]
    assert data.unscorable()


def test_one_incomplete_sequence_is_told_with_the_number_of_complete_ones(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    (tmp_path / "Annotations/480p/cows/00002.png").unlink()
    reason = load_dataset("davis2017", tmp_path).unscorable()
    assert "cows has no true mask for frame 00002; 1 of 2 sequences are complete" in reason
    assert not load_dataset("davis2017", tmp_path, sequences=["bear"]).unscorable()


def test_davis2016_has_one_object_whatever_the_masks_are(tmp_path: Path) -> None:
    data = load_dataset("davis2016", trees.davis2016(tmp_path))
    sequence = data.sequences[0]
    assert (sequence.name, len(sequence.frames), sequence.merged) == ("bear", trees.FRAMES, True)
    for index in range(trees.FRAMES):
        assert np.array_equal(sequence.truth(f"{index:05d}"), trees.labels(index) > 0)
    assert given(sequence, late=False) == {0: [1]}


def test_davis2016_takes_only_the_frames_of_its_list(tmp_path: Path) -> None:
    trees.davis2016(tmp_path)
    trees.write_frame(tmp_path / "JPEGImages/480p/bear/00099.jpg", trees.labels(9))
    assert len(load_dataset("davis2016", tmp_path).sequences[0].frames) == trees.FRAMES


def test_davis2016_lies_in_davis2017_too(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    (tmp_path / "ImageSets/2016").mkdir()
    (tmp_path / "ImageSets/2016/val.txt").write_text("cows\n")
    sequence = load_dataset("davis2016", tmp_path).sequences[0]
    assert sequence.name == "cows"
    assert np.array_equal(sequence.truth("00001"), trees.labels(1) > 0)


def test_youtube_vos_gives_late_objects_their_own_first_mask(tmp_path: Path) -> None:
    data = load_dataset("youtube-vos", trees.youtube(tmp_path))
    sequence = data.sequences[0]
    assert (data.split, data.archive_folder, data.late_objects) == ("valid", "Annotations", True)
    assert stems(sequence)[0] == "00000"
    assert stems(sequence)[-1] == "00035", "nothing after the last listed frame is needed"
    assert sequence.listed == tuple(f"{5 * index:05d}" for index in range(1, 8))
    assert given(sequence, late=True) == {1: [1], 3: [2]}
    assert "has no true mask for frame 00010" in data.unscorable()


def test_an_object_is_given_once_even_where_every_frame_has_a_mask(tmp_path: Path) -> None:
    trees.youtube(tmp_path, split="train", full=True)
    data = load_dataset("youtube-vos", tmp_path, split="train")
    assert data.unscorable() == ""
    assert given(data.sequences[0], late=True) == {1: [1], 3: [2]}
    assert data.sequences[0].truth("00040") is None


def test_youtube_vos_may_be_named_by_the_split_itself(tmp_path: Path) -> None:
    for split in ("train", "valid", "mine"):
        trees.youtube(tmp_path, split=split)
        data = load_dataset("youtube-vos", tmp_path / split)
        assert (data.split, len(data.sequences)) == (split, 1)
        assert load_dataset("youtube-vos", tmp_path / split, split=split).split == split
    with pytest.raises(DatasetError, match="train is the split train, not valid; name the folder above"):
        load_dataset("youtube-vos", tmp_path / "train", split="valid_all_frames")
    assert load_dataset("youtube-vos", tmp_path / "mine", split="test").split == "test", "a name of somebody's own"


def test_youtube_vos_with_all_frames_lists_the_same_ones(tmp_path: Path) -> None:
    trees.youtube(tmp_path)
    shutil.copytree(tmp_path / "valid/JPEGImages", tmp_path / "valid_all_frames/JPEGImages")
    for index in (6, 11):
        trees.write_frame(
            tmp_path / f"valid_all_frames/JPEGImages/003234408d/{index:05d}.jpg", trees.labels(index // 5, (1,))
        )
    sequence = load_dataset("youtube-vos", tmp_path, split="valid_all_frames").sequences[0]
    assert stems(sequence)[:5] == ["00000", "00005", "00006", "00010", "00011"]
    assert sequence.listed == tuple(f"{5 * index:05d}" for index in range(1, 8))


def test_a_plain_folder_may_hold_several_sequences_or_one(tmp_path: Path) -> None:
    for index in range(3):
        for frames, masks in (("frames/a", "masks/a"), ("frames/b", "masks/b")):
            trees.write_frame(tmp_path / "several" / frames / f"shot{index + 9}.png", trees.labels(index))
            trees.write_mask(tmp_path / "several" / masks / f"shot{index + 9}.png", trees.labels(index))
        trees.write_frame(tmp_path / "one/frames" / f"{index}.jpg", trees.labels(index))
        trees.write_mask(tmp_path / "one/masks" / f"{index}.png", trees.labels(index))
    several = load_dataset("folder", tmp_path / "several")
    assert [sequence.name for sequence in several.sequences] == ["a", "b"]
    assert stems(several.sequences[0]) == ["shot9", "shot10", "shot11"]
    one = load_dataset("folder", tmp_path / "one")
    assert [sequence.name for sequence in one.sequences] == ["one"]
    assert one.unscorable() == ""


def test_a_plain_folder_is_scored_where_it_has_masks(tmp_path: Path) -> None:
    for index in range(6):
        trees.write_frame(tmp_path / f"frames/{index}.jpg", trees.labels(index))
    trees.write_mask(tmp_path / "masks/0.png", trees.labels(0))
    data = load_dataset("folder", tmp_path)
    assert "has too few true masks here (" in data.unscorable() and data.unscorable().endswith(" has 1)")
    assert "--sequences, or write the masks with --submission" in str(data.useless())
    assert load_dataset("folder", tmp_path, task="unsupervised").unscorable() == "", (
        "where no mask is given one will do"
    )
    trees.write_mask(tmp_path / "masks/3.png", trees.labels(3))
    data = load_dataset("folder", tmp_path)
    assert data.unscorable() == ""
    assert data.sequences[0].scored == ("0", "3")
    assert len(data.sequences[0].listed) == 6


def test_a_davis_tree_without_lists_is_a_plain_folder(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    shutil.rmtree(tmp_path / "ImageSets")
    assert [sequence.name for sequence in load_dataset("folder", tmp_path).sequences] == ["bear", "cows"]
    truth = load_dataset("folder", tmp_path, task="unsupervised").sequences[0].truth("00000")
    assert truth is not None
    assert truth[-1, -1] == 255


@pytest.mark.parametrize(
    ("name", "missing", "told"),
    [
        ("davis2017", "JPEGImages", "JPEGImages/480p is missing"),
        ("davis2017", "Annotations", "Annotations/480p is missing"),
        ("davis2017", "JPEGImages/480p/cows", "JPEGImages/480p/cows is missing"),
        ("davis2017", "Annotations/480p/cows", "Annotations/480p/cows is missing"),
        ("davis2017", "ImageSets", "ImageSets/2017/val.txt is missing"),
        ("davis2016", "ImageSets", "ImageSets/480p/val.txt"),
        ("youtube-vos", "valid", "valid is missing"),
        ("youtube-vos", "valid/JPEGImages", "valid/JPEGImages is missing"),
        ("youtube-vos", "valid/Annotations", "valid/Annotations is missing"),
        ("youtube-vos", "valid/Annotations/003234408d", "Annotations/003234408d is missing"),
        ("youtube-vos", "valid/meta.json", "meta.json is missing"),
    ],
)
def test_a_wrong_root_says_what_is_missing_and_what_should_be_there(
    tmp_path: Path, name: str, missing: str, told: str
) -> None:
    {"davis2017": trees.davis2017, "davis2016": trees.davis2016, "youtube-vos": trees.youtube}[name](tmp_path)
    path = tmp_path / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, tmp_path)
    assert told in str(caught.value)
    assert "the layout of" in str(caught.value)
    assert "<frame>.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_split_says_which_there_are(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    with pytest.raises(DatasetError, match=r"train\.txt is missing; there are the splits val"):
        load_dataset("davis2017", tmp_path, split="train")


def test_missing_frames_masks_and_sequences_are_named(tmp_path: Path) -> None:
    trees.davis2017(tmp_path / "a")
    with pytest.raises(DatasetError, match=r"no sequence swan in davis2017 val; there are bear, cows"):
        load_dataset("davis2017", tmp_path / "a", sequences=["swan"])
    trees.davis2016(tmp_path / "b")
    (tmp_path / "b/JPEGImages/480p/bear/00002.jpg").unlink()
    with pytest.raises(DatasetError, match="no frame 00002"):
        load_dataset("davis2016", tmp_path / "b")
    trees.youtube(tmp_path / "c")
    (tmp_path / "c/valid/JPEGImages/003234408d/00020.jpg").unlink()
    with pytest.raises(DatasetError, match="no frame 00020"):
        load_dataset("youtube-vos", tmp_path / "c")
    (tmp_path / "a/JPEGImages/480p/bear/00002.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds 00002\.jpg and 00002\.png"):
        load_dataset("davis2017", tmp_path / "a")


@pytest.mark.parametrize("text", ["{", "[]", '{"videos": {"a": {}}}', '{"videos": {"a": {"objects": {"1": 3}}}}'])
def test_a_damaged_meta_file_is_named(tmp_path: Path, text: str) -> None:
    trees.youtube(tmp_path)
    (tmp_path / "valid/meta.json").write_text(text)
    with pytest.raises(DatasetError, match=r"meta\.json cannot be read"):
        load_dataset("youtube-vos", tmp_path)


def test_a_meta_file_without_frames_lists_all(tmp_path: Path) -> None:
    trees.youtube(tmp_path)
    (tmp_path / "valid/meta.json").write_text(json.dumps({"videos": {"003234408d": {"objects": {"1": {}}}}}))
    assert len(load_dataset("youtube-vos", tmp_path).sequences[0].listed) == 9


def test_plain_folders_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no folder"):
        load_dataset("folder", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="has no folder JPEGImages/480p or JPEGImages or frames"):
        load_dataset("folder", tmp_path)
    (tmp_path / "frames").mkdir()
    with pytest.raises(DatasetError, match="has frames, but no masks"):
        load_dataset("folder", tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(DatasetError, match="holds no folder of images"):
        load_dataset("folder", tmp_path)
    trees.write_frame(tmp_path / "frames/0.jpg", trees.labels(0))
    trees.write_mask(tmp_path / "masks/1.png", trees.labels(0))
    with pytest.raises(DatasetError, match="has no frame of its name"):
        load_dataset("folder", tmp_path)
    with pytest.raises(UsageError, match="no splits"):
        load_dataset("folder", tmp_path, split="val")
    with pytest.raises(UsageError, match="no such data set"):
        load_dataset("davis", tmp_path)


def test_folders_that_the_system_does_not_open_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="is no folder"):
        load_dataset("davis2017", tmp_path / ("long" * 99))  # Path.is_dir() raises as it does behind a locked folder
    trees.davis2017(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", refuse)
    for name in ("davis2017", "folder"):
        with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\); check who may read it"):
            load_dataset(name, tmp_path)


def test_an_empty_list_and_a_mask_in_colour_are_named(tmp_path: Path) -> None:
    trees.davis2017(tmp_path)
    Image.new("RGB", (trees.WIDTH, trees.HEIGHT)).save(tmp_path / "Annotations/480p/bear/00000.png")
    with pytest.raises(DatasetError, match="has mode RGB"):
        load_dataset("davis2017", tmp_path).sequences[0].truth("00000")
    (tmp_path / "ImageSets/2017/val.txt").write_text("\n\n")
    with pytest.raises(DatasetError, match="names no sequence"):
        load_dataset("davis2017", tmp_path)
