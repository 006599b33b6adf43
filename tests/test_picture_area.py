"""Black bars: where they are and where there are none; and a video is followed as if they were not there."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from boxes import GREEN, RED, SIZE, matching_network, picture, square
from numpy.typing import NDArray
from PIL import Image
from scenes import Picture, scene
from small_demo import SMALL, clip, first_mask, lite

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.picture_area import BarRules, picture_area
from rvos_cli.session import Session

RULES = BarRules()
BARS = {"letterbox": ((24, 24), (0, 0)), "pillarbox": ((0, 0), (70, 70))}


def barred(frame: NDArray[np.uint8], kind: str = "letterbox") -> NDArray[np.uint8]:
    """Return a frame or its labels between two bars."""
    return np.pad(frame, [*BARS[kind], *[(0, 0)] * (frame.ndim - 2)])


def squares(count: int) -> list[NDArray[np.uint8]]:
    """Return frames in which a red and a green square move."""
    return [picture((32, 16 + 3 * k, RED), (40, 112 - 2 * k, GREEN)) for k in range(count)]


def compressed(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return it as a coarse JPEG leaves it: its edges ring."""
    held = io.BytesIO()
    Image.fromarray(frame).save(held, "JPEG", quality=40)
    return np.array(Image.open(held))


@pytest.mark.parametrize("kind", BARS)
def test_the_area_is_what_is_between_two_bars(kind):
    frame = barred(scene(1), kind)
    area = picture_area([frame], RULES)
    assert area.of(frame).shape == (*SIZE, 3)
    assert np.array_equal(area.framed(area.of(frame)[:, :, 0]), frame[:, :, 0])
    assert [bar.max() for bar in area.bars(frame)] == [0, 0]


@pytest.mark.parametrize("kind", BARS)
def test_the_edges_of_compressed_bars_are_found_to_a_block(kind):
    area = picture_area([compressed(barred(scene(1, size=(480, 854)), kind))], RULES)
    height, width = area.of(np.zeros(area.size, np.uint8)).shape
    assert 480 <= height <= 496
    assert 854 <= width <= 870


def test_one_of_several_frames_may_be_dark():
    frames = [barred(np.zeros_like(scene(1))), barred(scene(1))]
    assert picture_area(frames, RULES).of(frames[0]).shape == (*SIZE, 3)
    assert picture_area(frames[:1], RULES).whole


@pytest.mark.parametrize("kind", BARS)
def test_whoever_stands_before_a_black_wall_has_no_bars_around_him(kind):
    frame = barred(np.zeros_like(scene(1)), kind)
    frame[40:-40, 80:-80] = 200  # all black at the picture's own edges
    assert picture_area([frame], RULES).whole


@pytest.mark.parametrize(
    "frame",
    [
        scene(1),
        np.zeros((96, 160, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.pad(scene(1), ((24, 30), (0, 0), (0, 0))),  # a dark ceiling
        np.pad(scene(1), ((2, 2), (0, 0), (0, 0))),
        np.pad(scene(1)[40:60], ((60, 60), (0, 0), (0, 0))),
        barred(scene(1) // 10),
    ],
    ids=["full", "black", "tiny", "uneven", "narrow", "a strip", "dark"],
)
def test_where_bars_are_not_sure_the_area_is_whole(frame):
    area = picture_area([frame], RULES)
    assert area.whole
    assert area.of(frame) is not None and area.bars(frame) == []
    assert area.holds(np.full_like(frame, 255), np.ones(frame.shape[:2], np.uint8), RULES)


def test_writing_in_a_bar_leaves_it_one_and_the_picture_ends_it():
    frame = barred(scene(1))
    area = picture_area([frame], RULES)
    written = frame.copy()
    written[-16:-8, 40:120] = 255
    assert area.holds(written, None, RULES)
    assert not area.holds(scene(1, size=area.size), None, RULES)
    assert not area.holds(frame, np.full(area.size, 1, np.uint8), RULES)


def labels_of(session: Session, frames: Sequence[NDArray[np.uint8]], *, ahead: bool) -> list[NDArray[np.uint8]]:
    coming = map(Picture, frames)
    labels = [session.step(frame.image) for frame in (session.looking_ahead(coming) if ahead else coming)]
    session.close()
    return labels


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("kind", BARS)
def test_objects_between_bars_are_followed_as_without_them(kind, ahead):
    frames, network, mask = squares(8), matching_network(), square(32, 16, 1) + square(40, 112, 2)
    plain = labels_of(Session(network, first_mask=mask), frames, ahead=ahead)
    between = labels_of(Session(network, first_mask=barred(mask, kind)), [barred(f, kind) for f in frames], ahead=ahead)
    assert all(np.array_equal(one, barred(other, kind)) for one, other in zip(between, plain, strict=True))


@pytest.mark.parametrize("ahead", [True, False])
def test_objects_between_bars_are_found_as_without_them(ahead):
    frames = clip()[:6]
    plain = labels_of(Session(lite(), options=SMALL), frames, ahead=ahead)
    between = labels_of(Session(lite(), options=SMALL), [barred(frame) for frame in frames], ahead=ahead)
    assert all(labels.any() for labels in plain)
    assert all(np.array_equal(one, barred(other)) for one, other in zip(between, plain, strict=True))


def continued(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame or its labels with a strip of ground, or nothing, in the place of bars."""
    edges = {"mode": "edge"} if frame.ndim == 3 else {}
    return np.pad(frame, [(24, 24), (0, 0), *[(0, 0)] * (frame.ndim - 2)], **edges)


def overlap(one: NDArray[np.uint8], other: NDArray[np.uint8], identity: int) -> float:
    a, b = one == identity, other == identity
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("ahead", [True, False])
def test_where_the_bars_end_objects_keep_their_ids(ahead):
    frames, mask = clip()[:8], first_mask()
    plain = labels_of(Session(lite(), options=SMALL, first_mask=mask), frames, ahead=ahead)
    session = Session(lite(), options=SMALL, first_mask=barred(mask))
    labels = labels_of(session, [*map(barred, frames[:4]), *map(continued, frames[4:])], ahead=ahead)
    assert session.objects == (1, 2, 3)
    for one, other in zip(labels, plain, strict=True):
        assert min(overlap(one, barred(other), identity) for identity in (1, 2, 3)) > 0.7


def test_where_the_bars_end_nobody_who_was_found_is_another():
    frames = clip()[:20]
    session = Session(lite(), options=SMALL)
    labels = labels_of(session, [*map(barred, frames[:16]), *map(continued, frames[16:])], ahead=True)
    assert set(np.unique(labels[15])) == set(np.unique(labels[17])) != {0}
    assert overlap(labels[15], labels[16], 1) > 0.8


@pytest.mark.parametrize("between", ["black", "foreign", "faded"])
def test_objects_that_are_out_of_sight_when_the_bars_end_are_not_forgotten(between):
    frames = clip()
    dark = [np.zeros_like(barred(frames[0]))] * 8
    if between == "foreign":
        dark = [barred(scene(3, size=clip()[0].shape[:2]))] * 8
    elif between == "faded":
        dark = [(barred(frames[8]) * share).astype(np.uint8) for share in (0.8, 0.6, 0.4, 0.2, 0.0, 0.0)]
        dark += [(continued(frames[8]) * share).astype(np.uint8) for share in (0.2, 0.4, 0.6, 0.8)]
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()))
    labels = labels_of(session, [*map(barred, frames[:8]), *dark, *map(continued, frames[8:])], ahead=True)
    assert set(session.objects) == {1, 2, 3}
    assert set(np.unique(labels[-1])) == {0, 1, 2, 3}


def test_who_is_missing_behind_a_cut_is_so_when_a_mask_in_a_bar_ends_the_bars():
    frames = [*map(barred, clip()[:6]), *[barred(scene(3, size=clip()[0].shape[:2]))] * 12]
    sign = np.zeros(frames[0].shape[:2], np.uint8)
    sign[10:22, 200:260] = 9
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()))
    labels = []
    for place, frame in enumerate(session.looking_ahead(map(Picture, frames))):
        labels.append(session.step(frame.image, sign if place == 10 else None))
    session.close()
    assert session._tracker.view is not None and session._tracker.view.area.whole
    assert session.objects == (1, 2, 3, 9)
    assert not any(np.isin(each, (1, 2, 3)).any() for each in labels[6:])


def test_in_16_bits_too_a_cut_to_whole_frames_forgets_nobody():
    frames = [
        *map(barred, clip()[:6]),
        *[barred(scene(3, size=clip()[0].shape[:2]))] * 6,
        *map(continued, clip()[6:14]),
    ]
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()), dtype=torch.bfloat16)
    labels = labels_of(session, frames, ahead=True)
    assert set(session.objects) == {1, 2, 3}
    assert labels[-1].any()


def test_an_object_that_is_hidden_when_the_bars_end_comes_back():
    frames, mask = clip()[:12], first_mask()
    hidden = [frame.copy() for frame in frames]
    rows, columns = np.nonzero(mask == 1)
    for frame in hidden[3:7]:
        frame[max(0, rows.min() - 8) : rows.max() + 8, max(0, columns.min() - 8) : columns.max() + 8] = (90, 110, 60)
    session = Session(lite(), options=SMALL, first_mask=barred(mask))
    labels = labels_of(session, [*map(barred, hidden[:5]), *map(continued, hidden[5:])], ahead=False)
    assert not (labels[4] == 1).any()
    assert overlap(labels[-1], barred(mask), 1) > 0.4  # it moves


def test_a_mask_in_a_bar_where_an_earlier_shot_goes_on_forgets_nobody():
    film = [barred(frame) for frame in clip()[:12]]
    for frame in film:
        frame[:22, 200:260] = (240, 230, 40)
    sign = np.zeros(film[0].shape[:2], np.uint8)
    sign[:22, 200:260] = 9
    frames = [*film[:6], *[scene(3, size=film[0].shape[:2])] * 6, *film[6:]]
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()))
    for place, frame in enumerate(session.looking_ahead(map(Picture, frames))):
        labels = session.step(frame.image, sign if place == 12 else None)
    session.close()
    assert set(session.objects) == {1, 2, 3, 9} == set(np.unique(labels)) - {0}


def test_of_objects_that_gave_up_their_slots_no_frame_is_kept():
    tracker = Session(lite(), options=SMALL)._tracker
    image, labels = barred(clip()[0]), barred(first_mask())
    tracker.ids = (1, 2, 3)
    tracker.note_shown(image, labels)
    tracker.ids = (2, 4)
    tracker.note_shown(image, np.where(labels == 3, np.uint8(4), 0))
    shown = tracker.shown_last()
    assert [np.unique(each).tolist() for _, each in shown] == [[0, 2], [0, 4]]
    tracker.ids = (4,)
    tracker.note_shown(image, np.where(labels == 3, np.uint8(4), 0))
    assert len(tracker.shown_last()) == len(tracker._shown) == 1


def test_where_the_bars_end_each_frame_is_still_encoded_once(monkeypatch):
    encoded: list[bool] = []
    encode = RVOS.encode

    def counted(self, frame):
        encoded.append(True)
        return encode(self, frame)

    monkeypatch.setattr(RVOS, "encode", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # or nothing would be encoded ahead
    try:
        frames = [*map(barred, clip()[:4]), *map(continued, clip()[4:16])]
        labels_of(Session(lite(), options=SMALL, first_mask=barred(first_mask())), frames, ahead=True)
    finally:
        torch.set_num_threads(before)
    assert len(encoded) <= len(frames) + 4  # two for nothing, and where everybody was seen last


@pytest.mark.parametrize("named_at", [0, 3])
def test_an_object_in_a_bar_is_followed_if_it_is_named(named_at):
    frames = [barred(frame) for frame in clip()[:6]]
    for frame in frames:
        frame[:22, 200:260] = (240, 230, 40)  # a channel's sign
    sign = np.zeros(frames[0].shape[:2], np.uint8)
    sign[:22, 200:260] = 9
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()) if named_at else sign)
    labels = [session.step(frame, sign if place == named_at else None) for place, frame in enumerate(frames)]
    assert session.objects == ((1, 2, 3, 9) if named_at else (9,))
    assert min(overlap(each, sign, 9) for each in labels[named_at:]) > 0.7
    if named_at:
        assert min(overlap(labels[3], each, 1) for each in labels[2:5]) > 0.7


def test_a_video_with_bars_may_be_given_frame_by_frame_in_the_same_memory():
    frames = [*map(barred, clip()[:4]), *map(continued, clip()[4:6])]
    mask = barred(first_mask())
    apart = labels_of(Session(lite(), options=SMALL, first_mask=mask), frames, ahead=False)
    session, memory = Session(lite(), options=SMALL, first_mask=mask), np.empty_like(frames[0])
    for frame, labels in zip(frames, apart, strict=True):
        memory[:] = frame
        assert np.array_equal(session.step(memory), labels)


def test_a_shot_with_other_bars_is_searched_in_its_own_area():
    first = [np.pad(scene(1, size=clip()[0].shape[:2]), ((24, 24), (0, 0), (0, 0)), mode="edge")] * 6
    second = [barred(frame) for frame in clip()[:6]]
    session = Session(lite(), options=SMALL)
    both = labels_of(session, [*first, *second], ahead=True)[6:]
    alone = labels_of(Session(lite(), options=SMALL), second, ahead=True)
    assert session._tracker.view is not None and not session._tracker.view.area.whole
    assert all(labels.any() for labels in alone)
    assert [(labels > 0).tolist() for labels in both] == [(labels > 0).tolist() for labels in alone]


def test_behind_a_cut_to_whole_frames_the_shot_with_bars_goes_on_as_it_was():
    film = [barred(frame) for frame in clip()[:16]]
    foreign = [scene(3, size=film[0].shape[:2])] * 6
    session = Session(lite(), options=SMALL, first_mask=barred(first_mask()))
    labels = labels_of(session, [*film[:8], *foreign, *film[8:]], ahead=True)
    alone = labels_of(Session(lite(), options=SMALL, first_mask=barred(first_mask())), film, ahead=True)
    assert not any(each.any() for each in labels[8:14])
    assert all(np.mean(one == other) > 0.999 for one, other in zip(labels[14:], alone[8:], strict=True))


def test_published_networks_look_at_whole_frames():
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=True, size=64)
    session = Session(RVOS(config).eval(), first_mask=barred(square(32, 16, 3)))
    session.step(barred(picture((32, 16, RED))))
    assert session._tracker.view is not None and session._tracker.view.area.whole
