"""Clips that were taken apart, in the library: they come beside the merged ones, which then come less often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from merged_clip import FRAMES, NAME, add_clip, stem, truth

from rvos_cli.errors import DatasetError
from rvos_cli.masks import write_indexed_png
from rvos_cli.training.datasets import ClipDataset
from rvos_cli.training.known_sets import DIVIDED_FAVOUR, MERGED_FAVOUR
from rvos_cli.training.library import Library, open_library


def divided(data_root: Path, folder: Path) -> Library:
    """The small data folder with one merged clip, which is divided."""
    add_clip(data_root)
    for index in range(FRAMES):
        (folder / NAME).mkdir(parents=True, exist_ok=True)
        write_indexed_png(folder / NAME / f"{stem(index)}.png", truth(index))
    return open_library(data_root, parts=folder)


def test_a_divided_clip_comes_a_second_time_with_its_parts(data_root: Path, tmp_path: Path):
    found = divided(data_root, tmp_path / "parts")
    names = ["davis2016/bmx-bumps", "davis2016/box", "davis2016/bmx-bumps, divided", "ytvos_ffvi/three"]
    assert [clip.name for clip in found.sequences] == names
    merged, _, parts, _ = found.sequences
    assert merged.merged and not merged.complete and not merged.divided
    assert parts.complete and parts.divided and not parts.merged
    assert parts.images == merged.images and len(parts.masks) == FRAMES
    assert np.array_equal(found.labels(parts.masks[2]), truth(2))


@pytest.mark.parametrize("favour", [DIVIDED_FAVOUR, 0.8])
def test_merged_clips_are_drawn_less_often_once_there_are_divided_ones(favour: float, data_root: Path, tmp_path: Path):
    found = replace(divided(data_root, tmp_path / "parts"), divided_favour=favour)
    rng = np.random.default_rng(0)
    drawn = [found.draw_sequence(rng).name for _ in range(4000)]
    counts = {clip.name: drawn.count(clip.name) for clip in found.sequences}
    assert counts[NAME] / counts["davis2016/box"] == pytest.approx(MERGED_FAVOUR, rel=0.15)
    assert counts[f"{NAME}, divided"] / counts["davis2016/box"] == pytest.approx(favour, rel=0.15)
    assert counts["ytvos_ffvi/three"] / counts["davis2016/box"] == pytest.approx(1, rel=0.15)


def test_without_divided_clips_all_is_as_it_was(data_root: Path, tmp_path: Path):
    divided(data_root, tmp_path / "parts")
    found = open_library(data_root)
    lengths = np.array([min(2.0, len(clip.images) / 20) for clip in found.sequences])
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(200):
        place = int(other.choice(len(lengths), p=lengths / lengths.sum()))
        assert found.draw_sequence(one) is found.sequences[place]
    empty = open_library(data_root, parts=tmp_path / "nothing")
    assert empty.sequences == found.sequences
    clips, again = (ClipDataset(data_root, height=48, width=80, parts=p) for p in (None, tmp_path / "nothing"))
    assert all(torch.equal(clips[index]["frames"], again[index]["frames"]) for index in range(8))


def test_a_divided_clip_without_all_its_masks_is_named(data_root: Path, tmp_path: Path):
    divided(data_root, tmp_path / "parts")
    (tmp_path / "parts" / NAME / f"{stem(3)}.png").unlink()
    with pytest.raises(DatasetError, match=r"lacks .*00006\.png; remove .*bmx-bumps"):
        open_library(data_root, parts=tmp_path / "parts")


def test_hidden_files_and_folders_are_left_alone(data_root: Path):
    before = open_library(data_root)
    train = data_root / "train"
    for folder in ("clips/.trash/old", "clips/davis2016/.thumbs", "pairs/.old"):
        (train / folder).mkdir(parents=True)
    for path in ("clips/davis2016/box/._1.jpg", "clips/.trash/old/1.jpg", "backgrounds/free/hills/._scene.jpg"):
        (train / path).write_bytes(b"of a file manager")
    after = open_library(data_root)
    assert (after.sequences, after.photographs, after.backgrounds) == (
        before.sequences,
        before.photographs,
        before.backgrounds,
    )
