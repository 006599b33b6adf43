"""Where a video is cut: its frames enter, and leave shot by shot.

Used by ``session.py``, which looks for objects anew in each shot. A cut is what changes most of the picture at once
while nothing around it does; PySceneDetect's adaptive detector compares with the frames around in the same way. A fast
pan is none, nor is a flash, because the frame behind it changes as much, nor a light that goes on, because bright and
dark places stay such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rvos_cli.ahead import ReadAhead

Small = NDArray[np.float32]
SIZE = 18, 32  # height and width of the small copies that are compared
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
        likeness: a cut leaves less than this, the correlation of what is brighter or darker than the frame's mean.
        again: the likeness from which on a shot is an earlier one that goes on, if it has changed less than ``change``.
    """

    change: float = 20.0
    times: float = 2.3
    spread: float = 0.55
    level: float = 10.0
    likeness: float = 0.7
    again: float = 0.8


class Shots(Generic[FrameT]):
    """Frames that are read ahead, and which of them begin a new shot."""

    def __init__(self, ahead: ReadAhead[FrameT], rules: ShotRules | None) -> None:
        """Take the frames from *ahead*; without *rules* all are one shot, and none is read for their sake."""
        self._ahead, self._rules = ahead, rules
        self._before: deque[Small] = deque(maxlen=AROUND)
        self._coming: deque[Small] = deque()

    def cut(self, place: int) -> bool:
        """Whether the frame that comes after *place* others begins a new shot."""
        if self._rules is None:
            return False
        self._see(place + 1 + AROUND)
        return is_cut([*self._before, *self._coming], len(self._before) + place, self._rules)

    def coming(self, count: int) -> list[NDArray[np.uint8]]:
        """Return the pictures of the next frames, at most *count*, up to the next cut."""
        pictures = [frame.image for frame in self._ahead.peek(count)]
        return pictures[: next((place for place in range(1, len(pictures)) if self.cut(place)), count)]

    def around_cut(self) -> tuple[Small, Small]:
        """Return small copies of the last frame and of the next."""
        return self._before[-1], self._coming[0]

    def take(self) -> FrameT:
        """Return the next frame, which there must be."""
        if self._coming:
            self._before.append(self._coming.popleft())
        return self._ahead.take()

    def _see(self, count: int) -> None:
        for frame in self._ahead.peek(count)[len(self._coming) :]:
            self._coming.append(small_copy(frame.image))


def small_copy(image: NDArray[np.uint8]) -> Small:
    """Return (18, 32, 3) float32 of an (H, W, 3) uint8 RGB frame: each the mean of 16 of its pixels."""
    height, width = image.shape[:2]
    rows = np.arange(4 * SIZE[0]) * height // (4 * SIZE[0])
    columns = np.arange(4 * SIZE[1]) * width // (4 * SIZE[1])
    some = image[rows][:, columns].reshape(SIZE[0], 4, SIZE[1], 4 * 3)
    small: Small = some.sum(axis=1, dtype=np.float32).reshape(*SIZE, 4, 3).sum(axis=2) / 16
    return small


def is_cut(frames: Sequence[Small], at: int, rules: ShotRules) -> bool:
    """Say whether ``frames[at]`` begins a new shot; the two before and behind it should be there, one of each must."""
    if not 0 < at < len(frames) - 1:
        return False
    before, here = frames[at - 1], frames[at]
    change = np.abs(here - before).mean(axis=-1)
    if change.mean() < rules.change or (change > rules.level).mean() < rules.spread:
        return False
    window = range(max(1, at - AROUND + 1), min(len(frames), at + AROUND + 1))
    beside = max(float(np.abs(frames[n] - frames[n - 1]).mean()) for n in window if n != at)
    return bool(change.mean() >= rules.times * beside) and _likeness(before, here) < rules.likeness


def goes_on(before: Small, here: Small, rules: ShotRules) -> bool:
    """Say whether *here* may follow *before*, the last frame of an earlier shot: the camera sees what it saw then."""
    return bool(np.abs(here - before).mean() < rules.change) and _likeness(before, here) > rules.again


def _likeness(one: Small, other: Small) -> float:
    """Return the correlation of two frames, -1..1; 0 where one of them is of a single colour."""
    a, b = (frame - frame.mean(axis=(0, 1)) for frame in (one, other))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1.0 else 0.0
