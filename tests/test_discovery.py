"""What counts as found where two looks at a frame are compared."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rvos_cli.cells import NOWHERE, cells_above
from rvos_cli.discovery import DiscoveryRules, new_objects, seen_twice


def slots(*columns):
    """Logits (S, 64, 160): a square per slot, from the given column on; None for a slot that found nothing."""
    looks = torch.full((len(columns), 64, 160), -5.0)
    for slot, column in enumerate(columns):
        if column is not None:
            looks[slot, 20:40, column : column + 20] = 5.0
    return looks


def found_in_both(first, second):
    kept = seen_twice(first, second, DiscoveryRules(), threshold=0.5)
    return [slot for slot, plane in enumerate(kept) if plane.max() > NOWHERE]


def test_behind_a_find_and_a_slot_without_agreement_both_looks_must_show_nearly_the_same():
    assert found_in_both(slots(0, 50, 100), slots(0, 50, 108)) == [0, 1, 2]
    assert found_in_both(slots(0, 50, 100), slots(0, None, 108)) == [0]
    assert found_in_both(slots(0, 50, 100), slots(0, None, 102)) == [0, 2]
    assert found_in_both(slots(50, 0, 100), slots(None, 0, 108)) == [1, 2]  # no find stood before the first slot


def test_many_slots_need_no_picture_for_each_pair():
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            answer = function(*args, **(kwargs or {}))
            if isinstance(answer, torch.Tensor):
                self.elements = max(self.elements, answer.numel())
            return answer

    looks = slots(*range(0, 120, 3))
    with Largest() as largest:
        seen_twice(looks, looks, DiscoveryRules(), threshold=0.5)
    assert largest.elements == looks.numel()


def test_two_looks_at_a_thin_thing_agree_although_hardly_a_pixel_does():
    looks = torch.full((2, 2, 64, 64), -5.0)
    looks[0, 0, 31, 4:60] = looks[1, 1, 32, 4:60] = 5.0  # the same line, a pixel lower, in another slot
    looks[0, 1, 8, 4:60] = looks[1, 0, 50, 4:60] = 5.0  # two lines that have nothing to do with each other
    kept = seen_twice(*looks, DiscoveryRules(), threshold=0.5)
    assert kept[0, 31:33, 4:60].min() == 0  # the mean of both
    assert kept[1].max() == NOWHERE


def objects_in(logits, confidence):
    places = cells_above(logits, 0.0)
    taken = torch.zeros(logits.shape[1:], dtype=torch.bool)
    return new_objects(logits, places, taken, DiscoveryRules(), confidence, 0.5, most=9)


def test_a_find_counts_from_the_confidence_that_is_asked_for():
    doubtful = slots(0, 50).clamp(max=0.6)  # 0.65 of probability
    assert objects_in(doubtful, 0.7)[0] == [] and len(objects_in(doubtful, 0.7)[1]) == 0
    sources, found = objects_in(doubtful, 0.6)
    assert sources == [0, 1] and torch.equal(found > 0, doubtful > 0)


def test_the_first_slot_without_a_sure_find_ends_the_search():
    logits = slots(0, 50, 100)
    logits[1].clamp_(max=0.6)
    assert objects_in(logits, 0.7)[0] == [0]
    assert objects_in(logits, 0.6)[0] == [0, 1, 2]
