"""Where a scene has faded into another or into a single colour, and what a session makes of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from boxes import SIZE, matching_network
from numpy.typing import NDArray
from scenes import Picture, noisy, scene

from rvos_cli.ahead import ReadAhead
from rvos_cli.presence import Appearance
from rvos_cli.session import Session
from rvos_cli.shots import ShotRules, Shots
from rvos_cli.small_copies import small_copy

Frames = list[NDArray[np.uint8]]
BLACK = np.zeros_like(scene(1))


def faded(one: NDArray[np.uint8], other: NDArray[np.uint8], count: int) -> Frames:
    """Return *count* mixtures that lead from one picture to the other."""
    shares = np.linspace(0, 1, count + 2)[1:-1]
    return [np.rint((1 - share) * one + share * other).astype(np.uint8) for share in shares]


def shots_of(frames: Frames) -> dict[int, bool]:
    """Return the places at which shots begin behind the first one, and whether the one before has faded."""
    shots, begun = Shots(ReadAhead(map(Picture, frames)), ShotRules()), {}
    for place in range(len(frames)):
        cut = shots.cut(0)
        if cut is not None:
            shots.begin()
            begun[place] = cut.faded
        shots.take()
    return begun


@pytest.mark.parametrize("count", [2, 3, 5, 8, 12, 25, 50])
@pytest.mark.parametrize("long", [20, 70])
def test_a_fade_is_told_soon_after_its_end_and_once(count: int, long: int) -> None:
    first, second = scene(1), scene(2)
    begun = shots_of(noisy(first, long) + noisy_each(faded(first, second, count)) + noisy(second, long))
    ((place, by_fade),) = begun.items()
    assert by_fade and 0 <= place - (long + count) <= 3


@pytest.mark.parametrize("bars", [((20, 20), (0, 0), (0, 0)), ((0, 0), (170, 170), (0, 0))])
def test_between_bars_a_fade_is_told_by_the_picture(bars: tuple[tuple[int, int], ...]) -> None:
    first, second = scene(1), scene(2)
    frames = noisy(first, 20) + noisy_each(faded(first, second, 12)) + noisy(second, 20)
    begun = shots_of([np.pad(frame, bars) for frame in frames])
    assert begun == shots_of(frames) and len(begun) == 1


def noisy_each(frames: Frames) -> Frames:
    return [noisy(frame, 1)[0] for frame in frames]


def test_scenes_that_fade_one_after_the_other_are_shots_each() -> None:
    pictures = [scene(seed) for seed in range(1, 5)]
    frames = [
        frame for one, other in pairwise(pictures) for frame in (*noisy(one, 14), *noisy_each(faded(one, other, 10)))
    ]
    begun = shots_of(frames + noisy(pictures[-1], 14))
    assert len(begun) == 3 and all(0 <= place - 24 * (n + 1) <= 3 for n, place in enumerate(begun))


def test_behind_black_a_shot_begins_with_the_first_frame_that_shows_anything() -> None:
    first, second = scene(1), scene(2)
    frames = noisy(first, 14) + faded(first, BLACK, 12) + [BLACK] * 9 + faded(BLACK, second, 12) + noisy(second, 20)
    black, behind = shots_of(frames).items()
    assert 14 + 12 - 3 <= black[0] <= 14 + 12 + 3 and black[1]  # the last mixtures are black to the eye
    assert 14 + 12 + 9 <= behind[0] <= 14 + 12 + 9 + 2 and not behind[1]


def test_what_begins_black_begins_once() -> None:
    second = scene(2)
    ((place, by_fade),) = shots_of([BLACK] * 6 + faded(BLACK, second, 20) + noisy(second, 30)).items()
    assert 6 <= place <= 8 and not by_fade
    assert shots_of(faded(BLACK, second, 20) + noisy(second, 30)).keys() <= {1, 2}


def test_what_is_no_fade() -> None:
    frame = scene(1)
    wide = np.concatenate([scene(seed) for seed in (1, 2, 3, 4)], axis=1)
    width = frame.shape[1]
    panned = [np.ascontiguousarray(wide[:, left : left + width]) for left in range(0, 3 * width, 8)]
    wiped = [np.where(np.arange(width)[None, :, None] < edge, scene(2), frame) for edge in range(0, width, 6)]
    ends = {
        "nothing": noisy(frame, 80),
        "a pan": panned,
        "a wipe": [frame] * 10 + wiped + [scene(2)] * 10,
        "a light that is turned up": [frame // 3] * 10 + faded(frame // 3, frame, 20) + [frame] * 10,
        "fog that comes and stays halfway": [frame] * 10 + faded(frame, np.full_like(frame, 200), 20)[:10],
    }
    assert {name: shots_of(frames) for name, frames in ends.items() if shots_of(frames)} == {}


def test_a_fade_is_not_told_before_its_end() -> None:
    first, second = scene(1), scene(2)
    frames = noisy(first, 20) + noisy_each(faded(first, second, 30))
    assert shots_of(frames) == {}


@pytest.mark.parametrize("count", [8, 12, 20])
def test_behind_a_fade_the_shot_before_is_known_by_its_last_pure_frame(count: int) -> None:
    first, second = panned(scene(1), 40), scene(2)
    frames = first + faded(first[-1], second, count) + noisy(second, 10)
    shots = Shots(ReadAhead(map(Picture, frames)), ShotRules())
    cut = None
    while (cut := shots.cut(0)) is None:
        shots.take()
    assert cut.faded
    apart = [np.abs(cut.end - small_copy(frame)).mean() for frame in frames[: 40 + count]]
    assert abs(int(np.argmin(apart)) - 39) <= 1 and np.abs(cut.end - small_copy(first[-1])).mean() < 5
    assert np.abs(cut.begin - small_copy(second)).mean() < 5


def panned(picture: NDArray[np.uint8], count: int) -> Frames:
    """Return *count* frames of a camera that turns to the right."""
    return [np.roll(picture, -k, axis=1) for k in range(count)]


def test_behind_a_fade_only_given_frames_are_believed() -> None:
    first, second = scene(1), scene(2)
    mask = np.zeros(SIZE, np.uint8)
    mask[32:64, 16:48] = 4
    session = Session(matching_network(), first_mask=mask)
    before = session._tracker
    frames = noisy(first, 20) + noisy_each(faded(first, second, 12)) + noisy(second, 12)
    for frame in session.looking_ahead(map(Picture, frames)):
        session.step(frame.image)
    session.close()
    ((_, ended),) = session._earlier  # it may go on
    first_frame = before.memory.later.frames(0, 2)  # from near and far
    assert len(before.memory.later) == 5 and len(ended.memory.later) == 2 and ended.ids == session.objects == (4,)
    assert torch.equal(ended.memory.last.keys, first_frame.frames(1).keys)
    assert torch.equal(ended._absence._missing[4].keys, Appearance.of(first_frame, 0).keys)


def test_one_colour_that_fades_into_another_is_no_fade() -> None:
    assert shots_of([BLACK] * 20 + faded(BLACK, BLACK + 255, 12) + [BLACK + 255] * 20) == {}


def test_whoever_is_followed_in_front_of_a_plain_wall_keeps_the_id() -> None:
    plain = np.full_like(BLACK, 120)
    frames = [plain.copy() for _ in range(24)]
    for place, frame in enumerate(frames):  # it grows, so that at last the picture is no plain one any more
        frame[30 : 34 + 2 * place, 40 : 44 + 3 * place] = 170
    assert shots_of(frames) != {}
    mask = np.zeros(SIZE, np.uint8)
    mask[30:34, 40:44] = 1
    session = Session(matching_network(), first_mask=mask)
    trackers = set()
    for frame in session.looking_ahead(map(Picture, frames)):
        session.step(frame.image)
        trackers.add(session._tracker)
    session.close()
    assert len(trackers) == 1
