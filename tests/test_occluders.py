"""What slides in front of an object is not followed in its place."""

from __future__ import annotations

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


def looks(*objects: int) -> References:
    """Return a first frame in which each of these axes is an object."""
    masks = torch.stack([keys(*range(4))[0, look] for look in objects])[None]
    return References.of(keys(*range(4)), masks)


BEFORE = keys(OBJECT, OBJECT, WALL, WALL, SCENERY, SCENERY)


def followed(now: torch.Tensor, *columns: int, before: Mapping[int, Sequence[int]] | None = None) -> Occluders:
    """Return what knows a frame in which object 7 alone is followed, in these columns; *before*, all were in those."""
    occluders, before = Occluders(SHARP), before or {7: (0, 1)}
    references = looks(*(OBJECT for _ in before))
    for _ in range(RULES.since):
        occluders.note(
            tuple(before), [cells(6, *where) for where in before.values()], BEFORE, references, changed=False
        )
        assert not occluders.instead()
    where = {**dict.fromkeys(before, ()), 7: columns}
    occluders.note(tuple(where), [cells(6, *one) for one in where.values()], now, references, changed=False)
    return occluders


HIDDEN = keys(WALL, WALL, SCENERY, SCENERY, SCENERY, SCENERY)


def test_what_was_beside_an_object_before_is_followed_in_its_place():
    occluders = followed(HIDDEN, 0, 1)
    assert occluders.instead() == {7}
    occluders.note((7,), [cells(6)], HIDDEN, looks(OBJECT), changed=False)
    assert not occluders.instead()  # nobody is followed any more


def test_an_object_that_looks_as_nothing_did_has_turned():
    assert not followed(keys(NEW, NEW, WALL, WALL, SCENERY, SCENERY), 0, 1).instead()


def test_an_object_that_is_seen_in_part_is_still_followed():
    half = keys(OBJECT, WALL, WALL, SCENERY, SCENERY, SCENERY)
    assert not followed(half, 0, 1).instead()  # at the rim of a mask there always is something else
    assert not followed(half, 0, 1, 2).instead()
    assert followed(half, 0, 1, 2, 3, 4).instead() == {7}


def test_what_looks_like_the_object_is_taken_for_it():
    for far, alike in ((0.98, True), (1.02, False)):
        cosine = 1 - far * RULES.unlike / SHARP
        wall = [cosine, (1 - cosine**2) ** 0.5, 0.0, 0.0]
        occluders = Occluders(SHARP)
        for _ in range(RULES.since):
            occluders.note((7,), [cells(4, 0)], keys(OBJECT, wall, wall, SCENERY), looks(OBJECT), changed=False)
        occluders.note((7,), [cells(4, 0)], keys(wall, wall, SCENERY, SCENERY), looks(OBJECT), changed=False)
        assert (occluders.instead() == set()) is alike


def test_what_is_hardly_more_like_what_was_around_is_the_object():
    for nearer, seen in ((0.98, set()), (1.02, {7})):
        cosine = nearer * RULES.nearer / SHARP
        another = [0.0, cosine, 0.0, (1 - cosine**2) ** 0.5]
        assert followed(keys(another, another, WALL, WALL, SCENERY, SCENERY), 0, 1).instead() == seen


def test_what_another_object_was_says_nothing():
    assert not followed(HIDDEN, 0, 1, before={7: (0, 1), 9: (2, 3)}).instead()
    assert followed(HIDDEN, 0, 1, before={7: (0, 1), 9: (4, 5)}).instead() == {7}


def test_of_whom_nothing_is_known_nobody_doubts():
    occluders, nothing = Occluders(SHARP), References(keys(0, 1).unsqueeze(2), torch.zeros(1, 1, 1, 2, 2))
    for columns in [(0, 1)] * RULES.since + [(2, 3)]:
        occluders.note((7,), [cells(6, *columns)], BEFORE, nothing, changed=False)
    assert not occluders.instead()


def test_who_was_not_seen_before_is_not_doubted():
    assert not followed(HIDDEN, 0, 1, before={7: ()}).instead()
    assert not followed(HIDDEN, 0, 1, before={9: (2, 3)}).instead()
    occluders = Occluders(SHARP)
    for _ in range(RULES.since):
        occluders.note((7,), [cells(6, 2)], BEFORE, looks(OBJECT), changed=False)
        assert not occluders.instead()  # too few frames to tell


def test_what_an_object_looks_like_is_asked_again_once_something_is_given():
    occluders = followed(HIDDEN, 0, 1)
    for again, seen in ((False, {7}), (True, set())):
        occluders.note((7,), [cells(6, 0, 1)], HIDDEN, looks(WALL), changed=again)
        assert occluders.instead() == seen


def test_of_the_looks_only_trusted_frames_tell():
    occluders, both = Occluders(SHARP), looks(OBJECT) + looks(WALL)
    for columns in [(0, 1)] * RULES.since + [(2, 3)]:
        occluders.note((7,), [cells(6, *columns)], BEFORE, both, changed=False)
    assert occluders.instead() == {7}


def test_of_a_large_object_some_places_are_asked(monkeypatch):
    asked, plain = [], Occluders._nearer
    monkeypatch.setattr(
        Occluders, "_nearer", lambda self, places, *rest: asked.append(len(places)) or plain(self, places, *rest)
    )
    occluders, wide = Occluders(SHARP), keys(*[OBJECT] * 300, *[SCENERY] * 9)
    for _ in range(RULES.since + 1):
        occluders.note((7,), [cells(309, *range(300))], wide, looks(OBJECT), changed=False)
    assert RULES.places / 2 < asked[0] <= RULES.places and not occluders.instead()


@pytest.mark.parametrize("kept", [False, True])
def test_a_frame_may_be_kept_out_of_turn(kept):
    memory = Memory()
    for index in range(2):
        memory.add(looks(OBJECT), index, changed=False, keep=kept)
    assert memory.later is not None and len(memory.later) == 1 + kept


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
