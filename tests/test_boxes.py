"""Boxes: how they are given, what is refused, and what is looked at around them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import rvos_cli as rvos
from rvos_cli.boxes import Box, pixels_of, read_boxes, shown, window


def test_boxes_are_numbered_in_order_and_those_of_a_mapping_keep_their_ids():
    assert read_boxes([(1, 2, 3, 4), [5, 6, 7.5, 8]]) == {1: (1, 2, 3, 4), 2: (5, 6, 7.5, 8)}
    assert read_boxes({7: (1, 2, 3, 4), np.int64(3): (0, 0, 1, 1)}) == {7: (1, 2, 3, 4), 3: (0, 0, 1, 1)}
    assert read_boxes(iter([(1, 2, 3, 4)])) == {1: (1, 2, 3, 4)}


@pytest.mark.parametrize("rows", [np.array([[1, 2, 3, 4]], np.float32), torch.tensor([[1, 2, 3, 4]])])
def test_what_detectors_return_is_taken_as_it_is(rows: object):
    assert read_boxes(rows) == {1: (1, 2, 3, 4)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "there is no box"),
        ({}, "there is no box"),
        ("1,2,3,4", "the boxes are '1,2,3,4'"),
        (7, "the boxes are 7"),
        ((1, 2, 3, 4), "1 is no box"),
        ([(1, 2, 3)], r"\(1, 2, 3\) is no box"),
        ([(1, 2, 3, 4, 0.9, 7)], "is no box"),
        (["1234"], "'1234' is no box"),
        ([np.zeros(500)], "array.*[.]{3} is no box"),
        ([(1, 2, "x", 4)], "is no box"),
        ([None], "None is no box"),
        ([(3, 2, 1, 4)], "the box 3,2,1,4 holds nothing"),
        ([(1, 2, 3, 2)], "the box 1,2,3,2 holds nothing"),
        ([(1, 2, float("nan"), 4)], "the box 1,2,nan,4 holds nothing"),
        ([(1, 2, float("inf"), 4)], "the box 1,2,inf,4 holds nothing"),
        ({0: (1, 2, 3, 4)}, "a box has the id 0"),
        ({255: (1, 2, 3, 4)}, "a box has the id 255"),
        ({"a": (1, 2, 3, 4)}, "a box has the id 'a'"),
        ({True: (1, 2, 3, 4)}, "a box has the id True"),
        ({1.0: (1, 2, 3, 4)}, "a box has the id 1.0"),
        ({torch.tensor(3): (1, 2, 3, 4), torch.tensor(3): (5, 6, 7, 8)}, "two boxes have the id 3"),
        ([(1, 2, 3, 4)] * 255, "a box has the id 255"),
    ],
)
def test_what_is_no_box_is_refused_in_one_line(given: object, says: str):
    with pytest.raises(rvos.UsageError, match=says) as caught:
        read_boxes(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((-5, 2, 300, 9.6), (0, 2, 200, 10)),
        ((10.4, 3.6, 20.4, 7.6), (10, 4, 20, 8)),
        ((10.3, 10.3, 11.3, 11.3), (10, 10, 11, 11)),  # a pixel's size, on none by itself
        ((10.6, 20.6, 10.9, 20.9), (11, 21, 12, 22)),
        ((1.5, 2.5, 3.5, 4.5), (2, 3, 4, 5)),
        ((199.8, 99.9, 500, 500), (199, 99, 200, 100)),
        ((-9, -9, 0.2, 0.2), (0, 0, 1, 1)),
    ],
)
def test_a_box_means_whole_pixels_of_the_frame(box: Box, pixels: tuple[int, int, int, int]):
    assert pixels_of(box, (100, 200)) == pixels


@pytest.mark.parametrize("box", [(200, 0, 210, 9), (-9, 0, 0, 9), (5, 100, 9, 120), (5, -7, 9, -1)])
def test_a_box_beside_the_frame_is_refused(box: Box):
    with pytest.raises(rvos.MaskError, match=f"{re.escape(shown(box))} lies outside of the frame, which is 200x100"):
        pixels_of(box, (100, 200))


def test_the_window_has_the_same_margin_on_all_sides_and_ends_at_the_borders():
    assert window((40, 50, 60, 100), (200, 300), 1) == (slice(50, 100), slice(40, 60))
    margin = (1.5 - 1) / 2 * (20 * 50) ** 0.5
    rows, columns = window((40, 50, 60, 100), (200, 300), 1.5)
    assert (rows.start, rows.stop) == (int(50 - margin), int(100 + margin) + 1)
    assert (columns.start, columns.stop) == (int(40 - margin), int(60 + margin) + 1)
    assert window((0, 0, 300, 200), (200, 300), 9) == (slice(0, 200), slice(0, 300))
