"""How far an object at points reaches: parts to look at, pieces of masks, boxes."""

from __future__ import annotations

import numpy as np
import pytest

from rvos_cli.extents import Bounds, box_of, ends_in, part_around, pieces_at

BOUNDS: Bounds = ((10, 110), (0, 200))  # between two bars


@pytest.mark.parametrize(
    ("points", "scale", "part"),
    [
        ([(100, 60)], 0.25, (slice(48, 73), slice(75, 125))),
        ([(100, 60)], 1.0, (slice(10, 110), slice(0, 200))),
        ([(3, 108)], 0.25, (slice(85, 110), slice(0, 50))),  # beside the borders it is as large
        ([(199, 11)], 0.5, (slice(10, 60), slice(100, 200))),
        ([(50, 60), (150, 60)], 0.25, (slice(48, 73), slice(25, 175))),  # all points are in it
        ([(0, 10), (200, 110)], 0.25, (slice(10, 110), slice(0, 200))),
    ],
)
def test_a_part_has_the_points_in_its_middle_as_far_as_there_is_room(points, scale, part):
    found = part_around(points, BOUNDS, scale)
    for side, wanted in zip(found, part, strict=True):
        assert (side.start, side.stop) == pytest.approx((wanted.start, wanted.stop), abs=1)
        assert side.stop - side.start == wanted.stop - wanted.start


def test_a_part_is_never_empty():
    rows, columns = part_around([(0.2, 0.1)], ((0, 1), (0, 3)), 0.125)
    assert (rows, columns) == (slice(0, 1), slice(0, 1))


def three_pieces() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[2:6, 2:6] = mask[6, 6] = mask[10:14, 10:14] = mask[2:6, 20:26] = True
    return mask


@pytest.mark.parametrize(
    ("points", "pieces"),
    [
        ([(104, 54)], [(54, 104)]),
        ([(106.5, 56.5)], [(54, 104)]),  # what touches at a corner is one piece
        ([(104, 54), (122, 53)], [(54, 104), (54, 122)]),
        ([(104, 54), (118, 68)], [(54, 104)]),  # a point on nothing names nothing
        ([(115, 65)], [(62, 112)]),  # unless all are, and then the nearest piece
        ([(0, 0)], [(54, 104)]),
        ([(500, 500)], [(54, 122)]),
        ([(111, 52)], [(54, 104)]),  # another one is right below, but farther
    ],
)
def test_the_pieces_with_points_are_the_objects(points, pieces):
    mask = three_pieces()
    place = slice(50, 70), slice(100, 130)
    kept = pieces_at(mask, points, place)
    for y, x in [(54, 104), (62, 112), (54, 122)]:
        assert kept[y - 50, x - 100] == ((y, x) in pieces)
    assert not (kept & ~mask).any()


def test_pieces_close_to_those_with_points_are_the_objects_too():
    place = slice(0, 40), slice(0, 60)
    behind_a_pole = np.zeros((40, 60), bool)
    behind_a_pole[10:30, 10:20] = behind_a_pole[10:30, 23:33] = behind_a_pole[10:30, 40:50] = True
    kept = pieces_at(behind_a_pole, [(15, 20)], place)  # whose box is 10 by 20, so that 2.8 is close
    assert np.flatnonzero(kept.any(axis=0)).tolist() == [*range(10, 20)]
    behind_a_pole[10:30, 21:23] = True
    kept = pieces_at(behind_a_pole, [(15, 20)], place)
    assert np.flatnonzero(kept.any(axis=0)).tolist() == [*range(10, 20), *range(21, 33)]


def test_a_mask_in_one_piece_or_none_stays_as_it_is():
    place = slice(0, 20), slice(0, 30)
    for mask in (np.zeros((20, 30), bool), three_pieces() & (np.arange(30) > 15)):
        assert (pieces_at(mask, [(1, 1)], place) == mask).all()


def test_a_box_is_around_the_mask_and_the_points():
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:24] = True
    place = slice(50, 70), slice(100, 130)
    assert box_of(mask, [(112.5, 60.5)], place, 6) == (110, 55, 124, 65)
    assert box_of(mask, [(103.2, 68.9)], place, 6) == (103, 55, 124, 69)
    assert box_of(mask, [(130, 70)], place, 6) == (110, 55, 130, 70)


@pytest.mark.parametrize("point", [(115, 60), (100, 50), (130, 70), (100.1, 69.9)])
def test_a_box_has_some_size_and_stays_in_the_part(point):
    left, top, right, bottom = box_of(np.zeros((20, 30), bool), [point], (slice(50, 70), slice(100, 130)), 6)
    assert (right - left, bottom - top) == (6, 6)
    assert 100 <= left <= min(point[0], 129) < right <= 130
    assert 50 <= top <= min(point[1], 69) < bottom <= 70
    assert box_of(np.zeros((20, 30), bool), [(115, 60)], (slice(50, 70), slice(100, 130)), 7) == (112, 57, 119, 64)
    assert box_of(np.zeros((2, 3), bool), [(1, 1)], (slice(0, 2), slice(0, 3)), 6) == (0, 0, 3, 2)


@pytest.mark.parametrize(
    ("box", "ends"),
    [
        ((40, 30, 60, 50), True),
        ((20, 30, 60, 50), False),
        ((40, 30, 120, 50), False),
        ((40, 30, 118.5, 50), False),  # so close to the side that more may be behind it
        ((22, 30, 60, 50), False),
        ((23, 30, 60, 50), True),
        ((40, 10, 60, 50), True),  # where the picture ends, everything does
        ((40, 30, 60, 60), False),
    ],
)
def test_what_touches_the_side_of_a_part_goes_on_behind_it(box, ends):
    assert ends_in(box, (slice(10, 60), slice(20, 120)), BOUNDS) == ends


def test_all_of_the_picture_holds_everything():
    assert ends_in((0, 10, 200, 110), (slice(10, 110), slice(0, 200)), BOUNDS)
