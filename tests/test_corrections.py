"""A mask that contradicts what was followed until then: the demo clip and the shipped network."""

import functools

import numpy as np
import pytest
import small_demo
from small_demo import SMALL, Picture

from rvos_cli.session import Session

CORRECTED, FRAMES = 6, 16


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
