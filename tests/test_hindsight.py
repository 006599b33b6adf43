"""What a whole mask says of the frames before it: by ways back that are made up, and by the shipped network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest
import small_demo
from small_demo import Picture
from test_corrections import HIDDEN, right, walled

import rvos_cli as rvos
from rvos_cli.given_masks import GivenMasks, VideoMasks
from rvos_cli.hindsight import HindsightRules, with_hindsight
from rvos_cli.model.compiling import can_compile
from rvos_cli.results import FrameMasks
from rvos_cli.segmenter import Segmenter
from rvos_cli.session import Session
from rvos_cli.sources import open_source
from rvos_cli.threads import torch_threads

COUNT, SIZE = 12, (8, 40)
THERE, BACK = 0.75, 0.5  # the confidence of either way
Places = Mapping[int, tuple[int, int]]  # object -> the columns it is in


def labels_of(places: Places) -> Picture:
    labels = np.zeros(SIZE, np.uint8)
    for identity, (begin, end) in places.items():
        labels[:, begin:end] = identity
    return labels


def mended(
    there: Sequence[Places], back: Sequence[Places], masks: Mapping[int, Places], rules: HindsightRules | None = None
) -> tuple[list[Picture], list[int]]:
    """Return the labels that leave, and how many frames had been followed when each of them left.

    Args:
        there: what is seen in each frame on the way there,
        back: and on the way back from any mask.
        masks: the whole masks.
        rules: how far back.
    """
    image, done = np.zeros((*SIZE, 3), np.uint8), [0]
    with open_source([image] * len(there)) as source:
        given = VideoMasks(GivenMasks(frame_masks={index: labels_of(mask) for index, mask in masks.items()}), source)

    def followed() -> Iterator[FrameMasks]:
        for index, places in enumerate(there):
            done[0] += 1
            labels = labels_of(masks.get(index, places))
            yield FrameMasks(
                index=index,
                time=Fraction(index),
                name=f"{index:05d}",
                image=image,
                labels=labels,
                confidence=dict.fromkeys(places, THERE),
            )

    def seen_back(images: Sequence[Picture]) -> Iterator[tuple[Picture, dict[int, float]]]:
        last = done[0] - 1
        for place in range(last - 1, last - 1 - len(images), -1):
            yield labels_of(back[place]), dict.fromkeys(back[place], BACK)

    frames, when = [], []
    for frame in with_hindsight(followed(), given, seen_back, rules):
        assert frame.index == len(frames)
        assert set(frame.confidence) == set(np.unique(frame.labels)) - {0} or frame.index in masks
        for identity, score in frame.confidence.items():
            found = frame.labels == identity
            same = np.array_equal(found, labels_of(there[frame.index]) == identity)
            assert score == (THERE if same else BACK) or frame.index in masks
        frames.append(frame.labels)
        when.append(done[0])
    return frames, when


HERE, ELSEWHERE = {1: (0, 10)}, {1: (20, 30)}


def test_the_way_back_counts_until_both_see_the_same():
    there = [HERE] * 4 + [ELSEWHERE] * (COUNT - 4)
    frames, _ = mended(there, [HERE] * 3 + [{}] + [HERE] * (COUNT - 4), {0: HERE, 9: HERE})
    expected = [HERE] * 3 + [{}] + [HERE] * 6 + [ELSEWHERE] * 2  # both see the same in frame 2
    assert all(np.array_equal(one, labels_of(other)) for one, other in zip(frames, expected, strict=True))


@pytest.mark.parametrize(
    ("end", "mends"), [(27, True), (25, True), (29, False)]
)  # IoU of 0.54, 0.33, 0.82 with (20, 30)
def test_who_is_seen_alike_is_left_as_it_was(end: int, mends: bool):
    there, back = [{1: (20, 30), 2: (0, 10)}] * COUNT, [{1: (20, end), 2: (0, 10)}] * COUNT
    frames, _ = mended(there, back, {0: there[0], 9: there[0]}, HindsightRules(agreement=0.8))
    assert np.array_equal(frames[5], labels_of(back[5] if mends else there[5]))


def test_another_object_stays_where_the_way_back_does_not_say_otherwise():
    there, back = [{2: (10, 30)}] * COUNT, [{1: (20, 30), 2: (11, 20)}] * COUNT
    frames, _ = mended(there, [{1: (20, 30), 2: (10, 20)}] * COUNT, {0: there[0], 9: {1: (20, 30), 2: (10, 20)}})
    assert np.array_equal(frames[5], labels_of({1: (20, 30), 2: (10, 20)}))
    there = [{1: (20, 30), 2: (0, 10)}] * COUNT  # the second agrees: what is beside it on the way back does not count
    back = [{1: (30, 40), 2: (0, 9)}] * COUNT
    frames, _ = mended(there, back, {0: there[0], 9: back[0]})
    assert np.array_equal(frames[5], labels_of({1: (30, 40), 2: (0, 10)}))


def test_who_is_gone_is_taken_from_the_frames_before_and_who_is_new_put_there():
    there = [HERE] * COUNT
    frames, _ = mended(there, [HERE] * 3 + [{2: (12, 20)}] * (COUNT - 3), {0: HERE, 9: {2: (12, 20)}})
    assert np.array_equal(frames[2], labels_of(HERE)) and np.array_equal(frames[3], labels_of({2: (12, 20)}))


def test_who_is_gone_is_left_where_it_is_seen_again_and_never_put_elsewhere():
    there = [{1: (0, 10)}] * COUNT
    back = [{1: (0, 4)}] * 5 + [ELSEWHERE] * 2 + [{}] * (COUNT - 7)  # an IoU of 0.4, its mirror image, nothing
    frames, _ = mended(there, back, {0: HERE, 9: {2: (30, 40)}})
    assert [bool((frame == 1).any()) for frame in frames] == [True] * 5 + [False] * 5 + [True] * 2
    assert all(np.array_equal(frame, labels_of(HERE)) for frame in frames[:5])


def test_frames_that_wait_leave_before_a_failure_to_read_the_next():
    def damaged() -> Iterator[FrameMasks]:
        for index in range(5):
            image = np.zeros((*SIZE, 3), np.uint8)
            yield FrameMasks(index=index, time=Fraction(index), name="", image=image, labels=labels_of(HERE))
        raise rvos.InputError("the file ends here")

    with open_source([np.zeros((*SIZE, 3), np.uint8)] * 12) as source:
        masks = VideoMasks(GivenMasks(frame_masks={0: labels_of(HERE), 9: labels_of(HERE)}), source)
    came: list[int] = []
    with pytest.raises(rvos.InputError, match="ends here"):
        came.extend(frame.index for frame in with_hindsight(damaged(), masks, lambda images: iter(())))
    assert came == list(range(5))


def test_a_given_mask_is_left_as_it_is_and_ends_the_way_back():
    frames, _ = mended([HERE] * COUNT, [ELSEWHERE] * COUNT, {0: HERE, 4: HERE, 9: ELSEWHERE})
    here = [index for index, frame in enumerate(frames) if np.array_equal(frame, labels_of(HERE))]
    assert here == [0, 4, 10, 11]


def test_frames_wait_for_the_next_mask_alone_and_no_more_of_them_than_there_may():
    _, when = mended([HERE] * COUNT, [HERE] * COUNT, {0: HERE, 3: HERE, 10: HERE})
    assert when == [1, 4, 4, 4, *[11] * 7, 12]
    frames, when = mended([HERE] * COUNT, [ELSEWHERE] * COUNT, {0: HERE, 10: ELSEWHERE}, HindsightRules(frames=3))
    assert when == [*range(1, 8), *[11] * 4, 12]
    assert np.array_equal(frames[6], labels_of(HERE)) and np.array_equal(frames[7], labels_of(ELSEWHERE))
    four_frames = HindsightRules(size=4 * 4 * SIZE[0] * SIZE[1])
    assert mended([HERE] * COUNT, [HERE] * COUNT, {10: HERE}, four_frames)[1] == [*range(1, 7), *[11] * 5, 12]


def test_nobody_is_looked_for_far_behind_where_nobody_is_seen():
    back = [ELSEWHERE, *[{}] * 7, *[HERE] * 4]
    frames, _ = mended([{}] * COUNT, back, {11: HERE}, HindsightRules(patience=5))
    assert not frames[0].any() and np.array_equal(frames[8], labels_of(HERE))
    frames, _ = mended([{}] * COUNT, back, {11: HERE}, HindsightRules(patience=7))
    assert np.array_equal(frames[0], labels_of(ELSEWHERE))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return rvos.load_model("lite", device="cpu", half=False, compiled=False)


def test_what_was_followed_by_mistake_is_gone_from_the_frames_before_it_is_said(model: Segmenter):
    told = HIDDEN[-2]
    without = np.where(right()[told] == 1, 0, right()[told]).astype(np.uint8)
    stream = model.stream(walled(), first_mask=small_demo.first_mask(), frame_masks={told: without}, size=192)
    labels = [frame.labels for frame in stream]
    assert not any((labels[index] == 1).any() for index in HIDDEN)  # by test_corrections.py, it was somewhere
    for index in range(HIDDEN[0]):
        assert np.array_equal(labels[index], right()[index])


def test_who_is_named_late_is_found_in_the_frames_before(model: Segmenter):
    named = 8
    labels = [
        frame.labels for frame in model.stream(small_demo.clip()[:12], frame_masks={named: right()[named]}, size=192)
    ]
    for index in range(1, named):
        here, there = labels[index] == 1, right()[index] == 1
        assert (here & there).sum() > 0.9 * (here | there).sum()


def test_frames_that_may_be_live_do_not_wait(model: Segmenter):
    came: list[int] = []

    def camera() -> Iterator[Picture]:
        for index, frame in enumerate(small_demo.clip()[:6]):
            came.append(index)
            yield frame

    masks = {0: small_demo.first_mask(), 4: right()[4]}
    for frame in model.stream(camera(), frame_masks=masks, size=192):
        assert came[-1] == frame.index


def test_the_way_back_changes_nothing_of_the_way_on(monkeypatch: pytest.MonkeyPatch):
    """Of two masks, of which the first says that somebody is gone; with what is compiled, where that is installed."""
    frames, told = walled(), HIDDEN[1]
    without = np.where(right()[told] == 1, 0, right()[told]).astype(np.uint8)
    masks = {0: small_demo.first_mask(), told: without, told + 6: right()[told + 6]}

    def run() -> list[Picture]:
        with torch_threads(2):
            compiled = rvos.load_model("lite", device="cpu", compiled=True if can_compile() else None)
            return [frame.labels for frame in compiled.stream(frames, frame_masks=masks, size=192)]

    with_back = run()
    monkeypatch.setattr(Session, "back", lambda self, images: iter(()))
    alone = run()
    assert any(not np.array_equal(one, other) for one, other in zip(with_back[:told], alone[:told], strict=True))
    for index in (0, told, *range(told + 6, len(frames))):
        assert np.array_equal(with_back[index], alone[index])
    assert all((labels == 1).any() for labels in alone[told + 6 :])


def test_the_way_back_ends_at_a_cut_and_does_not_change_the_way_on(model: Segmenter):
    """The clip runs backwards behind the cut, so that its objects would be found before it as well."""
    other = np.random.default_rng(1).integers(0, 256, (9, 18, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    frames = [other[:180, :320]] * 8 + small_demo.clip()[:12]
    plain = [frame.labels for frame in model.stream(frames, masks={14: right()[6]}, size=192)]
    with_back = [frame.labels for frame in model.stream(frames, frame_masks={14: right()[6]}, size=192)]
    assert not any(labels.any() for labels in with_back[:8])
    assert all((labels == 1).any() for labels in with_back[8:14]) and not any(labels.any() for labels in plain[:14])
    assert all(np.array_equal(one, other) for one, other in zip(plain[14:], with_back[14:], strict=True))
