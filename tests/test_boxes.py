"""Boxes: how they are given, what is refused, and what is looked at around them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import rvos_cli as rvos
from rvos_cli.boxes import grid, inside_of, read_boxes, share_inside, shown, window


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
        ([(1, 2, "x", 4)], "is no box"),
        ([None], "None is no box"),
        ([(3, 2, 1, 4)], "the box 3,2,1,4 holds nothing"),
        ([(1, 2, 3, 2)], "the box 1,2,3,2 holds nothing"),
        ([(1, 2, float("nan"), 4)], "the box 1,2,nan,4 holds nothing"),
        ([(1, 2, float("inf"), 4)], "the box 1,2,inf,4 holds nothing"),
        ({0: (1, 2, 3, 4)}, "a box has the id 0"),
        ({255: (1, 2, 3, 4)}, "a box has the id 255"),
        ({"a": (1, 2, 3, 4)}, "a box has the id 'a'"),
        ([(1, 2, 3, 4)] * 255, "a box has the id 255"),
    ],
)
def test_what_is_no_box_is_refused_in_one_line(given: object, says: str):
    with pytest.raises(rvos.UsageError, match=says) as caught:
        read_boxes(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_box_is_cut_at_the_borders_of_the_frame():
    assert inside_of((-5, 2, 300, 9.5), (100, 200)) == (0, 2, 200, 9.5)


@pytest.mark.parametrize("box", [(200, 0, 210, 9), (-9, 0, 0.5, 9), (5, 100.5, 9, 120)])
def test_a_box_beside_the_frame_is_refused(box: tuple[float, float, float, float]):
    with pytest.raises(rvos.MaskError, match=f"{re.escape(shown(box))} holds no pixel of the frame, which is 200x100"):
        inside_of(box, (100, 200))


def test_the_window_has_the_same_margin_on_all_sides_and_ends_at_the_borders():
    assert window((40, 50, 60, 100), (200, 300), 1) == (slice(50, 100), slice(40, 60))
    margin = (1.5 - 1) / 2 * (20 * 50) ** 0.5
    rows, columns = window((40, 50, 60, 100), (200, 300), 1.5)
    assert (rows.start, rows.stop) == (int(50 - margin), int(100 + margin) + 1)
    assert (columns.start, columns.stop) == (int(40 - margin), int(60 + margin) + 1)
    assert window((0, 0, 300, 200), (200, 300), 9) == (slice(0, 200), slice(0, 300))


def test_the_grid_has_the_area_and_the_shape_of_the_window():
    assert grid((100, 100), 320) == (320, 320)
    assert grid((50, 200), 320) == (160, 640)
    height, width = grid((4, 400), 320)
    assert height == 64
    assert width % 32 == 0


def test_pixels_on_the_side_of_a_box_are_inside_in_part():
    share = share_inside((12.5, 10, 16, 14), slice(10, 18), slice(10, 18), (4, 4))
    assert share.tolist() == [[0, 0.75, 1, 0], [0, 0.75, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert share_inside((0, 0, 9, 9), slice(0, 9), slice(0, 9), (5, 7)).min() == 1
