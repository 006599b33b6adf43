"""Frames with whole masks that are yet to come: when they are read, and what they are worth to those before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import small_demo
import torch
from small_demo import SMALL, Picture
from test_corrections import HIDDEN, right, walled

import rvos_cli as rvos
from rvos_cli.foresight import AnnotatedFrame, Coming, Foresight
from rvos_cli.session import Session

INDICES = 0, 4, 9, 12
TOLD = HIDDEN[-1]


def annotated(read: list[int]) -> Iterator[AnnotatedFrame]:
    """Yield frames of which the labels say the index, and note it in *read*."""
    for index in INDICES:
        read.append(index)
        yield index, np.zeros((2, 2, 3), np.uint8), np.full((2, 2), index, np.uint8)


def encoded(image: np.ndarray, labels: np.ndarray) -> Coming:
    return Coming(torch.zeros(1), labels)


def test_as_many_as_asked_for_are_read_and_those_that_came_are_not_looked_at():
    read: list[int] = []
    foresight = Foresight(annotated(read), 2)
    assert read == []

    def behind(place: int) -> list[int]:
        return [int(coming.labels[0, 0]) for coming in foresight.behind(place, encoded)]

    assert behind(0) == [4, 9] and read == [0, 4, 9]
    assert behind(3) == [4, 9] and read == [0, 4, 9]
    assert behind(4) == [9, 12] and read == [*INDICES]
    assert behind(11) == [12]
    assert behind(12) == []


def test_one_that_is_of_no_use_is_not_encoded_again():
    asked: list[int] = []

    def refuse(image: np.ndarray, labels: np.ndarray) -> None:
        asked.append(int(labels[0, 0]))

    foresight = Foresight(annotated([]), 2)
    assert foresight.behind(0, refuse) == foresight.behind(1, refuse) == []
    assert asked == [4, 9]


def followed(frames: list[Picture], masks: dict[int, Picture], *, foresee: bool) -> list[Picture]:
    """Return the labels of what the shipped network follows from whole masks, with or without foresight."""
    session = Session(small_demo.lite(), options=SMALL, discover=False)
    if foresee:
        session.foresee((index, frames[index], mask) for index, mask in masks.items())
    labels = [session.step(frame, masks.get(index), whole=index in masks) for index, frame in enumerate(frames)]
    session.close()
    return labels


def test_what_is_gone_in_a_mask_to_come_is_less_often_taken_for_something_else_before_it():
    masks = {0: small_demo.first_mask(), TOLD: np.where(right()[TOLD] == 1, 0, right()[TOLD]).astype(np.uint8)}
    with_, without = (followed(walled(), masks, foresee=foresee) for foresee in (True, False))
    mistaken, mistaken_before = (sum(int((labels[n] == 1).sum()) for n in HIDDEN) for labels in (with_, without))
    assert 0 < mistaken < 0.4 * mistaken_before
    for index in (*range(HIDDEN[0]), *range(HIDDEN[-1] + 1, len(with_))):
        for identity in (1, 2, 3):
            here, there = with_[index] == identity, right()[index] == identity
            assert (here & there).sum() > 0.85 * (here | there).sum()


def test_who_is_named_in_a_mask_to_come_is_not_there_before_it():
    masks = {0: np.where(right()[0] == 1, 1, 0).astype(np.uint8), 6: right()[6]}
    labels = followed(small_demo.clip()[:9], masks, foresee=True)
    assert [np.unique(one)[1:].tolist() for one in labels] == [[1]] * 6 + [[1, 2, 3]] * 3


def test_stream_looks_forward_where_it_can_and_nowhere_else(monkeypatch):
    masks = {0: right()[0], 6: right()[6]}
    foreseen: list[int] = []
    look = Session._foreseen

    def noted(session: Session, image: Picture, mask: Picture) -> Coming | None:
        foreseen.append(next(n for n, one in enumerate(right()) if np.array_equal(one, mask)))
        return look(session, image, mask)

    monkeypatch.setattr(Session, "_foreseen", noted)
    model, frames = rvos.load_model("lite", device="cpu", compiled=False), small_demo.clip()[:8]
    assert len(list(model.stream(frames, frame_masks=masks, size=192))) == 8 and foreseen == [6]
    assert len(list(model.stream(iter(frames), frame_masks=masks, size=192))) == 8 and foreseen == [6]
    assert len(list(model.stream(frames, masks=masks, size=192))) == 8 and foreseen == [6]
