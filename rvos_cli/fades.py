"""Where a scene has faded into another or into a single colour: small copies of frames enter, a place leaves.

Used by ``shots.py``. While one scene fades into another, every frame is a mixture of the two: from the last frame
before to the first one behind, all places change along a straight line, and the mixtures have less contrast than both.
A pan changes a picture as much, but its frames are no mixtures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_cli.small_copies import Small, comparable, contrast, likeness, mixture

AHEAD = 2  # frames behind the first one of the new scene that must have been seen


@dataclass(frozen=True, kw_only=True)
class FadeRules:
    """What makes a fade. Differences are means over all pixels and colours, in levels of 0..255.

    Args:
        lengths: frames from the last one before it to the first one behind it, the shortest and the longest among
            them; a fade may also be one of any length between, since the frames around it change less.
        change: least difference of the two,
        likeness: and the correlation that they have less than.
        middle: shares of the second scene from which and up to which a frame counts as a mixture,
        least: of which there are so many.
        pure: share of the second scene up to which a frame counts as one of the first.
        rest: largest mean difference of the mixtures from the straight line, as a share of the change.
        dip: least loss of variance, where 1 is that of mixtures of two pictures that have nothing in common.
        bend: how far the shares may be from rising evenly.
        pace: of the pace of the fade, so much at most is left in the frames around its end.
        behind: so many of these come before the first frame of the new scene, which is found that much later.
        plain: a frame with less contrast is of a single colour.
        dim: one with less than this share of the contrast at the end is the beginning of the same scene out of that.
    """

    lengths: tuple[int, ...] = (6, 9, 13, 18, 26, 36, 50, 64)
    change: float = 20.0
    likeness: float = 0.7
    middle: tuple[float, float] = (0.2, 0.8)
    least: int = 2
    pure: float = 0.1
    rest: float = 0.38
    dip: float = 0.5
    bend: float = 0.15
    pace: float = 0.5
    behind: int = 3
    plain: float = 4.0
    dim: float = 0.4


def lights_up(frames: Sequence[Small], at: int, rules: FadeRules) -> bool:
    """Say whether all of the frames before ``frames[at]`` are of a single colour, and this one is not."""
    # The frame before decides mostly, and is asked first.
    plain = (contrast(frames[place]) < rules.plain for place in range(at - 1, -1, -1))
    return at > 0 and contrast(frames[at]) >= rules.plain and all(plain)


def faded_from(frames: Sequence[Small], at: int, rules: FadeRules) -> int | None:
    """Return the place of the last pure frame before a fade that has just ended at ``frames[at]``; None without one.

    What comes out of a single colour is none, since nothing is there that could end.
    """
    if at + AHEAD >= len(frames):
        return None
    first = max(0, at - max(rules.lengths))
    frames, place = comparable(frames[first : at + AHEAD + 1]), None
    at -= first
    here = frames[at]
    for length in rules.lengths:
        if length > at:
            break
        before = frames[at - length]
        if np.abs(here - before).mean() < rules.change or likeness(before, here) >= rules.likeness:
            continue
        if not _may_be_mixture(before, frames[at - length // 2], here, rules):
            continue
        if contrast(before) < max(rules.plain, rules.dim * contrast(here)):
            continue
        line = _line(np.stack(frames[at - length : at + AHEAD + 1]), length, rules)
        if line is None:
            continue
        pace, start = line
        place = first + at - length + max(0, math.floor((rules.pure - start) / pace))
        if start + pace <= 0:  # what is shorter began with a mixture
            break
    return place


def _may_be_mixture(before: Small, between: Small, here: Small, rules: FadeRules) -> bool:
    """Say whether the frame in the middle of a window, where a fade of about its length would be, is worth a look."""
    share, rest = mixture(before, between, here)
    return 0 < share < 1 and rest <= 1.5 * rules.rest


def _line(window: NDArray[np.float32], length: int, rules: FadeRules) -> tuple[float, float] | None:
    """Return by how much a fade that ends with ``window[length]`` goes on a frame, and its share at ``window[0]``.

    That is on the straight line through its mixtures, below 0 where they begin later. None without a fade.
    """
    way = window[length] - window[0]
    passed = window - window[0]
    shares = (passed * way).sum(axis=(1, 2, 3)) / (way * way).sum()
    low, high = rules.middle
    (places,) = np.nonzero((shares[: length + 1] > low) & (shares[: length + 1] < high))
    if len(places) < rules.least:
        return None
    share = shares[places]
    rest = np.abs(passed[places] - share[:, None, None, None] * way).mean() / np.abs(way).mean()
    if rest > rules.rest or _dip(window, places, share, length) < rules.dip:
        return None
    pace, start = np.polyfit(places, share, 1)
    if pace <= 0 or np.abs(pace * places + start - share).max() > rules.bend:
        return None
    left = shares[length + AHEAD] - shares[length - rules.behind]
    return (float(pace), float(start)) if left <= rules.pace * pace * (AHEAD + rules.behind) else None


def _dip(window: NDArray[np.float32], places: NDArray[np.intp], share: NDArray[np.float32], length: int) -> float:
    """Return how much variance the mixtures have lost, of what they would have to of scenes with nothing in common."""
    first, last, *between = (float(frame.var(axis=(0, 1)).mean()) for frame in window[[0, length, *places]])
    kept = np.array(between) / ((1 - share) * first + share * last)
    return float(((1 - kept) / (2 * share * (1 - share))).mean())
