"""Which frames are remembered, and from when on they are read."""

import copy

import pytest
import torch

from rvos_cli.memory import Memory
from rvos_cli.model import References

OBJECTS = 2


def frame(number: int) -> References:
    """Return a frame that says its number."""
    return References(torch.full((1, 4, 1, 2, 3), float(number)), torch.full((1, OBJECTS, 1, 2, 3), float(number)))


def numbers(references: References | None) -> list[int]:
    """Return which frames these are."""
    return [] if references is None else [int(keys.flatten()[0]) for keys in references.keys.unbind(2)]


def remembered(count: int, changed: int | None = None) -> tuple[Memory, list[list[int]]]:
    """Go through *count* frames; return the memory, and what was read in each of them."""
    memory, read = Memory(), []
    for index in range(count):
        memory.advance()
        read.append(numbers(memory.kept))
        memory.add(frame(index), index, changed=index == changed)
    return memory, read


def test_every_fifth_frame_is_read_from_the_next_but_one_on():
    _, read = remembered(24)
    assert read[0] == []
    assert read[1:7] == [[0]] * 6
    assert read[7:12] == [[0, 5]] * 5
    assert read[12:17] == [[0, 5, 10]] * 5
    assert read[22:] == [[0, 10, 15, 20]] * 2  # the newest three


def test_a_frame_in_which_something_changed_is_read_at_once_and_for_good():
    _, read = remembered(40, changed=7)
    assert read[7] == [0, 5]
    assert read[8:12] == [[0, 7, 5]] * 4
    assert read[-1] == [0, 7, 25, 30, 35]


def showing(number: int, *objects: int) -> References:
    """Return a frame that says its number and shows some of three objects."""
    masks = torch.zeros(1, 3, 1, 2, 3)
    masks[:, list(objects)] = 1.0
    return References(frame(number).keys, masks)


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ([(0,), (0, 1), (0, 1, 2)], [0, 2]),  # the newest shows all
        ([(0,), (1,), (2,)], [0, 1, 2]),
        ([(0,), (1,), (2,), (0,), (0,)], [0, 1, 2, 4]),
        ([(0,), (1,), (1,), (2,)], [0, 2, 3]),  # of two that show the same, the newer
        ([(0,), (1,), (2,), (1,), (2,)], [0, 3, 4]),
    ],
)
def test_of_each_object_a_given_frame_that_shows_it_is_kept(shown: list[tuple[int, ...]], kept: list[int]):
    memory = Memory()
    for number, objects in enumerate(shown):
        memory.advance()
        memory.add(showing(number, *objects), number, changed=number > 0)
    assert memory.later is not None
    assert numbers(memory.later) == kept and memory.later.trusted == len(kept)


def test_given_frames_are_bounded():
    memory = Memory()
    for number in range(9):
        memory.advance()
        masks = torch.zeros(1, number + 1, 1, 2, 3)
        masks[:, number] = 1.0
        memory.add(References(frame(number).keys, masks), number, changed=number > 0)
    assert numbers(memory.later) == [0, 6, 7, 8]


def test_what_the_next_frame_reads_is_known_before_its_step_but_for_changes():
    memory = Memory()
    for index in range(20):
        memory.advance()
        coming = memory.next
        memory.add(frame(index), index, changed=index == 12)
        assert (memory.next is coming) == (index not in (0, 12))


def test_the_last_frame_is_the_one_before():
    memory, _ = remembered(9)
    assert numbers(memory.last) == [8]


@pytest.mark.parametrize("count", [1, 7, 12])
def test_objects_that_are_forgotten_are_so_everywhere(count: int):
    memory, _ = remembered(count)
    memory.select([1])
    assert memory.kept is memory.next is memory.later
    assert memory.later.masks.shape[1] == memory.last.masks.shape[1] == 1


def test_there_is_nothing_to_forget_before_the_first_frame():
    memory = Memory()
    memory.select([0])
    assert memory.kept is memory.last is None


def test_of_whom_is_doubted_little_of_what_was_given_counts_and_nothing_of_what_was_seen():
    memory, _ = remembered(13)
    memory.doubt([1])
    assert memory.later.shares == ((1.0, pytest.approx(0.011, abs=0.001)), (1.0, 0.0), (1.0, 0.0))
    memory.add(frame(13), 13, changed=True)
    assert numbers(memory.later) == [0, 13, 5, 10] and memory.later.trusted == 2
    assert memory.later.shares_of(0) == (1.0,) * 4 and memory.later.shares_of(1)[1:] == (1.0, 0.0, 0.0)


def test_a_given_frame_is_kept_for_whom_the_first_one_is_doubted():
    memory = Memory()
    for number, objects in enumerate([(0, 1), (0,), (1,)]):
        memory.advance()
        if number == 1:
            memory.doubt([0])
        memory.add(showing(number, *objects), number, changed=number > 0)
    assert numbers(memory.later) == [0, 1, 2]


def test_behind_a_cut_the_frame_before_is_a_given_one_of_which_nothing_is_doubted():
    memory, _ = remembered(7)
    assert numbers(memory.behind_cut().last) == [0]
    memory.doubt([0])
    memory.add(frame(7), 7, changed=True)
    assert numbers(memory.behind_cut().last) == [7]


def test_there_is_nothing_to_doubt_before_the_first_frame():
    memory = Memory()
    memory.doubt([0])
    assert memory.later is None


def test_of_objects_that_left_and_came_again_all_is_remembered_as_before():
    memory = Memory()
    for number in range(4):
        memory.advance()
        memory.add(frame(number), number, changed=number > 0)
        memory.select([])
    memory.add(frame(4), 4, changed=True)
    assert numbers(memory.later)[-1] == 4


def corrected(shown: list[tuple[int, ...]], *, first_is_sure: bool = True) -> Memory:
    """Go through frames whose masks, which show some of three objects, are not to be doubted."""
    memory = Memory()
    for number, objects in enumerate(shown):
        memory.advance()
        sure = range(3) if number or first_is_sure else ()
        memory.add(showing(number, *objects), number, changed=number > 0, sure=sure)
    return memory


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ([(0,)], [0]),
        ([(0,), (0,), (0,)], [0, 1, 2]),
        ([(0,), (0,), (0,), (0,)], [0, 2, 3]),  # the one before is kept, whomever it shows
        ([(0,), (1,), (2,), (0,), (0,)], [0, 1, 2, 3, 4]),
        ([(0,), (1,), (1,), (0,)], [0, 2, 3]),  # what the one before shows need not be kept twice
    ],
)
def test_the_mask_before_one_that_is_not_to_be_doubted_is_kept(shown: list[tuple[int, ...]], kept: list[int]):
    memory = corrected(shown)
    assert numbers(memory.later) == kept and memory.later.trusted == len(kept)


def test_a_frame_that_is_expected_is_trusted_until_something_changes():
    memory = corrected([(0,), (0,)])
    memory.expect(showing(20, 0))
    assert memory.next is memory.later
    for index in range(2, 11):
        memory.advance()
        assert numbers(memory.kept)[:3] == [0, 1, 20]
        memory.add(frame(index), index, changed=False)
    assert numbers(memory.later) == [0, 1, 20, 5, 10] and memory.later.trusted == 3
    memory.expect(showing(30, 0))
    assert numbers(memory.later) == [0, 1, 30, 5, 10] and memory.later.trusted == 3
    assert numbers(memory.trusted().later) == [0, 1, 30]
    memory.add(showing(11, 0), 11, changed=True, sure=range(3))
    assert numbers(memory.later) == [0, 1, 11, 5, 10] and memory.later.trusted == 3
    memory.expect(None)
    assert numbers(memory.later) == [0, 1, 11, 5, 10]
    assert memory.later.sharpness == memory.rules.sharpness and memory.later.favour == memory.rules.favour


def test_nothing_is_expected_before_the_first_frame():
    memory = Memory()
    memory.expect(frame(3))
    assert memory.later is None


def test_what_was_expected_is_forgotten_at_once_when_it_has_come():
    memory = corrected([(0,), (0,)])
    memory.expect(showing(20, 0))
    memory.advance()
    assert numbers(memory.kept) == [0, 1, 20]
    memory.forget_expected()
    assert numbers(memory.kept) == numbers(memory.next) == numbers(memory.later) == [0, 1]


def test_of_masks_that_correct_one_or_the_other_the_newest_before_is_kept():
    memory = Memory()
    for number, sure in enumerate([(), (0,), (1,), (0,), ()]):
        memory.advance()
        memory.add(frame(number + 1), number, changed=number > 0, sure=sure)
    assert numbers(memory.later) == [1, 4, 5]


def test_of_whom_is_doubted_what_is_sure_and_what_is_to_come_count_as_before():
    memory = Memory()
    memory.add(frame(0), 0, changed=True)
    memory.add(frame(1), 1, changed=True, sure=[0])
    memory.expect(frame(9))
    memory.add(frame(5), 5, changed=False)
    little = pytest.approx(0.011, abs=0.001)
    for other in (memory, memory.behind_cut(), copy.copy(memory)):
        other.doubt([0])
        assert other.later.shares_of(0) == (little, 1.0, 1.0, 0.0)
        assert other.later.shares_of(1) == (1.0,) * 4
        other.doubt([1])
        assert other.later.shares_of(1) == (little, little, 1.0, 0.0)
    without_others = memory.trusted()
    without_others.doubt([0])
    assert without_others.later.shares_of(0) == (little, 1.0, 1.0)


def test_who_is_sure_stays_so_in_another_place():
    memory = Memory()
    for number, sure in enumerate([(), (1,), (0, 1)]):
        memory.add(showing(number, 0, 1, 2), number, changed=number > 0, sure=sure)
    memory.select([1, 2])
    memory.doubt([0, 1])
    little = pytest.approx(0.011, abs=0.001)
    assert numbers(memory.later) == [0, 1, 2]
    assert memory.later.shares_of(0) == (little, 1.0, 1.0)
    assert memory.later.shares_of(1) == (little, little, little)


def test_what_is_sure_is_known_by_the_frames_that_stay():
    memory = corrected([(0, 1, 2)] * 4, first_is_sure=False)
    assert numbers(memory.later) == [0, 2, 3]
    memory.doubt([0])
    assert memory.later.shares_of(0) == (pytest.approx(0.011, abs=0.001), 1.0, 1.0)
