"""Reference frames are joined, widened and chosen, and what each knows of goes with it."""

from dataclasses import replace

import torch
from reference_frames import known_late, unit

from rvos_cli.model import References


def test_joining_references_of_fewer_objects_fills_with_background():
    first = References.of(unit(1, 4, 4, 4), torch.ones(1, 1, 8, 8))
    second = References.of(unit(1, 4, 4, 4), torch.full((1, 3, 8, 8), 1.0))
    both = first + second
    assert len(both) == 2
    assert both.masks.shape == (1, 3, 2, 4, 4)
    assert both.masks[:, 1:, 0].sum() == 0
    assert torch.allclose(both.masks.sum(dim=1), torch.ones(1, 2, 4, 4))
    assert both.select([0, 2]).masks.shape == (1, 2, 2, 4, 4)
    assert len(both.frames(-1)) == 1


def test_what_frames_know_of_goes_with_them():
    every, _, last = known_late()
    two, three = (1.0,) * 2, (1.0,) * 3
    assert every.shares == (two, three, three) and last.shares == (three,)
    assert every.widen(5).shares == (two, three, three) and every.widen(5).masks.shape[1] == 5
    assert every.frames(1).shares == (three, three) and every.frames(0, 1).unequal == []
    assert every.select([0, 2]).shares == ((1.0,), two, two)
    assert every.select([0, 2]).unequal == [((0.0, 1.0, 1.0), [1])]
    assert every.select([1, 4]).shares == ((1.0,),) * 3


def test_objects_for_which_frames_count_alike_are_told_together():
    every, *_ = known_late()
    some = replace(every.widen(5), known=((0.5, 0.5, 1.0, 0.5), (1.0,) * 5, (1.0,) * 5))
    assert some.unequal == [((0.5, 1.0, 1.0), [0, 1, 3]), ((0.0, 1.0, 1.0), [4])]
