"""Where a video is cut, and what a session makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from boxes import SIZE, matching_network
from numpy.typing import NDArray
from scenes import Picture, noisy, scene

from rvos_cli.ahead import ReadAhead
from rvos_cli.session import Session
from rvos_cli.shots import ShotRules, Shots, cut_from, goes_on
from rvos_cli.small_copies import small_copy

RULES = ShotRules()


def cuts(frames: list[NDArray[np.uint8]]) -> list[int]:
    small = [small_copy(frame) for frame in frames]
    return [at for at in range(len(small)) if cut_from(small, at, RULES) is not None]


@pytest.mark.parametrize("size", [(48, 64), SIZE, (1080, 1920)])
def test_a_cut_is_told_at_its_frame(size: tuple[int, int]) -> None:
    assert cuts(noisy(scene(1, size=size), 5) + noisy(scene(2, size=size), 6)) == [5]


LOOKS = {
    "letterbox": lambda frame: np.pad(frame, ((20, 20), (0, 0), (0, 0))),
    "upright in a wide frame": lambda frame: np.pad(frame, ((0, 0), (170, 170), (0, 0))),
    "dark": lambda frame: (frame * 0.2).astype(np.uint8),
    "hazy": lambda frame: (frame * 0.3 + 150).astype(np.uint8),
    "dark, between bars": lambda frame: np.pad((frame * 0.3).astype(np.uint8), ((20, 20), (0, 0), (0, 0))),
}


@pytest.mark.parametrize("kind", LOOKS)
def test_a_cut_is_told_in_the_picture_as_the_network_sees_it(kind: str) -> None:
    first, second = (list(map(LOOKS[kind], noisy(scene(seed), 6))) for seed in (1, 2))
    assert cuts(first + second) == [6]
    assert cuts(first + first) == []
    assert not goes_on(small_copy(first[-1]), small_copy(second[0]), RULES)
    assert goes_on(small_copy(first[-1]), small_copy(first[0]), RULES)


def moving(seed: int, count: int) -> list[NDArray[np.uint8]]:
    """Return what a camera sees that sweeps over a scene."""
    wide = scene(seed, size=(SIZE[0], 3 * SIZE[1]))
    return [np.ascontiguousarray(wide[:, left : left + SIZE[1]]) for left in range(0, 22 * count, 22)]


def test_a_cut_between_scenes_in_which_all_moves_is_told() -> None:
    first, second = moving(4, 7), moving(5, 7)
    assert cuts(first + second) == [7]
    assert cuts(first) == cuts(second) == []


def test_what_moves_before_the_dark_is_no_cut() -> None:
    frames = [np.zeros((*SIZE, 3), np.uint8) for _ in range(12)]
    for place, frame in enumerate(frames):
        left = 20 + 45 * (place % 3)
        frame[30:70, left : left + 30] = scene(place, size=(40, 30))
    assert cuts(frames) == []


def test_what_is_no_cut() -> None:
    frame = scene(1)
    bright = np.clip(frame * 0.5 + 110, 0, 255).astype(np.uint8)
    popped = frame.copy()
    popped[:, : SIZE[1] // 2] = 255 - popped[:, : SIZE[1] // 2]
    white = np.full_like(frame, 255)
    wide = np.concatenate([scene(seed) for seed in (1, 2, 3, 4)], axis=1)
    panned = [np.ascontiguousarray(wide[:, left : left + SIZE[1]]) for left in range(0, 3 * SIZE[1], 40)]
    draw = np.random.default_rng(0)
    random = [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(12)]
    ends = {
        "nothing": noisy(frame, 12),
        "a light goes on": [frame] * 6 + [bright] * 6,
        "half of the picture is another": [frame] * 6 + [popped] * 6,
        "a flash": [frame] * 6 + [white] + [frame] * 6,
        "a fast pan": panned,
        "noise": random,
        "slides": [scene(seed) for seed in range(12)],
        "the last frame": [frame] * 6 + [scene(2)],
    }
    assert {name: cuts(frames) for name, frames in ends.items() if cuts(frames)} == {}


@pytest.mark.parametrize("kind", ["black", "blended", "interlaced"])
def test_a_frame_of_neither_scene_hides_no_cut(kind: str) -> None:
    first, second = noisy(scene(1), 8), noisy(scene(2), 8)
    one, other = first[-1], second[0]
    lines = one.copy()
    lines[::2] = other[::2]
    odd = {"black": np.zeros_like(one), "blended": (one // 2 + other // 2), "interlaced": lines}[kind]
    small = [small_copy(frame) for frame in (*first, odd, *second)]
    assert [(at, cut_from(small, at, RULES)) for at in range(len(small)) if cut_from(small, at, RULES) is not None] == [
        (9, 7)
    ]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("what", [0, 255, 3])
def test_a_flash_of_a_frame_or_two_is_no_cut(count: int, what: int) -> None:
    frame = scene(1)
    flash = scene(3) if what == 3 else np.full_like(frame, what)
    assert cuts(noisy(frame, 8) + [flash] * count + noisy(frame, 8)) == []


def test_a_scene_that_comes_after_black_is_a_shot_of_its_own() -> None:
    black = np.zeros((*SIZE, 3), np.uint8)
    assert cuts([black] * 4 + [scene(1)] * 5) == [4]


def test_a_shot_goes_on_where_the_camera_sees_what_it_saw() -> None:
    first, second = scene(1), scene(2)
    assert goes_on(small_copy(first), small_copy(noisy(first, 1)[0]), RULES)
    assert not goes_on(small_copy(first), small_copy(second), RULES)


def test_frames_come_shot_by_shot() -> None:
    frames = [Picture(scene(1))] * 7 + [Picture(scene(2))] * 9
    shots = Shots(ReadAhead(iter(frames)), RULES)
    assert len(shots.coming(5)) == 5 and len(shots.coming(12)) == 7
    for place, frame in enumerate(frames):
        assert bool(shots.cut(0)) == (place == 7) and bool(shots.cut(1)) == (place == 6)
        if place == 7:
            assert len(shots.coming(12)) == 9
        assert shots.take() is frame


def test_without_rules_no_frame_is_read_for_a_cut() -> None:
    read: list[int] = []
    shots = Shots(ReadAhead(Picture(scene(read.append(place) or place)) for place in range(9)), None)
    assert not shots.cut(0) and not shots.coming(0) and not read


@pytest.fixture
def finding(monkeypatch: pytest.MonkeyPatch) -> Session:
    """Return a session whose network finds nothing by itself; each shot's first look finds a square that we draw."""
    session = Session(matching_network(), discover=True)

    def found(images: list[NDArray[np.uint8]]) -> None:
        mask = np.zeros(SIZE, np.uint8)
        mask[32:64, 16:48] = session._tracker.newest_id + 1
        session.step(images[0], mask)
        session._frames -= 1

    monkeypatch.setattr(session, "look_ahead", found)
    return session


def ids_of(session: Session, frames: list[NDArray[np.uint8]]) -> list[tuple[int, ...]]:
    seen = []
    for frame in session.looking_ahead(map(Picture, frames)):
        session.step(frame.image)
        seen.append(session.objects)
    session.close()
    return seen


def test_each_shot_has_ids_of_its_own_and_one_that_goes_on_has_its_old_ones(finding: Session) -> None:
    first, second, third = (noisy(scene(seed), 6) for seed in (1, 2, 3))
    seen = ids_of(finding, first + second + first + third + second)
    assert [seen[6 * shot + 3] for shot in range(5)] == [(1,), (2,), (1,), (3,), (2,)]
    assert all(len(set(seen[6 * shot : 6 * shot + 6])) == 1 for shot in range(5))


def test_few_shots_are_remembered(finding: Session) -> None:
    shots = [noisy(scene(seed), 5) for seed in range(1, 6)]
    seen = ids_of(finding, [frame for shot in (*shots, shots[0]) for frame in shot])
    assert [seen[5 * shot + 2] for shot in range(6)] == [(1,), (2,), (3,), (4,), (5,), (6,)]
    assert len(finding._earlier) == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_found_in_a_shot_is_what_is_found_in_it_alone(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = matching_network()
        first, second = noisy(scene(1), 20), noisy(scene(2), 20)

        def labels(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
            torch.nn.init.constant_(model.decoder.conv_out.bias, 2.0)  # it finds something everywhere
            session = Session(model, discover=True)
            answers = [session.step(frame.image) for frame in session.looking_ahead(map(Picture, frames))]
            session.close()
            return answers

        alone, together = labels(second), labels(first + second)[20:]
    finally:
        torch.set_num_threads(before)
    assert any(one.any() for one in alone)
    assert all(np.array_equal(one > 0, other > 0) for one, other in zip(alone, together, strict=True))


def test_what_is_followed_from_a_mask_is_followed_through_a_cut() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[32:64, 16:48] = 4
    session = Session(matching_network(), first_mask=mask)
    assert set(ids_of(session, noisy(scene(1), 6) + noisy(scene(2), 6))) == {(4,)}


def test_what_was_given_since_is_not_forgotten_where_the_film_goes_back() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[32:64, 16:48] = 1
    session, first, second = Session(matching_network(), discover=False), noisy(scene(1), 6), noisy(scene(2), 6)
    seen = []
    for place, frame in enumerate(session.looking_ahead(map(Picture, first + second + first + second))):
        session.step(frame.image, mask * (1 + place // 6) if place in (0, 6) else None)
        seen.append(session.objects)
    session.close()
    assert [seen[6 * shot + 3] for shot in range(4)] == [(1,), (1, 2), (1, 2), (1, 2)]
