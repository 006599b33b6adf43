"""Where a video is cut: its frames enter, and leave shot by shot.

Used by ``session.py``, which looks for objects anew in each shot. A cut is what changes most of the picture at once
while nothing around it does; PySceneDetect's adaptive detector compares with the frames around in the same way. A fast
pan is none, nor is a flash, because the frame behind it changes as much, nor a light that goes on, because bright and
dark places stay such, nor what the last frame of all shows, since that may be a flash. Scenes that fade into each other
are told by ``fades.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rvos_cli.ahead import ReadAhead
from rvos_cli.fades import FadeRules, faded_from, lights_up
from rvos_cli.small_copies import Small, comparable, contrast, likeness, mixture, small_copy

AROUND = 2  # frames on either side that a cut is told by


class Pictured(Protocol):
    """Whatever has a picture."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""


FrameT = TypeVar("FrameT", bound=Pictured)


@dataclass(frozen=True, kw_only=True)
class ShotRules:
    """What makes a cut. Differences are means over all pixels and colours, in levels of 0..255.

    Args:
        change: least difference from the frame before,
        times: so many times that of any two frames beside it,
        spread: and in this share of the picture more than ``level``.
        level: what counts as a change of a place.
        among: in action, where much moves, a change so many times as large is enough,
        everywhere: if it is in this share of the picture,
        unlike: and leaves less than this correlation,
        apart: less by this than any two frames beside it have.
        mixed: a mixture of two frames is no farther from the straight line between them, as a share of their change.
        likeness: a cut leaves less than this, the correlation of what is brighter or darker than the frame's mean.
        again: the likeness from which on a shot is an earlier one that goes on, if it has changed less than ``change``.
        fades: what makes a fade, with which a shot ends, too.
    """

    change: float = 20.0
    times: float = 2.3
    spread: float = 0.55
    level: float = 10.0
    among: float = 1.5
    everywhere: float = 0.85
    unlike: float = 0.4
    apart: float = 0.3
    mixed: float = 0.2
    likeness: float = 0.7
    again: float = 0.8
    fades: FadeRules = field(default_factory=FadeRules)


@dataclass(frozen=True)
class Cut:
    """Where a shot ends and another begins.

    Args:
        end: a small copy of the last frame that showed the first one alone,
        begin: and of the first frame of the other.
        faded: whether the frames between, and maybe some before, showed both.
        lit: whether all of the first one was of a single colour, as far as can be told from small copies.
    """

    end: Small
    begin: Small
    faded: bool = False
    lit: bool = False


class Shots(Generic[FrameT]):
    """Frames that are read ahead, and which of them begin a new shot."""

    def __init__(self, ahead: ReadAhead[FrameT], rules: ShotRules | None) -> None:
        """Take the frames from *ahead*; without *rules* all are one shot, and none is read for their sake."""
        self._ahead, self._rules = ahead, rules
        self._before: deque[Small] = deque(maxlen=AROUND + max(rules.fades.lengths) if rules else 0)
        self._age = 0  # frames that were taken of this shot
        self._coming: deque[Small] = deque()

    def cut(self, place: int) -> Cut | None:
        """Return how the frame that comes after *place* others begins a new shot; None if it does not."""
        if self._rules is None:
            return None
        self._see(place + 1 + AROUND)
        frames, at = [*self._before, *self._coming], len(self._before) + place
        if at >= len(frames):
            return None
        before = cut_from(frames, at, self._rules)
        if before is not None:
            return Cut(frames[before], frames[at])
        shot, at = frames[max(0, len(self._before) - self._age) :], min(self._age, len(self._before)) + place
        if lights_up(shot, at, self._rules.fades):
            return Cut(shot[at - 1], shot[at], lit=True)
        before = faded_from(shot, at, self._rules.fades)
        return None if before is None else Cut(shot[before], shot[at], faded=True)

    def begin(self) -> None:
        """Begin a shot with the next frame."""
        self._age = 0

    def coming(self, count: int) -> list[NDArray[np.uint8]]:
        """Return the pictures of the next frames, at most *count*, up to the next cut."""
        pictures = [frame.image for frame in self._ahead.peek(count)]
        return pictures[: next((place for place in range(1, len(pictures)) if self.cut(place)), count)]

    def take(self) -> FrameT:
        """Return the next frame, which there must be."""
        if self._coming:
            self._before.append(self._coming.popleft())
            self._age += 1
        return self._ahead.take()

    def _see(self, count: int) -> None:
        for frame in self._ahead.peek(count)[len(self._coming) :]:
            self._coming.append(small_copy(frame.image))


def cut_from(frames: Sequence[Small], at: int, rules: ShotRules) -> int | None:
    """Return the place of the last frame of the shot before if ``frames[at]`` begins a new one; None if it does not.

    One frame between the two, a mixture of both or black, is of neither. Behind a flash of two frames nothing is new.
    """
    start = max(0, at - AROUND - 2)
    frames, at = comparable(frames[start : at + AROUND + 1]), at - start
    if is_cut(frames, at, rules):
        before = at - 1
    elif at > 1 and is_cut([*frames[: at - 1], *frames[at:]], at - 1, rules) and not is_cut(frames, at - 1, rules):
        before = at - 2
        if not _is_of_neither(frames[before], frames[at - 1], frames[at], rules):
            return None
    elif is_cut(frames, at, rules, action=True) and not _is_of_neither(
        frames[at - 1], frames[at], frames[at + 1], rules
    ):
        before = at - 1
    else:
        return None
    flash = any(goes_on(frames[place], frames[at], rules) for place in range(max(0, at - 3), at - 1))
    return None if flash else start + before


def _is_of_neither(before: Small, between: Small, here: Small, rules: ShotRules) -> bool:
    """Say whether a frame is a mixture of the two around it, or of a single colour."""
    return mixture(before, between, here)[1] <= rules.mixed or contrast(between) < rules.fades.plain


def is_cut(frames: Sequence[Small], at: int, rules: ShotRules, *, action: bool = False) -> bool:
    """Say whether ``frames[at]`` begins a new shot; the two before and behind it should be there, one of each must.

    In *action*, where much moves before and behind it, all of the picture has to be another, and all of these be there.
    """
    enough = AROUND if action else 1
    if not enough <= at < len(frames) - enough:
        return False
    before, here = frames[at - 1], frames[at]
    change = np.abs(here - before).mean(axis=-1)
    spread = float((change > rules.level).mean())
    if change.mean() < rules.change or spread < rules.spread:
        return False
    window = range(max(1, at - AROUND + 1), min(len(frames), at + AROUND + 1))
    beside = [(frames[n - 1], frames[n]) for n in window if n != at]
    times = float(change.mean()) / max(1e-6, *(float(np.abs(two - one).mean()) for one, two in beside))
    alike = likeness(before, here)
    if not action:
        return times >= rules.times and alike < rules.likeness
    apart = min(likeness(one, two) for one, two in beside) - alike
    return times >= rules.among and spread >= rules.everywhere and alike < rules.unlike and apart > rules.apart


def goes_on(before: Small, here: Small, rules: ShotRules) -> bool:
    """Say whether *here* may follow *before*, the last frame of an earlier shot: the camera sees what it saw then."""
    before, here = comparable([before, here])
    return bool(np.abs(here - before).mean() < rules.change) and likeness(before, here) > rules.again
