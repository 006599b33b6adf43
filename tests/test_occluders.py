"""What slides in front of an object is not followed in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from small_demo import SMALL, Picture, clip, first_mask, labels_of, lite

from rvos_cli.continuity import Cells
from rvos_cli.memory import Memory
from rvos_cli.model import References
from rvos_cli.model.state import RecurrentState
from rvos_cli.occluders import Occluders
from rvos_cli.session import Session

OBJECT, WALL, SCENERY, NEW = range(4)  # axes that keys of such places lie on
RULES = Occluders.rules
SHARP = 2 * RULES.unlike  # a temperature at which a right angle is far enough


def keys(*columns: int | Sequence[float]) -> torch.Tensor:
    """Return keys (1, 4, 2, n) of a frame whose columns look like these."""
    looks = torch.stack([torch.eye(4)[look] if isinstance(look, int) else torch.tensor(look) for look in columns])
    return looks.T[None, :, None].repeat(1, 1, 2, 1)


def cells(count: int, *columns: int) -> Cells:
    """Return cells (4, 2 * count) that are set in these columns of keys."""
    inside = np.zeros((4, 2 * count), bool)
    for column in columns:
        inside[:, 2 * column : 2 * column + 2] = True
    return inside


def looking(*objects: int) -> dict[int, torch.Tensor]:
    """Return what objects 7, 8, ... look like: one of these axes each."""
    return {identity: torch.eye(4)[[look] * 2 * RULES.places] for identity, look in enumerate(objects, start=7)}


BEFORE = keys(OBJECT, OBJECT, WALL, WALL, SCENERY, SCENERY)


def followed(now: torch.Tensor, *columns: int, before: Mapping[int, Sequence[int]] | None = None) -> Occluders:
    """Return what knows a frame in which object 7 alone is followed, in these columns; *before*, all were in those."""
    occluders, before = Occluders(SHARP, looking(OBJECT, OBJECT)), before or {7: (0, 1)}
    before = {7: (), **before}
    for _ in range(RULES.since):
        occluders.note(tuple(before), [cells(6, *where) for where in before.values()], BEFORE, sure=())
        assert not occluders.instead()
    where = {**dict.fromkeys(before, ()), 7: columns}
    occluders.note(tuple(where), [cells(6, *one) for one in where.values()], now, sure=())
    return occluders


def shown(occluders: Occluders, frame: torch.Tensor, *columns: int, sure: Sequence[int] = (), times: int = 1) -> None:
    """Let object 7 be followed in these columns of a frame."""
    for _ in range(times):
        occluders.note((7,), [cells(frame.shape[-1], *columns)], frame, sure=sure)


HIDDEN = keys(WALL, WALL, SCENERY, SCENERY, SCENERY, SCENERY)


def test_what_was_beside_an_object_before_is_followed_in_its_place():
    occluders = followed(HIDDEN, 0, 1)
    assert occluders.instead() == {7}
    shown(occluders, HIDDEN)
    assert not occluders.instead()  # nobody is followed any more


def test_an_object_that_looks_as_nothing_did_has_turned():
    assert not followed(keys(NEW, NEW, WALL, WALL, SCENERY, SCENERY), 0, 1).instead()


def test_an_object_that_is_seen_in_part_is_still_followed():
    half = keys(OBJECT, WALL, WALL, SCENERY, SCENERY, SCENERY)
    assert not followed(half, 0, 1).instead()  # at the rim of a mask there always is something else
    assert not followed(half, 0, 1, 2).instead()
    assert followed(keys(OBJECT, WALL, WALL, WALL, WALL, WALL), *range(6)).instead() == {7}


def test_what_looks_like_the_object_is_taken_for_it():
    for far, alike in ((0.98, True), (1.02, False)):
        cosine = 1 - far * RULES.unlike / SHARP
        wall = [cosine, (1 - cosine**2) ** 0.5, 0.0, 0.0]
        occluders = Occluders(SHARP, looking(OBJECT))
        shown(occluders, keys(OBJECT, wall, wall, SCENERY), 0, times=RULES.since)
        shown(occluders, keys(wall, wall, SCENERY, SCENERY), 0)
        assert (occluders.instead() == set()) is alike


def test_what_is_hardly_more_like_what_was_around_is_the_object():
    for nearer, seen in ((0.98, set()), (1.02, {7})):
        cosine = nearer * RULES.nearer / SHARP
        another = [0.0, cosine, 0.0, (1 - cosine**2) ** 0.5]
        assert followed(keys(another, another, WALL, WALL, SCENERY, SCENERY), 0, 1).instead() == seen


def test_an_object_that_comes_to_look_otherwise_bit_by_bit_is_followed():
    def between(angle: float) -> list[float]:
        return [math.cos(angle), math.sin(angle), 0.0, 0.0]

    slowly, fast = (math.acos(1 - far / SHARP) for far in (0.98 * RULES.sure, 1.02 * RULES.sure))
    for step, seen in ((slowly, set()), (fast, {7})):
        occluders = Occluders(SHARP, looking(OBJECT))
        shown(occluders, BEFORE, 0, 1, times=RULES.since)
        for number in range(1, 7):  # until it looks like the wall that is beside it
            now = between(min(number * step, math.pi / 2))
            shown(occluders, keys(now, now, WALL, WALL, SCENERY, SCENERY), 0, 1)
        assert occluders.instead() == seen


def test_where_objects_fill_the_picture_nobody_is_doubted():
    everywhere = (2, 3, 4, 5)
    assert not followed(HIDDEN, 0, 1, before={7: (0, 1), 8: everywhere}).instead()
    assert not followed(HIDDEN, *range(6), before={7: (0, 1), 8: everywhere}).instead()


def test_what_another_object_was_says_nothing():
    assert not followed(HIDDEN, 0, 1, before={7: (0, 1), 8: (2, 3)}).instead()
    assert followed(HIDDEN, 0, 1, before={7: (0, 1), 8: (4, 5)}).instead() == {7}


def test_who_is_like_itself_is_not_doubted_because_another_one_is():
    cosine = 1 - 0.9 * RULES.unlike / SHARP
    turned = [0.0, (1 - cosine**2) ** 0.5, 0.0, cosine]  # much like the wall, too
    occluders = Occluders(SHARP, looking(OBJECT, NEW))
    for frame in [keys(OBJECT, NEW, WALL, WALL, SCENERY, SCENERY)] * RULES.since + [keys(WALL, turned, *[SCENERY] * 4)]:
        assert not occluders.instead()
        occluders.note((7, 8), [cells(6, 0), cells(6, 1)], frame, sure=())
    assert occluders.instead() == {7}


def test_of_whom_nothing_is_known_nobody_doubts():
    occluders = Occluders(SHARP)
    shown(occluders, BEFORE, 0, 1, times=RULES.since)
    shown(occluders, HIDDEN, 0, 1)
    assert not occluders.instead()


def test_who_was_not_seen_before_is_not_doubted():
    assert not followed(HIDDEN, 0, 1, before={7: ()}).instead()
    assert not followed(HIDDEN, 0, 1, before={8: (2, 3)}).instead()
    occluders = Occluders(SHARP, looking(OBJECT))
    for _ in range(RULES.since):
        shown(occluders, BEFORE, 2)
        assert not occluders.instead()  # too few frames to tell


def test_objects_look_as_they_did_at_first_and_as_they_do_where_they_are_given_last():
    for sure, seen in (((0,), {7}), ((1,), set()), ((0, 1), set()), ((1, 2), set()), ((0, 1, 2), {7})):
        occluders = Occluders(SHARP)
        for number, look in enumerate((OBJECT, WALL, NEW)):
            shown(occluders, keys(look, look, SCENERY), 0, 1, sure=[7] if number in sure else [])
        occluders = occluders.anew()
        shown(occluders, keys(OBJECT, WALL, WALL, SCENERY), 0, times=RULES.since)
        shown(occluders, keys(WALL, WALL, SCENERY, SCENERY), 0)
        assert occluders.instead() == seen


def test_who_is_given_in_a_frame_is_not_doubted_for_it():
    for sure, seen in (((), {7}), ((7,), set())):
        occluders = Occluders(SHARP, looking(OBJECT))
        shown(occluders, BEFORE, 0, 1, times=RULES.since)
        shown(occluders, HIDDEN, 0, 1, sure=sure)
        assert occluders.instead() == seen


def test_who_gave_up_the_slot_is_forgotten():
    occluders = Occluders(SHARP, looking(OBJECT, NEW))
    shown(occluders, BEFORE, 0, 1)
    assert set(occluders._looks) == {7}


def test_an_object_looks_like_its_inner_places():
    occluders, thin = Occluders(SHARP), cells(6)
    inner = cells(6, 0)
    inner[:, 2] = True  # of the second place one side
    occluders.note((7,), [inner], keys(OBJECT, WALL, SCENERY, SCENERY, SCENERY, SCENERY), sure=[7])
    shown(occluders, BEFORE, 0, times=RULES.since)
    shown(occluders, HIDDEN, 0)
    assert occluders.instead() == {7}
    thin[0, 0] = True
    occluders = Occluders(SHARP)
    occluders.note((7,), [thin], BEFORE, sure=[7])  # nothing of it fills a place
    shown(occluders, BEFORE, 0, times=RULES.since)
    shown(occluders, HIDDEN, 0)
    assert occluders.instead() == {7}


def test_of_a_large_object_some_places_all_over_it_are_asked():
    wide = keys(*[OBJECT] * 200, *[WALL] * 1000, *[SCENERY] * 100)
    occluders = Occluders(SHARP, looking(OBJECT))
    shown(occluders, wide, *range(200), times=RULES.since)
    shown(occluders, wide, *range(500))
    assert not occluders.instead()  # two of five places are the object's
    shown(occluders, wide, *range(1200))
    assert occluders.instead() == {7}


@pytest.mark.parametrize("kept", [False, True])
def test_a_frame_may_be_kept_out_of_turn(kept):
    memory, frame = Memory(), References(keys(OBJECT).unsqueeze(2), torch.ones(1, 1, 1, 2, 1))
    for index in range(2):
        memory.add(frame, index, changed=False, keep=kept)
    assert memory.later is not None and len(memory.later) == 1 + kept
    assert memory.next is memory.later


def test_a_slot_may_start_anew():
    hidden = (torch.ones(1),)
    assert RecurrentState((hidden, hidden, None)).without([0]).slots == (None, hidden, None)


def walled(frames: Sequence[Picture], mask: Picture) -> list[Picture]:
    """Return frames in which a wall of an object's colours passes in front of it, from the fifth on."""
    colours, wide = frames[0][mask > 0], frames[0].shape[1]
    mixed = colours[np.random.default_rng(1).integers(0, len(colours), (20, 40))]
    wall = np.asarray(Image.fromarray(mixed).resize((400, 180), Image.Resampling.BICUBIC))[:, :150]
    film = []
    for time, frame in enumerate(frames):
        room = np.hstack([np.zeros_like(wall), np.zeros_like(frame), np.zeros_like(wall)])
        left = 150 + wide - 20 * max(0, time - 4)
        room[:, 150 : 150 + wide] = frame
        room[:, max(0, left) : max(0, left + 150)] = wall[:, max(0, -left) :]
        film.append(np.ascontiguousarray(room[:, 150 : 150 + wide]))
    return film


def followed_film(film: Sequence[Picture], mask: Picture) -> list[Picture]:
    return labels_of(Session(lite(), options=SMALL, first_mask=mask), film)


def test_an_object_comes_back_from_behind_a_wall_that_looks_a_little_like_it(monkeypatch):
    mask = np.where(first_mask() == 1, 1, 0).astype(np.uint8)

    def agreement(labels: Sequence[Picture]) -> float:
        pairs = [(one > 0, other > 0) for one, other in zip(labels[20:], plain[20:], strict=True)]
        return float(np.mean([(one & other).sum() / (one | other).sum() for one, other in pairs]))

    plain, film = followed_film(clip(), mask), walled(clip(), mask)
    labels = followed_film(film, mask)
    assert all(one.any() for one in labels[:10]) and not np.any(labels[12:14])  # it is hidden from the 12th on
    assert agreement(labels) > 0.95
    monkeypatch.setattr(Occluders, "instead", lambda self: frozenset())
    assert agreement(followed_film(film, mask)) < 0.6  # the wall is followed


def test_the_network_may_use_the_memory_of_a_frame_again(monkeypatch):
    mask = np.where(first_mask() == 1, 1, 0).astype(np.uint8)
    film = walled(clip(), mask)[:15]
    plain, used, decode = followed_film(film, mask), [], lite().decode

    def decoded(*seen, **rest):
        if len(used) > 2:  # the first frame stays, and what was seen last
            used[-2].zero_()
        out = decode(*seen, **rest)
        used.append(out.keys)
        return out

    monkeypatch.setattr(lite(), "decode", decoded)
    for one, other in zip(followed_film(film, mask), plain, strict=True):
        assert np.array_equal(one, other)


def test_a_mask_of_somebody_else_does_not_say_that_the_wall_is_the_object():
    mask = np.where(first_mask() == 1, 1, 0).astype(np.uint8)
    film, other = walled(clip(), mask), np.where(first_mask() == 2, 2, 0).astype(np.uint8)
    for named in (9, 12):
        session, labels = Session(lite(), options=SMALL, first_mask=mask), []
        for index, frame in enumerate(film[:20]):
            labels.append(session.step(frame, other if index == named else None))
        session.close()
        assert not np.any(labels[13] == 1) and np.any(labels[19] == 1)
