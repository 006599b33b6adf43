"""Who is in the picture behind a cut, and who is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from small_demo import SMALL, Picture, clip, first_mask, labels_of, lite

from rvos_cli.cells import NOWHERE
from rvos_cli.model import References
from rvos_cli.presence import MOST_PLACES, Absence, Appearance
from rvos_cli.session import Session

(SHARE, DISTANCE), (FEW, CLOSER) = Absence.rules.alike
SHARP = 10 * DISTANCE  # at this temperature a cosine of 0.9 is the least


def keys(*rows: Sequence[int]) -> torch.Tensor:
    """Return keys (1, 3, 1, n) that are unit vectors along these axes."""
    return torch.eye(3)[list(rows)].T[None, :, None]


def references() -> References:
    """Object 0 looks like axis 0, object 1 like axis 1, the background like axis 2; one frame of six places."""
    masks = torch.zeros(1, 2, 1, 1, 6)
    masks[0, 0, ..., :2], masks[0, 1, ..., 2:4] = 1, 1
    return References(keys(0, 0, 1, 1, 2, 2).unsqueeze(2), masks)


def test_an_object_is_like_a_frame_that_shows_it():
    first, second = (Appearance.of(references(), slot) for slot in (0, 1))
    assert (first.keys.shape, first.size) == ((2, 3), 2)
    frame = keys(2, 2, 0, 2)
    assert first.likeness(frame, [SHARE]) == [1] and second.likeness(frame, [SHARE]) == [0]
    assert first.likeness(frame, [FEW, 1.0]) == [1, 0.5]  # one of the two places that it should fill


def test_a_large_object_is_remembered_by_some_of_its_places():
    large = References(torch.ones(1, 3, 1, 40, 50), torch.ones(1, 1, 1, 40, 50))
    appearance = Appearance.of(large, 0)
    assert MOST_PLACES // 2 < len(appearance.keys) <= MOST_PLACES and appearance.size == 2000


def test_an_object_that_never_was_seen_is_like_nothing():
    unseen = References(references().keys, torch.zeros(1, 1, 1, 1, 6))
    assert Appearance.of(unseen, 0).likeness(keys(0, 1, 2), [SHARE, FEW]) == [-1, -1]


def test_who_is_missing_is_nowhere_until_something_like_it_is_seen():
    logits = torch.full((2, 4, 8), 3.0)
    absence = Absence(SHARP).behind_cut((7, 9), references())
    after = absence.without_missing((7, 9), logits, keys(2, 2))
    assert (after == NOWHERE).all() and (logits == 3).all()
    after = absence.without_missing((7, 9), logits, keys(2, 1))
    assert (after[0] == NOWHERE).all() and (after[1] == 3).all()
    after = absence.without_missing((7, 9), logits, keys(2, 2))  # who was seen again is followed again
    assert (after[0] == NOWHERE).all() and (after[1] == 3).all()
    absence.end([7])
    assert absence.without_missing((7, 9), logits, keys(2, 2)) is logits


def test_how_like_it_has_to_be_depends_on_the_networks_temperature():
    logits, apart = torch.zeros(2, 4, 8), torch.tensor([0.8, 0.0, 0.6]).view(1, 3, 1, 1)
    for temperature, seen in ((DISTANCE / 0.19, False), (DISTANCE / 0.21, True)):
        absence = Absence(temperature).behind_cut((7, 9), references())
        after = absence.without_missing((7, 9), logits, apart)
        assert bool((after[0] == 0).all()) is seen and (after[1] == NOWHERE).all()


def test_of_what_is_seen_in_part_a_few_places_have_to_be_more_alike():
    masks = torch.zeros(1, 2, 1, 10, 10)
    masks[0, 0] = 1
    large = References(torch.eye(3)[0].view(1, 3, 1, 1, 1).expand(1, 3, 1, 10, 10), masks)
    frame = torch.eye(3)[1].view(1, 3, 1, 1).repeat(1, 1, 10, 10)
    for cosine, seen in ((1 - 1.02 * CLOSER / SHARP, False), (1 - 0.98 * CLOSER / SHARP, True)):
        frame[0, :, 0, : round(FEW * 100)] = torch.tensor([cosine, 0.0, (1 - cosine**2) ** 0.5]).view(3, 1)
        absence = Absence(SHARP).behind_cut((7, 9), large)
        after = absence.without_missing((7, 9), torch.zeros(2, 4, 8), frame)
        assert bool((after[0] == 0).all()) is seen


def test_who_is_missed_already_looks_as_it_did_when_it_went():
    absence = Absence(SHARP)
    absence.begin([7], (7, 9), references())
    absence.begin([7], (7, 9), References(keys(2, 2).unsqueeze(2), torch.ones(1, 2, 1, 1, 2)))
    assert absence.ids == {7}
    assert (absence.without_missing((7, 9), torch.zeros(2, 4, 8), keys(0, 0)) == 0).all()


def test_who_was_missing_before_a_cut_looks_as_it_did_before_that():
    absence = Absence(SHARP).behind_cut((7, 9), references())
    absence.end([9])
    again = absence.behind_cut((7, 9), References(keys(2, 2).unsqueeze(2), torch.ones(1, 2, 1, 1, 2)))
    logits = torch.zeros(2, 4, 8)
    after = again.without_missing((7, 9), logits, keys(2, 0))  # the second one has looked like axis 2 since
    assert (after == 0).all()
    assert (absence.without_missing((7, 9), logits, keys(2, 2))[0] == NOWHERE).all()


def elsewhere(count: int) -> list[Picture]:
    """Return a scene of its own: hills of blobs, over which the camera moves."""
    coarse = np.random.default_rng(3).integers(0, 256, (9, 18, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((400, 180), Image.Resampling.BICUBIC))
    return [np.ascontiguousarray(wide[:, 2 * place : 2 * place + 320]) for place in range(count)]


def test_what_is_followed_is_not_taken_for_something_else_behind_a_cut():
    def followed(frames: Sequence[Picture]) -> list[Picture]:
        return labels_of(Session(lite(), options=SMALL, first_mask=first_mask()), frames)

    begin, end = clip()[:12], clip()[12:24]
    alone, film = followed(begin + end), followed(begin + elsewhere(9) + end)
    assert not np.any(film[12:21])
    for one, other in zip(alone[12:], film[21:], strict=True):  # back again, everything goes on under its id
        assert np.mean(one == other) > 0.995 and set(np.unique(one)) == set(np.unique(other)) > {0}
    view = followed(begin + [np.ascontiguousarray(frame[:, ::-1]) for frame in end])
    largest = np.bincount(first_mask().ravel())[1:].argmax() + 1
    both = (view[-1][:, ::-1] == largest) & (alone[-1] == largest)
    assert both.sum() > 0.7 * (alone[-1] == largest).sum()  # seen by another camera


def panned(frames: Sequence[Picture], away: int) -> list[Picture]:
    """Return frames from which the camera swings away to another scene, stays as long, and comes back."""
    width, still = frames[0].shape[1], elsewhere(1)[0]
    ways = np.linspace(0, width, away).astype(int).tolist()
    lefts = [*ways, *[width] * away, *reversed(ways)]
    pairs = zip(frames, lefts, strict=True)
    return [np.ascontiguousarray(np.hstack([frame, still])[:, left : left + width]) for frame, left in pairs]


def test_what_goes_out_of_sight_comes_back_under_its_id():
    frames = panned((clip() + clip()[::-1])[:24], 8)
    session = Session(lite(), options=SMALL, first_mask=first_mask())
    labels = labels_of(session, frames)
    assert not np.any(labels[8:16])
    assert set(np.unique(labels[-1])) == set(np.unique(first_mask()))


def test_what_was_given_of_an_object_before_it_was_corrected_still_says_what_it_looks_like():
    doubted = replace(references(), known=((0.01, 1.0),))
    assert torch.equal(Appearance.of(doubted, 0).keys, Appearance.of(references(), 0).keys)
    unknown = replace(references() + references(), known=((0.0, 1.0), (1.0, 1.0)))
    assert Appearance.of(unknown, 0).size == Appearance.of(references(), 0).size
