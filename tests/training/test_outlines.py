"""Outlines that were drawn by hand: read from their file, and filled in a mask of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from merged_clip import SIZE, left, outline, truth

from rvos_cli.errors import DatasetError
from rvos_cli.training.known_sets import MERGED_CLIPS
from rvos_cli.training.outlines import divide_mask, read_outlines


def test_outlines_fit_frames_of_another_size():
    union = truth(1) > 0
    drawn = outline(2, 1)
    large = union.repeat(2, axis=0).repeat(2, axis=1)
    one, other = (divide_mask(mask, (drawn,), SIZE, "mask") for mask in (union, large))
    assert np.array_equal(one, truth(1))
    assert np.mean(other != one.repeat(2, axis=0).repeat(2, axis=1)) < 0.01


def test_the_first_outline_of_a_pixel_gets_it():
    found = divide_mask(truth(1) > 0, (outline(255, 1, 0, 9), outline(3, 1, 5, 19), outline(2, 1)), SIZE, "mask")
    row = found[50, left(1) : left(1) + 31]
    assert row.tolist() == [255] * 10 + [3] * 10 + [2] * 10 + [1]


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"size": [160, 96]}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 0, "polygon": [[1, 1], [2, 2], [3, 1]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 2, "polygon": [[1, 1], [2, 2]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 2, "polygon": [[1, 1], [2, 2], [161, 1]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": []}}}',
    ],
)
def test_a_file_of_outlines_that_is_none_is_named(tmp_path: Path, text: str):
    (tmp_path / "outlines.json").write_text(text)
    with pytest.raises(DatasetError, match=r"outlines"):
        read_outlines(tmp_path / "outlines.json")


def test_the_outlines_of_the_package_are_of_merged_clips_and_within_their_frames():
    shipped = read_outlines()
    assert shipped.size == (480, 270)
    assert len(shipped.clips) == 9 and shipped.clips.keys() <= MERGED_CLIPS
    for frames in shipped.clips.values():
        assert len(frames) >= 2
        drawn = [one for outlines in frames.values() for one in outlines]
        assert {one.object for one in drawn} <= {1, 2, 3, 4, 255}
        assert all(0 <= x <= 480 and 0 <= y <= 270 for one in drawn for x, y in one.polygon)
