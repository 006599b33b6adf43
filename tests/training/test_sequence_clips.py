"""Clips of data sets in the official layouts: a sequence enters, frames and numbered labels of one size leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trees

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.datasets import load_dataset
from rvos_cli.training.sequence_clips import SequenceClips, clip_map, number_objects


def clips(root: Path, **changes) -> SequenceClips:
    sequences = load_dataset("davis2017", root, split="train").sequences
    return SequenceClips(sequences, **{"height": 64, "width": 96, "frames": 3, **changes})


def test_a_clip_has_the_item_format_and_depends_on_seed_and_index_alone(davis: Path):
    one, again, other = clips(davis)[7], clips(davis)[7], clips(davis, seed=1)[7]
    assert one["frames"].shape == (3, 3, 64, 96) and one["frames"].dtype == torch.uint8
    assert one["labels"].shape == (3, 64, 96) and one["labels"].dtype == torch.uint8
    assert not bool(one["complete"])
    assert torch.equal(one["frames"], again["frames"]) and torch.equal(one["labels"], again["labels"])
    assert not torch.equal(one["frames"], other["frames"])


@pytest.mark.parametrize("augment", [False, True])
def test_labels_lie_where_their_things_are(davis: Path, augment: bool):
    for index in range(6):
        clip = clips(davis, augment=augment)[index]
        shown = torch.round(clip["frames"][:, 0].float() / 40)
        assert float((shown == clip["labels"]).float().mean()) > 0.9
        assert clip["labels"][0].any()


def test_every_sequence_comes_once_a_round(davis: Path):
    dataset = clips(davis)
    rounds = [{dataset._which(2 * k), dataset._which(2 * k + 1)} for k in range(5)]
    assert rounds == [{0, 1}] * 5


def test_without_augmentation_a_clip_is_the_frames_resized(davis: Path):
    mapped = clip_map(np.random.default_rng(0), (48, 64), (96, 128), augment=False)
    assert mapped @ [0, 0, 1] == pytest.approx([0, 0, 1])
    assert mapped @ [128, 96, 1] == pytest.approx([64, 48, 1])


def test_objects_of_the_first_frame_are_numbered_first_and_the_surplus_is_unknown():
    labels = np.zeros((2, 4, 8), np.uint8)
    labels[0, 0, :4], labels[0, 1, :2], labels[0, 2, :1], labels[1, 3, :3] = 9, 5, 7, 2
    labels[0, 3, 7] = 255
    assert number_objects(labels, 4)[0, :3, 0].tolist() == [3, 1, 2]
    assert number_objects(labels, 4)[1, 3, 0] == 4
    few = number_objects(labels, 2)
    assert few[0, :3, 0].tolist() == [2, 1, 255]
    assert few[1, 3, 0] == 255 and few[0, 3, 7] == 255


def test_youtube_clips_take_only_frames_with_masks(tmp_path: Path):
    root = trees.youtube(tmp_path, split="train", full=True)
    sequences = load_dataset("youtube-vos", root, split="train").sequences
    dataset = SequenceClips(sequences, height=64, width=96, frames=5)
    assert [path.stem for path in dataset.sequences[0][1]] == [f"{5 * i:05d}" for i in range(1, 8)]
    assert int(dataset[0]["labels"].max()) == 2


def test_a_split_without_masks_is_named(tmp_path: Path):
    root = trees.youtube(tmp_path)
    with pytest.raises(DatasetError, match="none of 1 sequences has 5 frames with true masks"):
        SequenceClips(load_dataset("youtube-vos", root).sequences)


def test_white_masks_are_one_object(tmp_path: Path):
    for index in range(3):
        shown = trees.labels(index, (1,))
        trees.write_frame(tmp_path / "frames" / "a" / f"{index}.jpg", shown)
        trees.write_mask(tmp_path / "masks" / "a" / f"{index}.png", shown * 255)
    dataset = SequenceClips(load_dataset("folder", tmp_path).sequences, height=64, width=96, frames=2)
    assert dataset[0]["labels"].unique().tolist() == [0, 1]
