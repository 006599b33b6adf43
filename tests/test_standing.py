"""What stands still beside what moves, in the first frames of a video: scripted finds, keys in which a part moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from boxes import RED, matching_network, picture
from torch import Tensor

from rvos_cli import matching_tracker
from rvos_cli.continuity import Cells
from rvos_cli.discovery import DiscoveryRules, new_objects
from rvos_cli.matching_tracker import MatchingTracker
from rvos_cli.motion import MotionRules
from rvos_cli.session import Session
from rvos_cli.standing import StandingRules, standing

HEIGHT, WIDTH, DEPTH = 24, 40, 32  # places of the keys; a place has 2 x 2 cells
STILL, MOVING = (8, 4), (8, 20)


def keys_of(frame: int, speed: int = 1) -> Tensor:
    """Return keys (1, D, h, w) of a scene in which what is at MOVING, in frame 0, goes to the right."""
    draw = torch.Generator().manual_seed(1)
    keys = torch.randn(DEPTH, HEIGHT, WIDTH, generator=draw)
    top, left = MOVING
    left += speed * frame
    keys[:, top : top + 6, left : left + 6] = torch.randn(DEPTH, 6, 6, generator=draw)
    return torch.nn.functional.normalize(keys, dim=0)[None]


def cells(*corners: tuple[int, int], side: int = 6) -> Cells:
    some = np.zeros((2 * HEIGHT, 2 * WIDTH), np.bool_)
    for top, left in corners:
        some[2 * top : 2 * (top + side), 2 * left : 2 * (left + side)] = True
    return some


def stand(*places: Cells, frames: tuple[int, ...] = (3, 6, 9), speed: int = 1, **rules: float) -> list[Cells]:
    others = [keys_of(frame, speed) for frame in frames]
    return standing(places, keys_of(0, speed), others, replace(StandingRules(), **rules), MotionRules())


def test_of_a_find_that_holds_both_the_piece_that_stands_is_told():
    still = stand(cells(STILL, MOVING), cells((16, 30)))
    assert np.array_equal(still[0], cells(STILL))
    assert not still[1].any()


def test_what_stands_by_itself_is_left_alone():
    assert not any(each.any() for each in stand(cells(STILL), cells(MOVING)))


def test_where_nothing_moves_nothing_stands():
    assert not stand(cells(STILL, (16, 30)))[0].any()
    assert not stand(cells(STILL, MOVING), speed=0)[0].any()
    assert not stand(np.zeros_like(cells()))[0].any()


def test_one_other_frame_tells_nothing():
    assert not stand(cells(STILL, MOVING), frames=(3,))[0].any()


def test_what_is_small_makes_no_scenery_of_what_is_large():
    large = cells((4, 2), side=14)
    both = large | cells(MOVING, side=2)
    assert not stand(both)[0].any()
    assert np.array_equal(stand(both, beside=0.01)[0], large)


def test_bits_are_not_asked():
    both = cells(STILL, side=2) | cells(MOVING)
    assert np.array_equal(stand(both)[0], cells(STILL, side=2))
    assert not stand(both, area=0.01)[0].any()


def planes(*each: tuple[Cells, float]) -> Tensor:
    """Return logits (S, h, w) of slots, each so sure of its cells."""
    sure = np.stack([np.where(some, logit, -5.0) for some, logit in each])
    return torch.from_numpy(sure).float().repeat_interleave(4, 1).repeat_interleave(4, 2)


def objects(still: list[Cells] | None, *each: tuple[Cells, float], most: int = 9) -> tuple[list[int], list[Tensor]]:
    logits = planes(*each)
    taken = torch.zeros(logits.shape[1:], dtype=torch.bool)
    places = [some for some, _ in each]
    sources, found = new_objects(logits, places, taken, DiscoveryRules(), 0.7, 0.5, most=most, still=still)
    return sources, list(found)


def inside(*some: Cells) -> list[Tensor]:
    return [plane > 0 for plane in planes(*((each, 5.0) for each in some))]


def test_what_stands_is_an_object_by_itself_if_the_network_is_sure():
    sources, found = objects([cells(STILL)], (cells(STILL, MOVING), 5.0))
    assert sources == [0, 0]
    for plane, expected in zip(found, inside(cells(MOVING), cells(STILL)), strict=True):
        assert torch.equal(plane > 0, expected)
    (plane,) = objects([cells(STILL)], (cells(STILL, MOVING), 5.0), most=1)[1]
    assert torch.equal(plane > 0, inside(cells(MOVING))[0])


def test_what_stands_is_no_object_if_the_network_is_not_so_sure():
    nothing = np.zeros_like(cells())
    sources, (plane,) = objects([cells(STILL)], (cells(STILL, MOVING), 1.5))  # a probability of 0.82
    assert sources == [0]
    assert torch.equal(plane > 0, inside(cells(MOVING))[0])
    both = (cells(STILL), 1.5), (cells(MOVING), 1.5)
    assert objects([cells(STILL), nothing], *both)[0] == [1]  # the search goes on behind it
    assert objects(None, *both)[0] == objects([nothing, nothing], *both)[0] == [0, 1]


def test_each_look_of_an_opening_is_told_of_the_others(monkeypatch: pytest.MonkeyPatch):
    told = list[tuple[Tensor, tuple[Tensor, ...]]]()

    def noted(places: list[Cells], keys: Tensor, others: list[Tensor], *_: object) -> list[Cells]:
        told.append((keys, tuple(others)))
        return [np.ones_like(each) for each in places]

    monkeypatch.setattr(matching_tracker, "standing", noted)
    model = matching_network()
    torch.nn.init.constant_(model.decoder.conv_out.bias, 0.7)  # which finds all of the frame, with 0.67
    monkeypatch.setattr(MatchingTracker, "rules", DiscoveryRules(confidence=0.6))
    session = Session(model)
    frames = [picture((32, 8 * place, RED)) for place in range(13)]
    session.look_ahead(frames)
    assert len(told) == 5
    for place, (keys, others) in enumerate(told):
        assert len(others) == 4
        alone = [other for number, (other, _) in enumerate(told) if number != place]
        assert all(torch.equal(one, another) for one, another in zip(others, alone, strict=True))
        assert not any(torch.equal(keys, other) for other in others)
    assert session.objects == ()  # of which it is not sure enough, since it stands
    again = Session(model)
    again.step(frames[0])
    assert len(told) == 5  # a single frame has no others
    assert again.objects == (1,)
