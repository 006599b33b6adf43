"""Small objects, which are looked at closely: the demo clip within a large picture, and the shipped network."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import small_demo
import torch
from small_demo import SMALL, Picture, Pictured

from rvos_cli.camera import CameraRules
from rvos_cli.config import InferenceOptions, ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.reframing import Reframing
from rvos_cli.session import Session

FRAMES, TIMES = 12, 4  # the picture is so many times as high and wide as the clip in it
MIDDLE, CORNER = (200, 400), (530, 950)  # where the clip is shown


@functools.cache
def ground() -> Picture:
    """Return a large picture without anything in it, coarse noise."""
    height, width = small_demo.first_mask().shape
    coarse = np.random.default_rng(0).integers(
        40, 200, (TIMES * height // 40 + 1, TIMES * width // 40 + 1, 3), np.uint8
    )
    return coarse.repeat(40, axis=0).repeat(40, axis=1)[: TIMES * height, : TIMES * width]


def placed(part: Picture, place: tuple[int, int] = MIDDLE) -> Picture:
    """Return a frame, or labels, with those of the clip at a place, top and left."""
    frame = ground().copy() if part.ndim == 3 else np.zeros(ground().shape[:2], np.uint8)
    frame[place[0] : place[0] + part.shape[0], place[1] : place[1] + part.shape[1]] = part
    return frame


def clip() -> list[Picture]:
    return small_demo.clip()[:FRAMES]


@functools.cache
def in_the_clip() -> list[Picture]:
    """Return what is followed in the clip by itself."""
    session = Session(small_demo.lite(), options=SMALL, first_mask=small_demo.first_mask())
    return small_demo.labels_of(session, clip())


def wide() -> list[Picture]:
    return [placed(frame) for frame in clip()]


def right() -> list[Picture]:
    return [placed(labels) for labels in in_the_clip()]


def close_session(first: Picture | None = None) -> Session:
    return Session(small_demo.lite(), options=SMALL, first_mask=right()[0] if first is None else first)


def agreement(found: Picture, wanted: Picture, identity: int = 1) -> float:
    one, other = found == identity, wanted == identity
    return float((one & other).sum() / max(1, (one | other).sum()))


def overlap(found: list[Picture], identity: int) -> float:
    return float(np.mean([agreement(*pair, identity) for pair in zip(found, right(), strict=True)][1:]))


def followed(*, closely: bool) -> tuple[Session, list[Picture]]:
    session = close_session()
    session.camera_rules = CameraRules() if closely else CameraRules(most=0)
    return session, small_demo.labels_of(session, wide())


def test_what_is_small_is_followed_better():
    session, closely = followed(closely=True)
    _, whole = followed(closely=False)
    assert session._tracker.camera.closer
    for identity in (1, 2, 3):
        assert overlap(closely, identity) > max(0.7, overlap(whole, identity) + 0.1)


def test_labels_lie_where_the_objects_are_in_the_whole_frame():
    session, found = followed(closely=True)
    (top, bottom), (left, right_) = session._tracker.camera.view.looked_at.bounds
    assert bottom - top < wide()[0].shape[0] / 2
    assert all(labels.shape == wide()[0].shape[:2] for labels in found)
    outside = np.ones(found[-1].shape, np.bool_)
    outside[top:bottom, left:right_] = False
    assert not found[-1][outside].any() and found[-1].any()


def test_frames_that_come_one_by_one_have_the_same_masks():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [followed(closely=True)[1]]
        session = close_session()
        found.append([session.step(frame) for frame in wide()])
    finally:
        torch.set_num_threads(before)
    assert all(np.mean(one == other) > 0.9995 for one, other in zip(*found, strict=True))


def test_it_goes_along_with_what_moves():
    session, bounds = close_session(), []
    for step, (frame, labels) in enumerate(zip(clip(), in_the_clip(), strict=True)):
        place = MIDDLE[0] + 10 * step, MIDDLE[1] + 20 * step
        assert min(agreement(session.step(placed(frame, place)), placed(labels, place), one) for one in (1, 2, 3)) > 0.5
        bounds.append(session._tracker.camera.view.looked_at.bounds)
    assert bounds[-1][0][0] > bounds[0][0][0] + 40 and bounds[-1][1][0] > bounds[0][1][0] + 100


def test_frames_between_whole_masks_tell_where_it_goes():
    session = close_session()
    for step, frame in enumerate(clip()):
        place = MIDDLE[0] + 10 * step, MIDDLE[1] + 20 * step
        found = session.step(placed(frame, place), None, whole=True)
    assert agreement(found, placed(in_the_clip()[-1], place)) > 0.6


def test_all_that_is_remembered_of_the_last_frame_moves_with_the_window():
    session = close_session()
    for frame in wide()[:3]:
        session.step(frame)
    tracker = session._tracker
    before, masks, state, last = tracker._area, tracker.masks, tracker.state, tracker.memory.last
    where = dict(tracker._whereabouts._where)
    tracker._absence.begin([3], tracker.ids, tracker.memory.later)
    size = tracker._absence._missing[3].size
    (top, bottom), (left, right_) = before.bounds
    after = replace(before, rows=slice(top + 9, bottom - 3), columns=slice(left + 9, right_ - 12))
    tracker.look_at(after)
    moved = Reframing(before, after)
    assert torch.equal(tracker.masks, moved.planes(masks)) and not torch.equal(tracker.masks, masks)
    for one, other in zip(tracker.state.slots, state.slots, strict=True):
        assert all(torch.equal(x, moved.planes(y)) and not torch.equal(x, y) for x, y in zip(one, other, strict=True))
    assert torch.equal(tracker.memory.last.keys[:, :, 0], moved.planes(last.keys[:, :, 0], "nearest"))
    assert torch.equal(tracker.memory.last.masks[:, :, 0], moved.planes(last.masks[:, :, 0]))
    assert not torch.equal(tracker.memory.last.keys, last.keys)
    assert all(np.array_equal(cells, moved.cells(where[one])) for one, cells in tracker._whereabouts._where.items())
    assert tracker._absence._missing[3].size == pytest.approx(size * moved.growth) != size


def test_who_was_out_of_sight_is_found_again_elsewhere():
    session, place = close_session(), (MIDDLE[0] + 60, MIDDLE[1] + 120)
    for frame in (*wide()[:4], *[ground()] * 4):
        labels = session.step(frame)
    assert not labels.any() and session._tracker.camera.view is session._tracker.camera.whole
    for frame in clip():
        labels = session.step(placed(frame, place))
    assert agreement(labels, placed(in_the_clip()[-1], place)) > 0.5


def test_a_mask_outside_of_what_is_looked_at_counts():
    """The clip is shown twice; the one object of the second that is named is far from what is followed."""
    bird = np.where(right()[0] == 2, 2, 0).astype(np.uint8)
    session = close_session(bird)
    twice = []
    for frame in wide():
        frame[CORNER[0] : CORNER[0] + clip()[0].shape[0], CORNER[1] : CORNER[1] + clip()[0].shape[1]] = clip()[0]
        twice.append(frame)
    late = placed(np.where(small_demo.first_mask() == 1, 1, 0).astype(np.uint8), CORNER)
    for index, frame in enumerate(twice):
        (top, bottom), (left, right_) = close_bounds(session, frame)
        assert index != 3 or not late[top:bottom, left:right_].any()
        labels = session.step(frame, late if index == 3 else None)
    assert agreement(labels, late) > 0.7


def close_bounds(session: Session, frame: Picture) -> tuple[tuple[int, int], tuple[int, int]]:
    camera = session._tracker.camera
    return ((0, frame.shape[0]), (0, frame.shape[1])) if camera is None else camera.view.looked_at.bounds


def test_the_way_back_leaves_the_way_forward_alone():
    last = []
    for back in (False, True):
        session = close_session()
        for frame in wide()[:-1]:
            session.step(frame)
        if back:
            before = list(session.back(wide()[-3::-1]))
            assert len(before) == FRAMES - 2
            assert agreement(before[-1][0], right()[0]) > 0.7
        last.append(session.step(wide()[-1]))
    assert np.array_equal(*last)


def test_the_first_frame_is_remembered_from_near_and_far_and_behind_a_cut_from_far():
    session = close_session()
    session.step(wide()[0])
    tracker = session._tracker
    near, far = (tracker.memory.later.masks[0, 0, place] for place in (0, 1))
    assert near.sum() > 2 * far.sum() > 0
    behind = tracker.behind_cut()
    assert torch.equal(behind.memory.last.masks[0, 0, 0], far) and behind.camera is None
    places = int((far > 0.5 * far.max()).sum())
    assert behind._absence._missing[1].size == places
    (top, bottom), _ = tracker.camera.view.looked_at.bounds
    times = (ground().shape[0] / (bottom - top)) ** 2
    assert tracker._sizes_in(tracker._area)[1] == pytest.approx(places * times, rel=0.05)


def test_who_is_missed_is_as_large_as_the_part_that_is_looked_at_shows_it():
    session, sizes, shares = close_session(), [], []
    for frame in (*wide()[:4], *[ground()] * 4):
        session.step(frame)
        tracker = session._tracker
        if 1 in tracker._absence.ids:
            (top, bottom), _ = (tracker._area or tracker.view.area).bounds
            sizes.append(tracker._absence._missing[1].size)
            shares.append((bottom - top) / frame.shape[0])
    assert shares[0] < 0.5 and shares[-1] == 1
    whole = tracker._sizes_in(None)[1]
    assert sizes == pytest.approx([whole / share**2 for share in shares], rel=0.05)


def test_who_is_looked_for_is_not_looked_at_closely():
    session = Session(small_demo.lite(), options=SMALL)
    session.step(wide()[0])
    assert session._tracker.camera is None


def test_published_networks_see_whole_frames():
    model = RVOS(ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, mask_input=True, size=64)).eval()
    session = Session(model, options=InferenceOptions(size=64), first_mask=right()[0])
    session.step(wide()[0])
    assert session._tracker.camera is None


def test_frames_that_are_encoded_ahead_are_those_that_are_looked_at():
    session, views = close_session(), []
    encode = session._encoded

    def noted(image, network, view):
        views.append(view)
        return encode(image, network, view)

    session._encoded = noted
    session._encode._function = noted
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for index, frame in enumerate(session.looking_ahead(map(Pictured, wide()))):
            session.step(frame.image)
            if index == 1:
                views.clear()  # the first two frames were encoded in whole as well
    finally:
        torch.set_num_threads(before)
    session.close()
    assert len(views) <= FRAMES - 2 and all(view.window is not None for view in views)
