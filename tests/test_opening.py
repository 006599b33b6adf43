"""With which of the first frames a video begins."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.opening import GRID, Look, OpeningRules, choose, likeness
from rvos_cli.session import Session
from rvos_cli.shots import AROUND
from rvos_cli.sources import open_source

DEMO = Path(__file__).parent.parent / "examples/demo/demo.mp4"

RULES = OpeningRules()
Box = tuple[int, int, int, int]  # top, left, height, width


def look(*boxes: Box, logit: float = 5.0) -> Look:
    logits = torch.full((len(boxes), 64 * GRID, 96 * GRID), -9.0)
    for plane, (top, left, height, width) in zip(logits, boxes, strict=True):
        plane[top * GRID : (top + height) * GRID, left * GRID : (left + width) * GRID] = logit
    return Look(logits, 0.5)


CAR, BIRD, TREE = (20, 10, 20, 30), (5, 60, 8, 8), (30, 70, 30, 20)


def test_two_looks_are_alike_as_far_as_they_found_the_same():
    assert likeness(look(CAR, BIRD), look(BIRD, CAR), RULES.motion) == 1
    assert likeness(look(CAR), look(TREE), RULES.motion) < 0.7
    both, one = look(CAR, BIRD), look(CAR)
    assert 0.7 < likeness(both, one, RULES.motion) == likeness(one, both, RULES.motion) < 0.95


def test_nothing_is_like_nothing_and_like_nothing_else():
    assert likeness(look(), look(), RULES.motion) == 1
    assert likeness(look(), look(CAR), RULES.motion) == likeness(look(CAR), look(), RULES.motion) == 0


def test_objects_may_have_moved_a_little():
    moved, gone = (24, 16, 20, 30), (20, 60, 20, 30)
    assert likeness(look(CAR), look(moved), RULES.motion) == 1
    assert likeness(look(CAR), look(gone), RULES.motion) < 0.5
    assert likeness(look(CAR), look(moved), 0.0) < 0.7


def test_the_first_frame_is_taken_where_all_found_the_same():
    assert choose([look(CAR)] * 5, RULES) == 0
    assert choose([look()] * 5, RULES) == 0
    assert choose([look(TREE)], RULES) == 0


def test_a_first_frame_that_alone_found_something_else_is_not_taken():
    for odd in (look(), look(TREE), look(CAR, TREE, BIRD)):
        assert choose([odd, look(CAR), look(CAR), look(CAR)], RULES) > 0


def test_of_looks_that_are_alike_the_surest_is_taken():
    doubtful, sure = look(CAR, logit=1.0), look(CAR, logit=4.0)
    assert (doubtful.sureness, sure.sureness) == (0, 1)
    assert choose([doubtful, doubtful, sure, doubtful], RULES) == 2


def test_a_frame_smaller_than_its_grid_is_no_trouble():
    found = Look(torch.full((1, 32, 32), 3.0), 0.5)
    assert found.masks.all() and found.masks.shape == (1, 8, 8)


def test_sureness_is_of_what_may_be_of_an_object():
    logits = torch.full((1, 16, 32), -9.0)
    logits[0, :, :8], logits[0, :, 8:16] = 4.0, 0.0
    assert Look(logits, 0.5).sureness == pytest.approx(0.5)
    assert Look(torch.full((1, 16, 32), -9.0), 0.5).sureness == 0
    assert not len(Look(torch.full((1, 16, 32), -9.0), 0.5).masks)


def test_the_rules_say_how_many_frames_all_looks_need():
    assert OpeningRules(every=4, looks=3).frames == 9
    assert RULES.frames == 13


def demo_frames(count: int) -> list[NDArray[np.uint8]]:
    with open_source(DEMO) as source:
        return [frame.image for frame in islice(source, count)]


def test_what_a_fade_from_black_hides_at_first_is_found_in_the_frames_behind_it():
    frames = demo_frames(14)
    faded = [(frame * min(1.0, n / 9)).astype(np.uint8) for n, frame in enumerate(frames)]
    model = rvos.load_model("lite", device="cpu")
    plain, ahead = list(model.stream(frames)), list(model.stream(faded))
    one_by_one = list(model.stream(iter(faded)))  # may be live: the next frame may not be there yet
    assert len(ahead) == len(faded)
    seen = [set(np.unique(results[5].labels)) - {0} for results in (plain, ahead, one_by_one)]
    assert seen[0] == seen[1] == {1, 2, 3} and len(seen[2]) < 3
    inside, same = plain[9].labels > 0, plain[9].labels == ahead[9].labels
    assert same[inside].mean() > 0.9


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]


def test_frames_that_were_looked_at_ahead_are_let_go_one_by_one():
    torch.manual_seed(0)
    session = Session(RVOS(ModelConfig(hidden_size=16, key_dim=16, size=64)).eval())
    alive: list[weakref.ref[Picture]] = []

    def made(level: int) -> Picture:
        picture = Picture(np.full((64, 96, 3), 10 * level, np.uint8))
        alive.append(weakref.ref(picture))
        return picture

    coming = session.looking_ahead(map(made, range(RULES.frames + 4)))
    for place in range(RULES.frames + 4):
        picture = next(coming)
        assert int(picture.image[0, 0, 0]) == 10 * place
        session.step(picture.image)
        del picture
        gc.collect()
        waiting = max(1, RULES.frames - place - 1) + AROUND  # one comes next, and by those behind it a cut is told
        assert sum(reference() is not None for reference in alive) <= waiting


def test_with_a_first_mask_no_more_is_read_ahead_than_a_cut_takes():
    torch.manual_seed(0)
    mask = np.zeros((64, 96), np.uint8)
    mask[10:30, 10:30] = 4
    session = Session(RVOS(ModelConfig(hidden_size=16, key_dim=16, size=64)).eval(), first_mask=mask)
    read: list[int] = []

    def pictures() -> Iterator[Picture]:
        for place in range(20):
            read.append(place)
            yield Picture(np.full((64, 96, 3), 90, np.uint8))

    next(session.looking_ahead(pictures()))
    session.close()
    assert read == list(range(2 + AROUND))  # whether the second one begins a shot, those behind it tell
