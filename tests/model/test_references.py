"""Reference frames are joined, widened and chosen, and what each knows of goes with it."""

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
    assert every.counts == (2, 3, 3) and last.counts == (3,)
    assert every.widen(5).counts == (2, 3, 3) and every.widen(5).masks.shape[1] == 5
    assert every.frames(1).counts == (3, 3) and every.frames(0, 1).late == []
    assert every.select([0, 2]).counts == (1, 2, 2) and every.select([0, 2]).late == [(slice(1, 2), [1, 2])]
    assert every.select([1, 4]).counts == (1, 1, 1)
