"""What slots find and who is who by matching: scripted slots, ids and places that come of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from boxes import RED, SIZE, matching_network, picture, square

from rvos_cli.config import InferenceOptions, ModelConfig
from rvos_cli.discovery import DiscoveryRules
from rvos_cli.model import RVOS
from rvos_cli.model.rvos import StepOutput
from rvos_cli.presence import Absence, Appearance, PresenceRules
from rvos_cli.session import Session


@pytest.fixture(scope="module")
def lite() -> RVOS:
    return matching_network()


NOWHERE = (200, 200)  # outside of the picture


@pytest.fixture
def finder(lite, monkeypatch):
    """A session whose slots answer what the test says: frame -> for each slot a box, or several boxes.

    The first frame's mirror image shows the same, if "mirror" does not say otherwise. Slots in "doubtful" are little
    more than undecided.
    """

    def start(script: dict[int | str, list], *, discover: bool = True, **options) -> Session:
        session = Session(lite, options=InferenceOptions(**options), discover=discover)
        tracker = session._tracker

        def scripted(plain, *seen, mirrored, slots, **rest):
            out = plain(*seen, slots=slots, **rest)
            logits = torch.full_like(out.logits, -6.0)
            boxes = script.get("mirror" if mirrored and "mirror" in script else tracker.index, [])
            down, across = (length / full for length, full in zip(logits.shape[-2:], SIZE, strict=True))
            for slot, found in enumerate(boxes[:slots]):
                for top, left in found if not found or isinstance(found[0], tuple) else [found]:
                    rows = slice(round(top * down), round((top + 32) * down))
                    columns = slice(round(left * across), round((left + 32) * across))
                    logits[0, slot, rows, columns] = 0.6 if slot in script.get("doubtful", []) else 6.0
            return replace(out, logits=logits.flip(-1) if mirrored else logits)

        stub = Stub(
            lite.config, partial(scripted, lite.decode, mirrored=False), partial(scripted, lite.step, mirrored=True)
        )
        monkeypatch.setattr(tracker, "model", stub)
        return session

    return start


@dataclass
class Stub:
    config: ModelConfig
    decode: Callable[..., StepOutput]
    step: Callable[..., StepOutput]  # only a first frame's mirror image is encoded by the tracker itself


def test_nothing_found_gives_empty_masks(finder):
    session = finder({})
    assert [int(session.step(picture()).max()) for _ in range(3)] == [0, 0, 0]
    assert session.objects == ()


def test_doubtful_finds_count_where_a_first_frame_has_no_sure_one(finder):
    one, two = (32, 16), (32, 112)
    for doubtful, seen in (([], {0, 1, 2}), ([0, 1], {0, 1, 2}), ([1], {0, 1}), ([0], {0, 1, 2})):
        session = finder({0: [one, two], "doubtful": doubtful})
        assert set(np.unique(session.step(picture()))) == seen, doubtful


def test_doubtful_finds_of_later_frames_do_not_count(finder):
    session = finder({1: [(32, 16)], 2: [(32, 16)], 3: [(32, 16)], "doubtful": [0]})
    assert not any(session.step(picture()).any() for _ in range(4))


def test_an_object_that_appears_later_gets_the_next_id_and_keeps_it(finder):
    one, two = (32, 16), (32, 112)
    session = finder({0: [one], 1: [NOWHERE], **{k: [NOWHERE, two] for k in range(2, 5)}})
    seen = [sorted(set(np.unique(session.step(picture())))) for _ in range(5)]
    assert seen == [[0, 1], [0], [0], [0, 2], [0, 2]]  # from the second frame on in which it is found


def test_no_slot_searches_behind_objects_in_sight(finder):
    one, two = (32, 16), (32, 112)
    session = finder({0: [one], **{k: [one, two] for k in range(1, 4)}})
    assert all(set(np.unique(session.step(picture()))) == {0, 1} for _ in range(4))
    assert session.objects == (1,)


def test_who_only_follows_finds_nobody_else(finder):
    one, two = (32, 16), (32, 112)
    session = finder({0: [one], 1: [NOWHERE], **{k: [NOWHERE, two] for k in range(2, 7)}}, discover=False)
    seen = [set(np.unique(session.step(picture(), square(*one, 1) if k == 0 else None))) for k in range(7)]
    assert seen == [{0, 1}, *[{0}] * 6]


def test_what_is_found_in_one_frame_only_is_no_object(finder):
    here, far = (0, 112), (64, 60)
    session = finder({1: [here], 3: [here], 4: [far]})
    assert not any(session.step(picture()).any() for _ in range(6))
    assert session.objects == ()


def test_what_appears_later_may_move(finder):
    session = finder({2: [(32, 80)], 3: [(32, 120)]})
    for _ in range(4):
        labels = session.step(picture())
    assert set(np.unique(labels[36:60, 124:148])) == {1}


def test_an_object_that_returns_keeps_its_id(finder):
    one, two = (32, 16), (32, 112)
    session = finder({0: [one, two], 1: [one, NOWHERE], 2: [one, NOWHERE], 3: [one, two]})
    seen = [sorted(set(np.unique(session.step(picture())))) for _ in range(4)]
    assert seen == [[0, 1, 2], [0, 1], [0, 1], [0, 1, 2]]


def test_the_same_thing_is_not_found_twice(finder):
    session = finder({0: [(32, 16), (34, 18)]})
    assert set(np.unique(session.step(picture()))) == {0, 1}


def test_no_more_objects_than_asked_for(finder):
    session = finder({k: [(0, 0), (32, 60), (60, 120)] for k in range(3)}, max_objects=2)
    for _ in range(3):
        assert set(np.unique(session.step(picture()))) == {0, 1, 2}


@pytest.mark.parametrize(
    ("things", "room", "asked"), [(3, 10, {4}), (4, 10, {4, 10}), (6, 10, {4, 10}), (2, 1, {4}), (3, 2, {4})]
)
def test_a_first_frame_is_searched_by_few_slots_and_by_all_if_each_of_these_finds_something(
    finder, things, room, asked
):
    places = [(0, 0), (0, 60), (0, 120), (60, 0), (60, 60), (60, 120)]
    session = finder({0: places[:things]}, max_objects=room)
    model, slots_asked = session._tracker.model, set()

    def counting(*seen, slots, **rest):
        slots_asked.add(slots)
        return plain(*seen, slots=slots, **rest)

    plain, model.decode = model.decode, counting
    assert int(session.step(picture()).max()) == min(things, room) == len(session.objects)
    assert slots_asked == asked


def test_a_full_house_gives_the_slot_of_what_is_long_gone_to_something_new(finder):
    patience = DiscoveryRules().patience
    script = {0: [(32, 16)], **{k: [NOWHERE] for k in range(1, patience + 1)}}
    script[patience + 1] = script[patience + 2] = [(32, 112)]
    session = finder(script, max_objects=1)
    for _ in range(patience + 3):
        labels = session.step(picture())
    assert set(np.unique(labels)) == {0, 2}
    assert session.objects == (2,)


def test_where_no_id_is_left_nobody_gives_up_a_slot(finder):
    patience = DiscoveryRules().patience
    session = finder({0: [(32, 16)], **{k: [NOWHERE] for k in range(1, patience + 2)}}, max_objects=1)
    session._tracker.newest_id = 253
    for _ in range(patience + 2):
        session.step(picture())
    assert session.objects == (254,)


def test_pieces_are_given_to_nobody_who_is_missing(finder, monkeypatch):
    here, ghost = (32, 16), (32, 112)
    session = finder({0: [here, ghost], 1: [here, ghost]}, max_objects=2)
    session.step(picture(), square(*here, 1) + square(*ghost, 2))
    session._tracker._absence = Absence(99.0, {2: Appearance(torch.zeros(0, 16), 1.0)})  # like nothing
    shared = []
    where = session._tracker._whereabouts
    plain = where.keep_in_place
    monkeypatch.setattr(where, "keep_in_place", lambda ids, seen: shared.append(seen.cells) or plain(ids, seen))
    session.step(picture())
    assert [[cells.any() for cells in each] for each in shared] == [[True, False]]


def test_who_went_out_of_sight_comes_back_where_something_like_it_is(finder):
    here = (32, 16)
    session = finder({0: [here], 1: [NOWHERE], 2: [here], 3: [here]}, discover=False)
    session._tracker._absence.rules = PresenceRules(alike=((0.3, 0.1),))
    shown, other = picture((*here, RED)), picture()
    session.step(shown, square(*here, 1))
    assert not any(session.step(frame).any() for frame in (other, other))  # the network says that it is there
    assert session.step(shown).any()


@pytest.fixture
def hidden_in(monkeypatch):
    """Have something else in the place of object 1 in some frames of a session."""

    def begin(session: Session, *frames: int) -> None:
        tracker = session._tracker
        monkeypatch.setattr(
            tracker._occluders, "instead", lambda: frozenset({1} if tracker.index - 1 in frames else ())
        )

    return begin


def test_in_whose_place_something_else_is_followed_is_out_of_sight(finder, hidden_in):
    here, other, there = (32, 0), (32, 64), (32, 128)
    session = finder({**{k: [here, other] for k in range(7)}, 7: [there, other]}, discover=False)
    tracker = session._tracker
    tracker._absence.rules = PresenceRules(alike=((0.3, 0.1),))
    hidden_in(session, 5)
    shown, covered = picture((*here, RED), (*other, RED)), picture()
    session.step(shown, square(*here, 1) + square(*other, 2))
    for _ in range(5):
        assert set(np.unique(session.step(shown))) == {0, 1, 2}
    assert tracker.memory.later.shares_of(0) == (1, 1)  # the frame that was given, and the sixth
    assert set(np.unique(session.step(covered))) == {0, 2}
    assert tracker.state.slot(0) is None and tracker.state.slot(1) is not None
    assert tracker.memory.later.shares_of(0) == (1, 0, 1) and tracker.memory.later.shares_of(1) == (1, 1, 1)
    assert (tracker.memory.later.masks[0, 0, -1] < 0.01).all()  # this one says that it is not in there
    assert tracker._absence.ids == {1}
    tracker._absence.rules = PresenceRules(alike=((0.3, 999.0),))
    assert (session.step(picture((*there, RED)))[36:60, 132:156] == 1).all()  # it may come back anywhere


def test_the_frame_that_does_not_show_it_says_nothing_of_its_size(finder, hidden_in):
    session = finder({k: [(32, 16)] for k in range(3)}, max_objects=1)
    hidden_in(session, 1)
    session.step(picture())
    session.step(picture())
    size = Appearance.of(session._tracker.memory.later, 0).size
    assert set(session._tracker._occluders._looks) == {1}  # as it was found
    session.step(picture())
    assert session._tracker._absence._missing[1].size == size > 0


def test_who_is_given_in_a_frame_is_in_there(finder, hidden_in):
    here, other = (32, 16), (32, 112)
    for named, seen in (((), {0, 2}), ((2,), {0, 2}), ((1,), {0, 1, 2}), ((1, 2), {0, 1, 2})):
        session = finder({k: [here, other] for k in range(3)}, discover=False)
        hidden_in(session, 1)
        both = square(*here, 1) + square(*other, 2)
        session.step(picture(), both, whole=True)
        session.step(picture(), whole=True)  # of masks that say all of their frames, this one has none
        mask = np.where(np.isin(both, named), both, 0).astype(np.uint8) if named else None
        assert set(np.unique(session.step(picture(), mask, whole=mask is None))) == seen
        assert (session._tracker.state.slot(0) is None) is (1 not in named)
        assert (session._tracker._absence.ids == {1}) is (1 not in named)


def test_a_whole_mask_says_who_is_there(finder, hidden_in):
    here = (32, 16)
    session = finder({k: [here] for k in range(3)}, discover=False)
    hidden_in(session, 1)
    session.step(picture(), square(*here, 1), whole=True)
    session.step(picture(), whole=True)
    before = session._tracker.memory.later
    session.step(picture(), np.zeros_like(square(*here, 1)), whole=True)
    assert len(session._tracker.memory.later) == len(before) + 1 and session._tracker.state.slot(0) is not None


def test_how_the_last_frames_looked_says_nothing_elsewhere(finder):
    session = finder({0: [(32, 16)]}, discover=False)
    session.step(picture(), square(32, 16, 1))
    tracker = session._tracker
    before = tracker._occluders
    assert tracker.behind_cut()._occluders is not before is not tracker.turned()._occluders
    assert tracker._occluders is before
    tracker.pause()
    assert tracker._occluders is not before


def test_nobody_waits_for_those_who_gave_up_their_slots(finder):
    patience = DiscoveryRules().patience
    session = finder({0: [(32, 16)], **{k: [NOWHERE] for k in range(1, patience + 2)}}, max_objects=1)
    for _ in range(patience + 1):
        session.step(picture())
        session._tracker._absence = Absence(99.0, {1: Appearance(torch.zeros(0, 16), 1.0)})  # like nothing
    session.step(picture())
    assert session.objects == () and session._tracker._absence.ids == set()


def test_who_went_while_a_shot_faded_is_known_as_before_it(finder):
    session = finder({0: [(32, 16)]}, discover=False)
    session.step(picture((32, 16, RED)), square(32, 16, 1))
    session._tracker._absence = Absence(99.0, {1: Appearance(torch.zeros(0, 16), 1.0)})  # as a mixture of two scenes
    assert len(session._tracker.behind_cut()._absence._missing[1].keys) == 0
    assert len(session._tracker.behind_fade()._absence._missing[1].keys) > 0


def test_what_looks_alike_across_the_street_is_not_the_object(finder):
    here, there = (32, 0), (32, 128)
    session = finder({0: [here], 1: [here], 2: [(here, there)]}, max_objects=1)
    for _ in range(3):
        labels = session.step(picture())
    assert (labels[36:60, :28] == 1).all()
    assert not labels[:, 100:].any()


def test_an_object_may_come_back_far_away_after_some_time(finder):
    script = {0: [(32, 0)], **{k: [NOWHERE] for k in range(1, 40)}, 40: [(32, 128)]}
    session = finder(script, max_objects=1)
    session._tracker.rules = DiscoveryRules(patience=99)
    for _ in range(41):
        labels = session.step(picture())
    assert set(np.unique(labels[36:60, 132:156])) == {1}


def test_distant_things_found_by_one_slot_are_objects_of_their_own(finder):
    session = finder({0: [((32, 0), (32, 128))]})
    labels = session.step(picture())
    assert set(np.unique(labels)) == {0, 1, 2}
    assert session.objects == (1, 2)


def test_what_is_not_found_in_the_mirror_image_of_the_first_frame_is_no_object(finder):
    left, right, middle = (32, 0), (32, 128), (0, 64)
    session = finder({0: [left, right, middle], "mirror": [right, left]})
    labels = session.step(picture())
    assert session.objects == (1, 2)
    assert set(np.unique(labels[36:60, 4:28])) == {1} and set(np.unique(labels[36:60, 132:156])) == {2}
    assert not labels[:30].any()


def test_objects_are_looked_for_in_16_bits_too(lite):
    session = Session(lite, dtype=torch.bfloat16)
    assert session.step(picture((32, 32, RED))).shape == SIZE
