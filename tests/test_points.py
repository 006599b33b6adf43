"""Points and prompts: how they are given, what is refused, and what each object is told."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import rvos_cli as rvos
from rvos_cli.points import read_points, shown_point
from rvos_cli.prompts import Prompt, read_prompts


def test_points_are_numbered_in_order_and_those_of_a_mapping_keep_their_ids():
    assert read_points([(1, 2), [3.5, 4]]) == {1: ((1, 2),), 2: ((3.5, 4),)}
    assert read_points({7: (1, 2), np.int64(3): [(0, 0), (5, 6)]}) == {7: ((1, 2),), 3: ((0, 0), (5, 6))}
    assert read_points(iter([(1, 2), iter(["3", "4"]), map(iter, [(5, 6), (7, 8)])])) == {
        1: ((1, 2),),
        2: ((3, 4),),
        3: ((5, 6), (7, 8)),
    }


def test_an_object_may_have_several_points_and_some_may_be_on_none():
    assert read_points([[(1, 2), (3, 4)], (5, 6)]) == {1: ((1, 2), (3, 4)), 2: ((5, 6),)}
    assert read_points({0: [(1, 2), (3, 4)]}) == {0: ((1, 2), (3, 4))}


@pytest.mark.parametrize("rows", [np.array([[1, 2], [3, 4]], np.float32), torch.tensor([[1, 2], [3, 4]])])
def test_arrays_are_taken_as_lists(rows: object):
    assert read_points(rows) == {1: ((1, 2),), 2: ((3, 4),)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("1,2", "the points are '1,2'"),
        (7, "the points are 7"),
        (np.array(7), r"the points are array\(7\)"),
        ((1, 2), "1 is no point"),
        ([(1, 2, 3)], r"\[1, 2, 3\] is no point"),
        ([(10**400, 1)], "is no point"),
        ([[(1, 2), (3,)]], r"\(3,\) is no point"),
        ([[(1, 2), 3]], r"\[\(1, 2\), 3\] is no point"),
        (["12"], "'12' is no point"),
        ([("1", None)], "is no point"),
        ([(1, float("nan"))], "is no point"),
        ([(1, float("inf"))], "is no point"),
        ([None], "None is no point"),
        ([[]], "a list of points is empty"),
        ({-1: (1, 2)}, "points have the id -1"),
        ({255: (1, 2)}, "points have the id 255"),
        ({"a": (1, 2)}, "points have the id 'a'"),
        ({True: (1, 2)}, "points have the id True"),
        ({torch.tensor(3): (1, 2), torch.tensor(3): (5, 6)}, "two lists of points have the id 3"),
    ],
)
def test_what_is_no_point_is_refused_in_one_line(given: object, says: str):
    with pytest.raises(rvos.UsageError, match=says) as caught:
        read_points(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


def test_the_points_of_all_others_are_beside_an_object():
    told = read_prompts(None, {0: (1, 1), 4: [(2, 2), (3, 3)], 9: (4, 4)})
    assert told == {
        4: Prompt(on=((2, 2), (3, 3)), beside=((1, 1), (4, 4))),
        9: Prompt(on=((4, 4),), beside=((1, 1), (2, 2), (3, 3))),
    }


def test_a_box_and_points_of_one_id_tell_of_one_object():
    boxes = {1: (0, 0, 9, 9), 2: (5, 5, 8, 8)}
    told = read_prompts(boxes, {2: (6, 6), 3: (1, 2)})
    assert told[1] == Prompt(box=(0, 0, 9, 9), beside=((6, 6), (1, 2)))
    assert told[2] == Prompt(box=(5, 5, 8, 8), on=((6, 6),), beside=((1, 2),))
    assert told[3] == Prompt(on=((1, 2),), beside=((6, 6),))
    assert read_prompts([(0, 0, 9, 9)], {0: (3, 3)}) == {1: Prompt(box=(0, 0, 9, 9), beside=((3, 3),))}
    assert read_prompts([(0, 0, 9, 9)], None) == {1: Prompt(box=(0, 0, 9, 9))}


@pytest.mark.parametrize("points", [[], {}, {0: (1, 2)}])
def test_something_has_to_be_on_an_object(points: object):
    with pytest.raises(rvos.UsageError, match="there is no point on an object"):
        read_prompts(None, points)  # type: ignore[arg-type]
    with pytest.raises(rvos.UsageError, match="neither a box nor a point"):
        read_prompts(None, None)


@pytest.mark.parametrize("point", [(-0.1, 5), (200.1, 5), (5, -1), (5, 100.5)])
def test_a_point_beside_the_frame_is_refused(point: tuple[float, float]):
    says = f"the point {re.escape(shown_point(point))} lies outside of the frame, which is 200x100"
    for prompt in (Prompt(on=(point,)), Prompt(box=(0, 0, 9, 9), beside=((5, 5), point))):
        with pytest.raises(rvos.MaskError, match=says):
            prompt.require_within((100, 200))


def test_points_on_the_border_and_boxes_across_it_are_in_the_frame():
    Prompt(box=(-5, -5, 3, 3), on=((0, 0), (200, 100)), beside=((200, 0),)).require_within((100, 200))
    with pytest.raises(rvos.MaskError, match="the box 200,0,210,9 lies outside"):
        Prompt(box=(200, 0, 210, 9)).require_within((100, 200))


def test_a_prompt_is_named_after_its_box_or_its_first_point():
    assert str(Prompt(on=((1, 2.5), (3, 4)))) == "the point 1,2.5"
    assert str(Prompt(box=(1, 2, 3, 4), on=((1, 2.5),))) == "the box 1,2,3,4"
