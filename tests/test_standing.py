"""What stands still beside what moves, in the first frames of a video: scripted finds, keys in which a part moves."""

from __future__ import annotations

from collections.abc import Sequence
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
STILL, MOVING, OTHER = (8, 4), (8, 20), (16, 4)
Corner = tuple[int, int]  # row and column of a square of 6 places


def scene_with(*things: Corner, pan: int = 0, seed: int = 1) -> Tensor:
    """Return keys (1, D, h, w) of a scene, *pan* places of a wide one farther to the right, with things before it."""
    draw = torch.Generator().manual_seed(seed)
    keys = torch.randn(DEPTH, HEIGHT, 2 * WIDTH, generator=draw)[:, :, 20 + pan : 20 + pan + WIDTH].clone()
    for number, (top, left) in enumerate(things):
        itself = torch.randn(DEPTH, 6, 6, generator=draw.manual_seed(100 + number))
        keys[:, top : top + 6, left : left + 6] = itself
    return torch.nn.functional.normalize(keys, dim=0)[None]


def keys_of(frame: int) -> Tensor:
    """Return the keys of a scene in which what is at MOVING, in frame 0, goes to the right."""
    return scene_with((MOVING[0], MOVING[1] + frame))


def cells(*corners: tuple[int, int], side: int = 6) -> Cells:
    some = np.zeros((2 * HEIGHT, 2 * WIDTH), np.bool_)
    for top, left in corners:
        some[2 * top : 2 * (top + side), 2 * left : 2 * (left + side)] = True
    return some


def stand(*places: Cells, others: Sequence[Tensor] | None = None, **rules: float) -> list[Cells]:
    shown = [keys_of(frame) for frame in (3, 6, 9)] if others is None else others
    return standing(places, keys_of(0), shown, replace(StandingRules(), **rules), MotionRules())


def test_of_a_find_that_holds_both_the_piece_that_stands_is_told():
    still = stand(cells(STILL, MOVING), cells((16, 30)))
    assert np.array_equal(still[0], cells(STILL))
    assert not still[1].any()


def test_what_stands_by_itself_is_left_alone():
    assert not any(each.any() for each in stand(cells(STILL), cells(MOVING)))


def test_where_nothing_moves_nothing_stands():
    assert not stand(cells(STILL, OTHER))[0].any()
    assert not stand(cells(STILL, MOVING), others=[keys_of(0)] * 3)[0].any()
    assert not stand(cells())[0].any()


def test_one_other_frame_tells_nothing():
    assert not stand(cells(STILL, MOVING), others=[keys_of(3)])[0].any()
    assert not stand(cells(STILL, MOVING), others=[])[0].any()


def test_frames_that_do_not_tell_the_cameras_motion_count_for_nothing():
    other_scenes = [scene_with(MOVING, seed=seed) for seed in (5, 6)]
    assert not stand(cells(STILL, MOVING), others=[keys_of(3), *other_scenes])[0].any()
    assert stand(cells(STILL, MOVING), others=[keys_of(3), keys_of(6), *other_scenes])[0].any()


def test_what_a_pan_shows_for_the_first_time_does_not_stand():
    edge, thing = (8, 0), (8, 14)  # two pieces of one thing, which go with the camera
    for pan in (1, -1):
        keys, *others = (scene_with(edge, thing, pan=pan * frame) for frame in (0, 2, 4, 6))
        assert not standing([cells(edge, thing)], keys, others, StandingRules(), MotionRules())[0].any()


def test_what_stands_before_a_camera_that_turns_is_told():
    keys, *others = (scene_with((8, 26 + frame), pan=frame) for frame in (0, 2, 4))
    (still,) = standing([cells(STILL, (8, 26))], keys, others, StandingRules(), MotionRules())
    assert np.array_equal(still, cells(STILL))  # which is a part of the scene


def test_a_leg_that_stands_in_some_frames_is_no_scenery():
    body, leg = (2, 20), (12, 20)
    steps = ((2, 0), (3, 0), (4, 4), (6, 6), (8, 8))
    others = [scene_with((2, 20 + far), (12, 20 + near)) for far, near in steps]
    assert not standing([cells(body, leg)], scene_with(body, leg), others, StandingRules(), MotionRules())[0].any()
    (still,) = standing([cells(body, leg)], scene_with(body, leg), others[:3], StandingRules(), MotionRules())
    assert np.array_equal(still, cells(leg))  # nobody knows better


def test_several_pieces_that_stand_are_told_and_the_largest_that_moves_counts():
    still = cells(STILL) | cells(OTHER, side=3)
    both = still | cells(MOVING)
    assert np.array_equal(stand(both)[0], still)
    large, bit = cells((2, 2), side=13), cells(MOVING, side=3)
    assert not stand(large | bit | cells((11, 24), side=2), beside=0.06)[0].any()
    assert np.array_equal(stand(large | bit | cells((11, 23), side=2), beside=0.06)[0], large)  # they meet in a corner


def test_what_is_small_makes_no_scenery_of_what_is_large():
    large = cells((4, 2), side=12)
    assert np.array_equal(stand(large | cells(MOVING))[0], large)  # of which the mover has a quarter
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
    sources, found = objects([cells(STILL)], (cells(STILL, MOVING), 2.5))  # a probability of 0.92
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
    assert objects(None, *both)[0] == objects([nothing, nothing], *both)[0] == [0, 1]


def test_a_slot_in_which_what_moves_is_no_object_stays_whole():
    both, near = cells(STILL, (8, 12)), cells((8, 12))
    logits = planes((cells(STILL), 1.5)).maximum(planes((near, 0.6)))  # 0.82 and 0.65
    nowhere = torch.zeros(logits.shape[1:], dtype=torch.bool)
    _, (plane,) = new_objects(logits, [both], nowhere, DiscoveryRules(), 0.7, 0.5, most=9, still=[cells(STILL)])
    assert torch.equal(plane > 0, inside(both)[0])
    bit = cells(STILL) | cells((8, 11), side=1)  # smaller than an object
    (plane,) = objects([cells(STILL)], (bit, 1.5))[1]
    assert torch.equal(plane > 0, inside(bit)[0])


def test_splinters_that_stand_are_no_objects():
    chip = cells((8, 2), side=2)
    (plane,) = objects([chip], (cells((2, 20), side=14) | chip, 5.0))[1]
    assert torch.equal(plane > 0, inside(cells((2, 20), side=14))[0])


def test_each_look_of_an_opening_is_told_of_the_others(monkeypatch: pytest.MonkeyPatch):
    told = list[tuple[Tensor, tuple[Tensor, ...]]]()

    def noted(places: list[Cells], keys: Tensor, others: list[Tensor], *_: object) -> list[Cells]:
        told.append((keys, tuple(others)))
        return [np.zeros_like(each) for each in places]

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
    assert session.objects == (1,)
    Session(model).step(frames[0])
    assert told[5][1] == ()  # a single frame has no others
