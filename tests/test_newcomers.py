"""Who comes into the picture while others are followed: scripted slots, keys in which a part moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from boxes import RED, matching_network, picture, square
from torch import Tensor

from rvos_cli import newcomers
from rvos_cli.config import InferenceOptions
from rvos_cli.discovery import DiscoveryRules
from rvos_cli.model import RVOS
from rvos_cli.newcomers import Newcomers
from rvos_cli.session import Session

HEIGHT, WIDTH, KEYS = 192, 320, 32
STILL, MOVING, OTHER = (64, 40), (64, 160), (120, 240)


def looks(*boxes: tuple[int, int], sure: float = 5.0) -> Tensor:
    """Return logits (S, h, w), a square of 48 pixels in each slot."""
    logits = torch.full((len(boxes), HEIGHT, WIDTH), -5.0)
    for slot, (top, left) in enumerate(boxes):
        logits[slot, top : top + 48, left : left + 48] = sure
    return logits


def keys_of(frame: int) -> Tensor:
    """Return keys (1, D, h/8, w/8) of a scene in which what is in the squares MOVING and OTHER goes to the right."""
    draw = torch.Generator().manual_seed(1)
    keys = torch.randn(KEYS, HEIGHT // 8, WIDTH // 8, generator=draw)
    for (top, left), seed in ((MOVING, 2), (OTHER, 3)):
        itself = torch.randn(KEYS, 6, 6, generator=draw.manual_seed(seed))
        keys[:, top // 8 : top // 8 + 6, left // 8 + frame - 4 : left // 8 + frame + 2] = itself
    return torch.nn.functional.normalize(keys, dim=0)[None]


def planes_of(logits: Tensor, followed: Tensor | None = None, *, most: int = 9) -> tuple[list[int], list[Tensor]]:
    """Return the slots that found newcomers in the fifth frame, and the newcomers' logits."""
    watch, followed = Newcomers(), looks() if followed is None else followed
    assert not watch.ready
    for frame in range(4):
        watch.note(keys_of(frame))
    assert watch.ready
    followed = followed.reshape(-1, HEIGHT, WIDTH)
    return watch.among(logits, keys_of(4), followed, DiscoveryRules(), 0.0, most=most)


def found(logits: Tensor, followed: Tensor | None = None, *, most: int = 9) -> list[int]:
    """Return the slots that found newcomers in the fifth frame."""
    return planes_of(logits, followed, most=most)[0]


def test_what_moves_is_a_newcomer_and_what_stands_still_is_scenery():
    assert found(looks(STILL, MOVING)) == [1]
    assert found(looks(MOVING, STILL, OTHER)) == [0, 2]


def test_who_is_followed_is_no_newcomer():
    assert found(looks(MOVING, OTHER), looks(MOVING)) == [1]


def test_a_newcomer_takes_nothing_from_who_is_followed():
    known = looks(MOVING)
    known[:, :, MOVING[1] + 12 :] = -5.0  # a quarter of what comes
    (slot,), (plane,) = planes_of(looks(MOVING), known)
    assert slot == 0
    assert torch.equal(plane > 0, (looks(MOVING)[0] > 0) & (known[0] < 0))


def test_what_is_doubtful_is_no_newcomer():
    assert found(looks(MOVING, sure=0.6)) == []


def test_there_are_no_more_newcomers_than_there_is_room_for():
    assert found(looks(MOVING, OTHER), most=1) == [0]


def test_the_same_thing_comes_once():
    assert found(looks(MOVING, MOVING)) == [0]


def entering(
    network: RVOS,
    monkeypatch: pytest.MonkeyPatch,
    shown: dict[int, Tensor],
    searched: dict[int, Tensor] | None = None,
    **options: int,
) -> Session:
    """Start a session whose slots find nothing, but for looks at frames, which find what is *shown* in them.

    A slot that searches while nobody is known finds what is *searched* in them.
    """
    session = Session(network, options=InferenceOptions(**options))
    tracker, decode = session._tracker, network.decode

    def scripted(features, state=None, *, slots, **rest):
        out = decode(features, state, slots=slots, **rest)
        logits = torch.full_like(out.logits, -6.0)
        if rest.get("kept") is not None and len(tracker.ids):
            logits[:, : len(tracker.ids)] = 6 * (2 * rest["masks"][:, : len(tracker.ids)] - 1)
        if state is None and tracker.index in shown:
            logits[0, 0] = shown[tracker.index]
        elif state is not None and not tracker.ids and tracker.index in (searched or {}):
            logits[0, 0] = searched[tracker.index]
        return replace(out, logits=logits)

    monkeypatch.setattr(network, "decode", scripted)
    return session


def square_in(network: RVOS, left: int | None) -> Tensor:
    """Return logits (h, w) of a frame with a square, in the middle where *left* is None."""
    height, width = picture().shape[:2]
    size = network.config.size
    logits = torch.full((size, round(width * size / height / 32) * 32), -6.0)
    left = logits.shape[1] // 2 - 12 if left is None else left
    logits[16:40, left : left + 24] = 6.0
    return logits


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("others", [0, 1])
def test_who_moves_in_two_looks_running_gets_an_id_and_keeps_it(monkeypatch, moves: bool, others: int):
    monkeypatch.setattr(newcomers.Motion, "of", lambda *_: 0.1 if moves else 0.0)
    network = matching_network()
    first = Newcomers.rules.every * -(-(Newcomers.rules.since + 1) // Newcomers.rules.every)
    here, known = square_in(network, 16), set(range(others + 1))
    before = {0: square_in(network, None)} if others else {}
    session = entering(network, monkeypatch, {**before, first: here, first + 1: here})
    seen = [set(np.unique(session.step(picture())).tolist()) for _ in range(first + 4)]
    assert seen[: first + 1] == [known] * (first + 1)
    assert seen[first + 1 :] == [known | {others + 1} if moves else known] * 3


def test_slot_and_look_together_find_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(newcomers.Motion, "of", lambda *_: 0.1)
    network = matching_network()
    first = Newcomers.rules.every * -(-(Newcomers.rules.since + 1) // Newcomers.rules.every)
    looked, searched = ({k: square_in(network, left) for k in (first, first + 1)} for left in (8, 64))
    for room, ids in ((2, (1, 2)), (1, (1,))):
        session = entering(matching_network(), monkeypatch, looked, searched, max_objects=room)
        for _ in range(first + 2):
            session.step(picture())
        assert session.objects == ids


def test_who_moves_in_one_look_alone_gets_no_id(monkeypatch):
    monkeypatch.setattr(newcomers.Motion, "of", lambda *_: 0.1)
    network = matching_network()
    first = Newcomers.rules.every * -(-(Newcomers.rules.since + 1) // Newcomers.rules.every)
    session = entering(network, monkeypatch, {first: square_in(network, 16)})
    assert not any(session.step(picture()).any() for _ in range(first + 4))


def test_a_shot_that_goes_on_knows_nothing_of_its_last_frames():
    session = Session(matching_network())
    for _ in range(6):
        session.step(picture())
    tracker = session._tracker
    assert tracker._newcomers.ready
    tracker._found_before = [np.ones((16, 28), np.bool_)]
    tracker.pause()
    assert not tracker._newcomers.ready and not tracker._found_before


def test_who_only_follows_looks_for_nobody(monkeypatch):
    monkeypatch.setattr(Newcomers, "note", lambda *_: pytest.fail("looks"))
    session = Session(matching_network(), discover=False)
    for place in range(8):
        session.step(picture((32, 16, RED)), square(32, 16, 1) if place == 0 else None)
