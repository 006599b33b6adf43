"""The next frame with a whole mask, before its turn: when it is read, and what it is worth to those before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import small_demo
import torch
from small_demo import SMALL, Picture, Pictured
from test_corrections import HIDDEN, exchanged, right, walled

import rvos_cli as rvos
from rvos_cli.ahead import ReadAhead
from rvos_cli.errors import MaskError
from rvos_cli.foresight import Coming, Foresight
from rvos_cli.matching_tracker import MatchingTracker
from rvos_cli.session import Session
from rvos_cli.views import ViewRules, plain_view, view_of

TOLD = HIDDEN[-1]
SIZE = 24, 32


class Known:
    """Knows whole masks, as ``VideoMasks`` does; a mask that is None cannot be read."""

    def __init__(self, masks: Mapping[int, Picture | None]) -> None:
        self.masks = masks

    def next_whole(self, index: int) -> int | None:
        return min((one for one in self.masks if one > index), default=None)

    def labels(self, index: int) -> Picture | None:
        if index in self.masks and self.masks[index] is None:
            raise MaskError("it has gone")
        return self.masks.get(index)


def numbered(index: int) -> Pictured:
    return Pictured(np.full((*SIZE, 3), index, np.uint8))


def look(image: Picture, labels: Picture) -> Coming:
    """Return keys that say the number of the frame."""
    return Coming(torch.full((1,), float(image[0, 0, 0])), labels)


def foreseen(masks: Mapping[int, Picture | None], frames: int, room: int) -> tuple[list[int | None], list[int]]:
    """Return for each frame which one is foreseen then, and how many had been read."""
    read: list[int] = []

    def reading() -> Iterator[Pictured]:
        for index in range(frames):
            read.append(index)
            yield numbered(index)

    ahead, foresight = ReadAhead(reading()), Foresight(Known(masks), lambda image: room)
    view, known, counts = plain_view(numbered(0).image), [], []
    place = 0
    while ahead:
        foresight.look(place, ahead)
        coming = foresight.coming(view, look)
        known.append(None if coming is None else int(coming.keys[0]))
        counts.append(len(read))
        ahead.take()
        place += 1
    return known, counts


def test_the_next_mask_is_foreseen_as_soon_as_it_is_near():
    mask = np.zeros(SIZE, np.uint8)
    known, read = foreseen({0: mask, 5: mask, 12: mask, 99: mask}, 14, room=4)
    assert known == [None, 5, 5, 5, 5, None, None, None, 12, 12, 12, 12, None, None]
    assert read == [1, 6, 6, 6, 6, 6, 7, 8, 13, 13, 13, 13, 13, 14]


def test_of_a_mask_behind_the_end_or_one_that_cannot_be_read_nothing_is_foreseen():
    assert foreseen({9: np.zeros(SIZE, np.uint8)}, 8, room=20)[0] == [None] * 8
    assert foreseen({5: None}, 8, room=20)[0] == [None] * 8


def test_it_is_looked_at_once_for_each_view():
    made: list[int] = []

    def count(image: Picture, labels: Picture) -> Coming:
        made.append(int(image[0, 0, 0]))
        return look(image, labels)

    ahead = ReadAhead(map(numbered, range(8)))
    foresight = Foresight(Known({5: np.zeros(SIZE, np.uint8)}), lambda image: 20)
    foresight.look(0, ahead)
    one, other = plain_view(numbered(0).image), plain_view(numbered(0).image)
    times = []
    for view in (one, one, other, other):
        assert foresight.coming(view, count) is not None
        times.append(len(made))
    assert times == [1, 1, 2, 2] and made == [5, 5]


def test_a_frame_that_looks_otherwise_than_the_shot_is_not_foreseen():
    bars = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    bars[:20] = bars[-20:] = 0
    view = view_of([bars], ViewRules())
    assert view.area.rows == slice(20, 100)
    inside, outside = np.zeros((120, 160), np.uint8), np.zeros((120, 160), np.uint8)
    inside[30:50, 30:50] = outside[5:30, 30:50] = 1
    for frame, mask, fits in ((bars, inside, True), (bars, outside, False), (np.roll(bars, 60, 0), inside, False)):
        ahead = ReadAhead(map(Pictured, [bars, frame]))
        foresight = Foresight(Known({1: mask}), lambda image: 20)
        foresight.look(0, ahead)
        coming = foresight.coming(view, look)
        assert (coming is not None) == fits
        assert coming is None or np.array_equal(coming.labels, inside)


def followed(frames: list[Picture], masks: dict[int, Picture], *, foresee: bool) -> list[Picture]:
    """Return the labels of what the shipped network follows from whole masks, with or without foresight."""
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    coming = session.looking_ahead(
        map(Pictured, frames), Foresight(Known(masks), lambda image: 100) if foresee else None
    )
    labels = [session.step(frame.image, masks.get(index), whole=index in masks) for index, frame in enumerate(coming)]
    session.close()
    return labels


def overlap(labels: Picture, others: Picture, identity: int) -> float:
    here, there = labels == identity, others == identity
    return float((here & there).sum() / (here | there).sum())


def test_what_is_gone_in_the_next_mask_is_less_often_taken_for_something_else_before_it():
    masks = {0: right()[0], 2: right()[2], TOLD: np.where(right()[TOLD] == 1, 0, right()[TOLD]).astype(np.uint8)}
    with_, without = (followed(walled(), masks, foresee=foresee) for foresee in (True, False))
    mistaken, mistaken_before = (sum(int((labels[n] == 1).sum()) for n in HIDDEN) for labels in (with_, without))
    assert 0 < mistaken < 0.6 * mistaken_before
    for index in (*range(HIDDEN[0]), *range(HIDDEN[-1] + 1, len(with_))):
        assert min(overlap(with_[index], right()[index], identity) for identity in (1, 2, 3)) > 0.85


@pytest.mark.parametrize("foresee", [True, False])
def test_a_first_mask_of_whom_nobody_has_corrected_yet_is_doubted_by_the_next_one(foresee: bool):
    frames, wrong = small_demo.clip()[:10], exchanged(right()[0], 1, 2)
    masks = {0: wrong, 3: np.where(right()[3] == 3, 3, 0).astype(np.uint8), 8: right()[8]}
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    foresight = Foresight(Known({8: masks[8]}), lambda image: 100) if foresee else None
    for index, frame in enumerate(session.looking_ahead(map(Pictured, frames), foresight)):
        session.step(frame.image, masks.get(index), whole=index == 8)
        memory = session._tracker.memory  # type: ignore[attr-defined]
        if index == 6 and foresee:
            assert memory.later.shares[memory.later.trusted - 1] == (0.0, 0.0, 1.0)
    session.close()
    assert [memory.later.shares_of(slot)[0] < 0.1 for slot in range(3)] == [True, True, False]


def test_what_a_mask_contradicts_is_asked_of_who_does_not_know_it(monkeypatch: pytest.MonkeyPatch):
    read: list[bool] = []
    ask = MatchingTracker._contradicted

    def noted(tracker: MatchingTracker, *arguments: object) -> list[int]:
        if tracker.memory.kept is not None:
            read.append(tracker.memory.kept.trusted == len(tracker.memory._sure))
        return ask(tracker, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MatchingTracker, "_contradicted", noted)
    followed(small_demo.clip()[:12], {index: right()[index] for index in (0, 3, 7, 10)}, foresee=True)
    assert read == [True] * 3


def test_before_a_mask_has_been_corrected_nothing_is_foreseen():
    masks = {0: right()[0], TOLD: np.where(right()[TOLD] == 1, 0, right()[TOLD]).astype(np.uint8)}
    with_, without = (followed(walled(), masks, foresee=foresee) for foresee in (True, False))
    assert all(np.array_equal(one, other) for one, other in zip(with_, without, strict=True))


def test_who_is_named_for_the_first_time_in_the_next_mask_is_not_there_before_it():
    first = np.where(right()[0] == 1, 1, 0).astype(np.uint8)
    labels = followed(
        small_demo.clip()[:9],
        {0: first, 2: np.where(right()[2] == 1, 1, 0).astype(np.uint8), 6: right()[6]},
        foresee=True,
    )
    assert [np.unique(one)[1:].tolist() for one in labels] == [[1]] * 6 + [[1, 2, 3]] * 3


@pytest.mark.parametrize("live", [True, False])
def test_stream_looks_forward_where_frames_are_not_live(monkeypatch: pytest.MonkeyPatch, live: bool):
    made: list[int] = []
    look = Session._coming

    def noted(session: Session, image: Picture, labels: Picture) -> Coming | None:
        made.append(next(n for n, one in enumerate(small_demo.clip()) if np.array_equal(one, image)))
        return look(session, image, labels)

    monkeypatch.setattr(Session, "_coming", noted)
    model, frames = rvos.load_model("lite", device="cpu", compiled=False), small_demo.clip()[:12]
    masks = {index: right()[index] for index in (0, 3, 7, 10)}
    found = list(model.stream(iter(frames) if live else frames, frame_masks=masks, size=192))
    assert len(found) == 12 and made == ([] if live else [7, 10])
    assert all(np.array_equal(found[index].labels, mask) for index, mask in masks.items())


def test_behind_a_cut_the_mask_to_come_is_that_of_then(monkeypatch: pytest.MonkeyPatch):
    other = [np.ascontiguousarray(frame[::-1, :, ::-1]) for frame in small_demo.clip()[20:]]
    frames = [*small_demo.clip()[:8], *other, *small_demo.clip()[8:16]]
    back = 8 + len(other)
    nobody = np.zeros_like(right()[0])
    masks = {0: right()[0], 3: right()[3], 12: nobody, back + 4: right()[12]}
    expected: list[list[float]] = []
    step = Session.step

    def noted(session: Session, *arguments: object, **named: object) -> Picture:
        labels = step(session, *arguments, **named)  # type: ignore[arg-type]
        memory = session._tracker.memory  # type: ignore[attr-defined]
        assert len(memory._sure) <= memory.later.trusted <= len(memory._sure) + 1
        expected.append(memory.later.trusted - len(memory._sure))
        return labels

    monkeypatch.setattr(Session, "step", noted)
    model = rvos.load_model("lite", device="cpu", compiled=False)
    assert len(list(model.stream(frames, frame_masks=masks, size=192))) == len(frames)
    assert expected[:4] == [0, 0, 0, 0] and set(expected[4:12]) == {1}
    assert set(expected[back + 4 :]) == {0}
