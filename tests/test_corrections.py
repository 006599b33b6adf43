"""A mask that contradicts what was followed until then: the demo clip and the shipped network."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import small_demo
import torch
from PIL import Image
from small_demo import SMALL, Picture

from rvos_cli.session import Session

CORRECTED, FRAMES = 6, 16
HIDDEN, TOLD = range(6, 11), 7  # the frames in which the largest object is behind a wall, and that in which it is said


def followed(masks: dict[int, Picture]) -> tuple[Session, list[Picture]]:
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    labels = [session.step(frame, masks.get(index)) for index, frame in enumerate(small_demo.clip()[:FRAMES])]
    session.close()
    return session, labels


@functools.cache
def right() -> list[Picture]:
    """Return the labels of objects that are followed from a right mask on."""
    return followed({0: small_demo.first_mask()})[1]


def exchanged(labels: Picture, one: int, other: int) -> Picture:
    ids = np.arange(256, dtype=np.uint8)
    ids[[one, other]] = other, one
    return ids[labels]


def alike(found: list[Picture], identity: int) -> float:
    """Return the mean IoU of an object with itself in ``right``, behind the frame in which it was corrected."""
    pairs = [(x == identity, y == identity) for x, y in zip(found, right(), strict=True)][CORRECTED + 1 :]
    return float(np.mean([(x & y).sum() / (x | y).sum() for x, y in pairs]))


def shares(session: Session, slot: int) -> tuple[float, ...]:
    return session._tracker.memory.later.shares_of(slot)


@pytest.mark.parametrize("corrected", [(1, 2), (1, 3)])
def test_who_was_mistaken_is_followed_as_corrected_and_the_others_as_ever(corrected: tuple[int, int]):
    wrong = exchanged(small_demo.first_mask(), *corrected)
    mask = np.where(np.isin(right()[CORRECTED], corrected), right()[CORRECTED], 0).astype(np.uint8)
    session, labels = followed({0: wrong, CORRECTED: mask})
    (other,) = {1, 2, 3} - set(corrected)
    assert min(alike(labels, identity) for identity in (1, 2, 3)) > 0.92
    assert all(shares(session, slot)[0] < 0.1 for slot, identity in enumerate(session.objects) if identity != other)
    assert set(shares(session, session.objects.index(other))) == {1.0}


def test_a_mask_that_agrees_with_what_was_expected_leaves_all_as_it_was():
    session, labels = followed({0: small_demo.first_mask(), CORRECTED: right()[CORRECTED]})
    assert all(set(shares(session, slot)) == {1.0} for slot in range(3))
    assert min(alike(labels, identity) for identity in (1, 2, 3)) > 0.92


def test_a_mask_that_corrected_somebody_is_not_doubted_by_the_next_that_does():
    later, wrong = CORRECTED + 3, exchanged(right()[CORRECTED], 1, 2)
    session, _ = followed({0: small_demo.first_mask(), CORRECTED: wrong, later: right()[later]})
    for slot, identity in enumerate(session.objects):
        first, second, third, *recent = shares(session, slot)
        assert second == third == 1.0
        assert (first < 0.1 and min(recent) == 0) == (identity in (1, 2))


def test_who_is_named_for_the_first_time_may_be_doubted():
    named = {one: np.where(right()[one] == 2, 2, 0).astype(np.uint8) for one in (CORRECTED, CORRECTED + 3)}
    named[CORRECTED] = np.roll(named[CORRECTED], 60, axis=1)  # elsewhere
    first = np.where(small_demo.first_mask() == 1, 1, 0).astype(np.uint8)
    session, _ = followed({0: first, **named})
    assert session._tracker.memory.later.trusted == 3  # the first from near and far; where it was named is of no use
    assert shares(session, session.objects.index(2)) == (0.0, 0.0, 1.0, 0.0, 1.0, 1.0)


def test_a_whole_mask_is_sure_of_all_who_were_known_and_of_nobody_else():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames, first = small_demo.clip(), np.where(small_demo.first_mask() == 3, 0, small_demo.first_mask())
    session.step(frames[0], first.astype(np.uint8))
    session.step(frames[1], np.where(np.isin(right()[1], (2, 3)), right()[1], 0).astype(np.uint8), whole=True)
    ids = session.objects
    sure = [{ids[slot] for slot in slots} for slots in session._tracker.memory._sure]
    session.close()
    assert sure == [set(), {1, 2}]  # 1 is gone, 3 is new


def test_the_first_mask_behind_a_cut_contradicts_nothing_that_was_before_it():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames, other = small_demo.clip(), exchanged(right()[CORRECTED], 1, 2)
    session.step(frames[0], small_demo.first_mask())
    session._tracker = session._tracker.behind_cut()
    session.step(frames[1], other)
    assert all(set(shares(session, slot)) == {1.0} for slot in range(3))
    session.step(frames[2], small_demo.first_mask())
    assert all(min(shares(session, slot)) < 0.1 for slot in range(2))
    session.close()


def bricks(frame: Picture) -> Picture:
    """Return a picture of the size of *frame* that shows none of its objects."""
    coarse = np.random.default_rng(3).integers(0, 256, (9, 18, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(frame.shape[1::-1], Image.Resampling.BICUBIC))


def walled() -> list[Picture]:
    """Return the clip with something of the colours of brick where the largest object is, for a while."""
    frames = [frame.copy() for frame in small_demo.clip()[:FRAMES]]
    wall = bricks(frames[0])
    for index in HIDDEN:
        rows, columns = (np.flatnonzero((right()[index] == 1).any(axis=axis)) for axis in (1, 0))
        box = slice(max(0, rows[0] - 8), rows[-1] + 9), slice(max(0, columns[0] - 8), columns[-1] + 9)
        frames[index][box] = wall[box]
    return frames


def behind_wall(told: Picture | None, *, whole: bool) -> tuple[Session, list[Picture]]:
    """Follow all in the film with the wall, *told* in one of its frames where they are."""
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    masks = {0: small_demo.first_mask(), TOLD: told}
    labels = [session.step(frame, masks.get(index), whole=whole) for index, frame in enumerate(walled())]
    session.close()
    return session, labels


def test_who_is_gone_by_a_whole_mask_is_missing_until_seen_again():
    without = np.where(right()[TOLD] == 1, 0, right()[TOLD]).astype(np.uint8)
    behind = HIDDEN[TOLD - HIDDEN[0] + 1 :]
    _, untold = behind_wall(None, whole=True)
    assert all((untold[index] == 1).any() for index in behind)  # the wall has its id
    _, unsaid = behind_wall(without, whole=False)
    assert all((unsaid[index] == 1).any() for index in behind)  # such a mask says nothing of it
    session, labels = behind_wall(without, whole=True)
    assert np.array_equal(labels[TOLD], without)
    assert not any((labels[index] == 1).any() for index in behind)
    for index in range(HIDDEN[-1] + 1, FRAMES):
        for identity in (1, 2, 3):
            here, there = labels[index] == identity, right()[index] == identity
            assert (here & there).sum() > 0.8 * (here | there).sum(), (index, identity)
    given, *_ = shares(session, 0)
    assert given == 1.0  # what was given of it is believed as before
    assert all(set(shares(session, slot)) == {1.0} for slot in (1, 2))


def test_of_who_is_gone_nothing_is_read_that_was_seen_since_it_was_given():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames, first = small_demo.clip(), small_demo.first_mask()
    for index, frame in enumerate(frames[:9]):  # the sixth is remembered
        session.step(frame, first if index == 0 else None)
    session.step(frames[9], np.where(right()[9] == 1, 0, right()[9]).astype(np.uint8), whole=True)
    kept = session._tracker.memory.later
    assert kept.trusted == 2 and kept.shares_of(0) == (1.0, 1.0, 0.0) and kept.shares_of(1) == (1.0, 1.0, 1.0)
    session.step(frames[10])
    assert session._tracker.memory.later.shares_of(0)[0] == 1.0
    session.close()


def test_of_who_was_missed_already_what_was_seen_is_believed_and_nothing_is_known_of_the_place():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames, first = small_demo.clip(), small_demo.first_mask()
    for index, frame in enumerate(frames[:9]):
        session.step(frame, first if index == 0 else None)
    assert not any(session.step(np.full_like(frames[0], 90)).any() for _ in range(2))
    assert session._tracker._absence.ids == {1, 2, 3} <= set(session._tracker._whereabouts._where)
    brick = bricks(frames[0])
    assert not session.step(brick).any()  # but for that they are missing, something of it would be
    session.step(brick, np.zeros_like(first), whole=True)
    assert session._tracker._whereabouts._where == {}  # it may come back anywhere
    kept = session._tracker.memory.later
    assert kept.trusted < len(kept) and all(set(kept.shares_of(slot)) == {1.0} for slot in range(3))
    assert set(np.unique(session.step(frames[9]))) == {0, 1, 2, 3}
    session.close()


def test_a_whole_mask_of_nobody_before_there_is_anybody_says_nothing():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames, first = small_demo.clip(), small_demo.first_mask()
    assert not session.step(frames[0], np.zeros_like(first), whole=True).any()
    assert session.objects == ()
    assert np.array_equal(session.step(frames[1], first, whole=True), first)
    session.close()


def test_what_was_given_is_sure_and_what_is_seen_as_sure_as_the_network_is():
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    frames = small_demo.clip()
    assert session.step(frames[0]).max() == 0 and session.confidence == {}
    session.step(frames[0], small_demo.first_mask())
    assert session.confidence == {1: 1.0, 2: 1.0, 3: 1.0}
    session.step(frames[1])
    assert set(session.confidence) == {1, 2, 3} and all(0.8 < score < 1 for score in session.confidence.values())
    session.step(frames[2], np.where(right()[2] == 2, 2, 0).astype(np.uint8))
    assert session.confidence[2] == 1.0 > session.confidence[1] > 0.8
    session.step(frames[3], np.where(right()[3] == 2, 2, 0).astype(np.uint8), whole=True)
    assert session.confidence == {2: 1.0}
    ((_, going_back),) = session.back([frames[2]])
    assert 0.8 < going_back[2] < 1
    session.step(np.full_like(frames[0], 90))
    assert session.confidence == {}
    session.close()


def test_who_goes_back_leaves_the_way_on_as_it_was():
    without = np.where(right()[TOLD] == 1, 0, right()[TOLD]).astype(np.uint8)
    session, film = Session(small_demo.lite(), options=SMALL, discover=False), walled()
    for index in range(TOLD + 1):
        session.step(film[index], {0: small_demo.first_mask(), TOLD: without}.get(index), whole=True)
    way_on = session._tracker
    places, masks = dict(way_on._whereabouts._where), way_on.masks.clone()
    *_, (labels, _) = session.back(film[TOLD - 1 :: -1])
    assert (labels == 1).any()  # who is missing is found on the way back
    assert session._tracker is way_on and way_on._absence.ids == {1} and way_on._whereabouts.unseen(1) == 1
    assert way_on._whereabouts._where.keys() == places.keys()
    assert all(way_on._whereabouts._where[one] is place for one, place in places.items())
    assert torch.equal(way_on.masks, masks)
    session.close()
