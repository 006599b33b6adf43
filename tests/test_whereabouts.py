"""Objects stay where they were, and keep no bits of each other."""

import torch

from rvos_cli.cells import NOWHERE
from rvos_cli.sight import Seen
from rvos_cli.whereabouts import Whereabouts

SIZE = (128, 160)


def logits(*boxes: tuple[int, int, int, int, int]) -> torch.Tensor:
    """Return logits (2, h, w) with boxes: object, top, left, bottom, right."""
    planes = torch.full((2, *SIZE), -6.0)
    for which, top, left, bottom, right in boxes:
        planes[which, top:bottom, left:right] = 6.0
    return planes


def seen(planes: torch.Tensor) -> Seen:
    return Seen(planes, (1, 2)[: len(planes)], SIZE, 0.5)


FIRST, SECOND = (0, 40, 40, 80, 80), (1, 40, 120, 80, 144)


def test_in_sight_is_who_was_seen_in_the_last_frame():
    where = Whereabouts(0.5)
    assert not where.in_sight((1, 2))  # as behind a cut
    where.note((1, 2), seen(logits(FIRST)).cells)
    assert where.in_sight((1, 2)) and where.in_sight((1,)) and not where.in_sight((2,))
    where.note((1, 2), seen(logits()).cells)
    assert not where.in_sight((1, 2))


def test_a_bit_of_one_object_that_hangs_on_another_goes_to_that_one():
    where, planes = Whereabouts(0.5), logits(FIRST, SECOND, (0, 52, 112, 60, 120))
    where.note((1, 2), seen(planes).cells)  # so that nothing of it is far from where it was
    kept = where.keep_in_place((1, 2), seen(planes))
    assert (kept[1, 52:60, 112:120] == 6).all() and (kept[0, 52:60, 112:120] == NOWHERE).all()
    assert (kept != planes).sum() == 2 * 8 * 8


def test_a_bit_that_hangs_on_nothing_stays():
    where, planes = Whereabouts(0.5), logits(FIRST, SECOND, (0, 52, 96, 60, 104))
    where.note((1, 2), seen(planes).cells)
    assert torch.equal(where.keep_in_place((1, 2), seen(planes)), planes)


def test_what_is_far_from_where_an_object_was_is_dropped_unless_it_was_long_unseen():
    where = Whereabouts(0.5)
    where.note((1, 2), seen(logits(FIRST, SECOND)).cells)
    moved = logits((0, 40, 0, 48, 8), SECOND)  # nine cells from there, of 32 of the short side
    assert (where.keep_in_place((1, 2), seen(moved))[0] < 0).all()
    for _ in range(3):
        where.note((1, 2), seen(logits(SECOND)).cells)
    assert (where.unseen(1), where.unseen(2)) == (3, 0)
    assert torch.equal(where.keep_in_place((1, 2), seen(moved)), moved)


def test_an_object_that_was_never_seen_may_be_anywhere():
    planes = logits(FIRST)
    assert torch.equal(Whereabouts(0.5).keep_in_place((1, 2), seen(planes)), planes)
    assert Whereabouts(0.5).keep_in_place((), seen(planes[:0])).shape == (0, *SIZE)
