"""The next frame with a whole mask, before its turn: it says something of those before it, too.

Enters: frames that are read ahead, and who knows which of them have masks. Leaves: the frame's keys and labels, which
other frames are compared with. Driven by ``session.py``; ``matching_tracker.py`` remembers what leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.ahead import ReadAhead
from rvos_cli.errors import RvosError
from rvos_cli.shots import FrameT
from rvos_cli.views import Picture, View

Labels = NDArray[np.uint8]


class Annotations(Protocol):
    """Whoever knows the whole masks of a video."""

    def next_whole(self, index: int) -> int | None:
        """Return the next frame behind this one that has a whole mask."""

    def labels(self, index: int) -> Labels | None:
        """Return the labels (H, W) of a frame; None if it has no mask."""


@dataclass(frozen=True)
class Coming:
    """A frame that is yet to come, with its whole mask.

    Args:
        keys: (1, D, h/8, w/8), as ``Features`` has them.
        labels: (H, W) uint8, of the part of the frame that is looked at.
    """

    keys: Tensor
    labels: Labels


class Foresight:
    """Knows the next frame with a whole mask of one video, when it is near enough to be read."""

    def __init__(self, annotations: Annotations, room: Callable[[Picture], int]) -> None:
        """Look as many frames ahead as *room* says, from a picture (H, W, 3), that there may be in memory."""
        self._annotations, self._room = annotations, room
        self._next: tuple[int, Picture] | None = None
        self._known: tuple[int, View, Coming | None] | None = None  # what was made of it, and for which view

    def look(self, place: int, ahead: ReadAhead[FrameT]) -> None:
        """Look for the next one behind the frame number *place*, which is the next of those *ahead*."""
        index = self._annotations.next_whole(place)
        if self._next is not None and self._next[0] == index:
            return
        self._next = self._known = None
        if index is not None and index - place <= self._room(ahead.peek(1)[0].image):
            frames = ahead.peek(index - place + 1)
            if len(frames) > index - place:
                self._next = index, frames[-1].image

    def coming(self, view: View, look: Callable[[Picture, Labels], Coming | None]) -> Coming | None:
        """Return what a *look* at it says, as long as the *view* is the same; None where it does not hold there."""
        if self._next is None:
            return None
        index, image = self._next
        if self._known is None or self._known[:2] != (index, view):
            self._known = index, view, self._made(index, image, view, look)
        return self._known[2]

    def _made(
        self, index: int, image: Picture, view: View, look: Callable[[Picture, Labels], Coming | None]
    ) -> Coming | None:
        labels = None
        with suppress(RvosError):  # which is told when it is the frame's turn
            labels = self._annotations.labels(index)
        if labels is None or not view.holds(image, labels):
            return None
        return look(image, labels)
