"""Pieces of a mask: which are too far from the object, and which belong together."""

import numpy as np
import pytest

from rvos_cli.continuity import clusters, far_pieces, strays


def cells(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    grid = np.zeros((20, 40), np.bool_)
    for top, left, bottom, right in boxes:
        grid[top:bottom, left:right] = True
    return grid


NEAR, FAR = (5, 5, 10, 10), (5, 30, 10, 35)


def test_a_piece_far_from_the_object_is_dropped_and_a_near_one_kept():
    before = cells((4, 4, 9, 9))
    assert np.array_equal(far_pieces(cells(NEAR, FAR), before, 5), cells(FAR))


def test_a_piece_counts_by_its_nearest_cell_however_long_it_is():
    assert not far_pieces(cells((5, 8, 7, 39)), cells((5, 5, 7, 7)), 3).any()


@pytest.mark.parametrize(("reach", "dropped"), [(20, True), (25, False)])
def test_reach_decides(reach, dropped):
    assert far_pieces(cells(FAR), cells((5, 5, 10, 8)), reach).any() == dropped


def test_what_was_never_seen_is_nowhere_far():
    assert not far_pieces(cells(NEAR, FAR), cells(), 1).any()


def test_nothing_has_no_pieces():
    assert not far_pieces(cells(), cells(NEAR), 1).any()
    assert clusters(cells(), 3) == []


def test_pieces_a_post_apart_belong_together_and_distant_ones_do_not():
    groups = clusters(cells((5, 5, 15, 10), (5, 12, 15, 15), FAR), 4)
    assert len(groups) == 2
    assert np.array_equal(groups[0], cells((5, 5, 15, 10), (5, 12, 15, 15)))
    assert np.array_equal(groups[1], cells(FAR))


def test_a_small_piece_that_came_off_goes_to_what_it_hangs_on():
    truck, bird, wing = (np.zeros((30, 40), bool) for _ in range(3))
    truck[18:28, 2:22] = True
    bird[4:8, 30:33] = True
    wing[3:6, 27:30] = True
    (stray,) = strays([truck | wing, bird], share=0.15, gap=3)
    assert (stray.owner, stray.neighbour) == (0, 1) and np.array_equal(stray.piece, wing)
    assert strays([truck | wing, bird], share=0.01, gap=3) == []  # not small
    assert strays([truck | wing, bird], share=0.15, gap=20) == []  # not off
    assert strays([truck | wing, np.roll(bird, 5, axis=1)], share=0.15, gap=3) == []  # hangs on nothing
    assert strays([truck | wing, np.roll(bird, (6, -6), axis=(0, 1))], share=0.15, gap=3) == []  # nor on what is near
