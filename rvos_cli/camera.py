"""A camera that follows small objects: where they are in one frame enters, the part to look at of the next ones leaves.

A network sees every frame at one size, and so little of what is small in it. Where all that is followed is small, it is
shown what is around it alone. Driven by ``session.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_cli.continuity import Cells
from rvos_cli.views import View

Box = tuple[float, float, float, float]  # top, left, bottom, right


@dataclass(frozen=True, kw_only=True)
class CameraRules:
    """How the camera moves. A window has the shape of the whole picture, and is a share of its height and width.

    Args:
        context: height or width of the window, that of the two which is less, in those of all objects together.
        lead: the way of so many frames, as fast as the last ones, is looked at as well, in all directions,
        calm: and what that was in the frame before counts so much less in the next.
        most: a window with a larger share is not worth it.
        least: smallest share.
        enlarged: pixels of the network's frame along the side of one of the video's, at most.
        step: factor between a window's share and the next smaller one, of which a frame takes one.
        follow: share of the way to the objects' middle that is gone in a frame.
        still: a way that is a smaller share of the window is not gone.
        reach: somebody out of sight is looked for so far around,
        growth: and so much farther with each frame, both in short sides of the window that those in sight would have.
            All of the picture is looked at when nobody is seen, or somebody may be anywhere.
        beyond: somebody at a side of the window may be in so much of the picture behind it, in heights or widths.
    """

    context: float = 1.7
    lead: float = 1.0
    calm: float = 0.8
    most: float = 0.65
    least: float = 0.1
    enlarged: float = 3.0
    step: float = 1.05
    follow: float = 0.5
    still: float = 0.03
    reach: float = 0.15
    growth: float = 0.04
    beyond: float = 0.25


class Camera:
    """Follows the objects of a shot.

    What a frame shows tells the window of the next but one, since the next one may be on its way to the network.

    Attributes:
        view: of this frame,
        coming: and of the next one. Both stay the same object as long as nothing changes.
    """

    def __init__(self, view: View, size: tuple[int, int], rules: CameraRules) -> None:
        """Begin with all of a *view*, which the network sees at a *size* of (h, w)."""
        self.whole = self.view = self.coming = view
        self._rules, self._bounds = rules, view.area.bounds
        self._shape = tuple(last - first for first, last in self._bounds)
        least = max(rules.least, min(size) / rules.enlarged / min(self._shape))
        self._nearest = max(0, math.floor(-math.log(least, rules.step)))
        self._near = 0  # steps from the whole picture
        self._middle = _middle(self._everywhere)
        self._where: dict[int, tuple[Box, int]] = {}  # where it was seen last, and how many frames ago that was
        self._anywhere: frozenset[int] = frozenset()  # who was seen nowhere yet
        self._pace = 0.0, 0.0  # pixels a frame, down and across

    def copy(self) -> Camera:
        """Return another one that goes its own way from here."""
        other = object.__new__(Camera)
        other.__dict__.update(self.__dict__, _where=dict(self._where))
        return other

    @property
    def closer(self) -> bool:
        """Whether it shows a part of the picture alone, or will in the next frame."""
        return not (self.view is self.coming and self.coming is self.whole)

    def point(self, labels: NDArray[np.uint8], *, whole: bool = False) -> None:
        """Take in whom *labels* (H, W) name in this frame, before its step; if *whole*, that others are not in it."""
        if whole:
            self._where = {identity: (box, unseen + 1) for identity, (box, unseen) in self._where.items()}
        for identity in np.unique(labels[labels > 0]).tolist():
            self._where[identity] = _box(labels == identity), 0
        self._anywhere -= self._where.keys()
        self._near, self._middle = self._wanted()
        self.view = self.coming = self._window()

    def around(self, labels: NDArray[np.uint8]) -> View:
        """Return the view that the objects of *labels* (H, W) would be given in a frame of their own."""
        other = self.copy()
        other._where = {}
        other.point(labels)
        return other.view

    def follow(self, seen: Mapping[int, Cells]) -> None:
        """Go on to the next frame, when it is known in which cells (h/4, w/4) this one's *view* shows each object."""
        pace = self._rules.calm * self._pace[0], self._rules.calm * self._pace[1]
        for identity, cells in seen.items():
            before, unseen = self._where.get(identity, (None, 0))
            if cells.any():
                box = self._in_picture(_box(cells), cells.shape)
                if before is not None and unseen == 0:
                    (here, there), (was, there_before) = _middle(box), _middle(before)
                    pace = max(pace[0], abs(here - was)), max(pace[1], abs(there - there_before))
                self._where[identity] = box, 0
            elif before is not None:
                self._where[identity] = before, unseen + 1
        self._pace = pace
        self._anywhere = (self._anywhere | seen.keys()) - self._where.keys()
        self.view = self.coming
        self._move()
        self.coming = self._window()

    def _move(self) -> None:
        """Set out for where the objects are: at once where they leave the window, or else step by step."""
        near, middle = self._wanted()
        if not self._holds(self._around_all()):
            self._near, self._middle = min(near, self._near), middle
            return
        if near == 0 or abs(near - self._near) > 1:
            self._near += int(np.sign(near - self._near))
        way = [self._rules.follow * (there - here) for here, there in zip(self._middle, middle, strict=True)]
        if any(abs(w) > self._rules.still * self._share * side for w, side in zip(way, self._shape, strict=True)):
            self._middle = self._middle[0] + way[0], self._middle[1] + way[1]

    @property
    def _share(self) -> float:
        return self._rules.step**-self._near

    def _wanted(self) -> tuple[int, tuple[float, float]]:
        """Return how many steps the window should be from the whole picture, and where its middle should be."""
        around = self._around_all()
        share = self._rules.context * self._share_of(around)
        near = 0 if share > self._rules.most else math.floor(-math.log(share, self._rules.step))
        return min(near, self._nearest), _middle(around)

    def _share_of(self, box: Box) -> float:
        return max((box[2] - box[0]) / self._shape[0], (box[3] - box[1]) / self._shape[1])

    def _around_all(self) -> Box:
        """Return what holds all objects, and all that may hold those who are out of sight, if others are not."""
        in_sight = [box for box, unseen in self._where.values() if not unseen]
        if not in_sight or self._anywhere:
            return self._everywhere
        window = min(1.0, self._rules.context * self._share_of(_around(in_sight))) * min(self._shape)
        for box, unseen in self._where.values():
            if unseen:
                reach = (self._rules.reach + self._rules.growth * unseen) * window
                in_sight.append((box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach))
        (top, left, bottom, right), most = _around(in_sight), self._everywhere
        down, across = (self._rules.lead * pace for pace in self._pace)
        top, left, bottom, right = top - down, left - across, bottom + down, right + across
        return max(top, most[0]), max(left, most[1]), min(bottom, most[2]), min(right, most[3])

    @property
    def _everywhere(self) -> Box:
        (top, bottom), (left, right) = self._bounds
        return top, left, bottom, right

    def _holds(self, box: Box) -> bool:
        rows, columns = self._sides()
        return rows[0] <= box[0] and columns[0] <= box[1] and box[2] <= rows[1] and box[3] <= columns[1]

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the first and the last, exclusive, of the window's rows and of its columns."""
        rows, columns = (
            _side(bounds, middle, self._share) for bounds, middle in zip(self._bounds, self._middle, strict=True)
        )
        return rows, columns

    def _window(self) -> View:
        """Return the view of the window, the last one if that shows the same."""
        if self._near == 0:
            return self.whole
        sides = self._sides()
        return self.coming if self.coming.looked_at.bounds == sides else self.whole.part(*sides)

    def _in_picture(self, box: Box, cells: tuple[int, ...]) -> Box:
        """Return where a box of the view's *cells* (h/4, w/4) is in the frame, or may be where the view cuts it off."""
        sides = []
        for axis, (first, last) in enumerate(self.view.looked_at.bounds):
            begin, end, count = box[axis], box[axis + 2], cells[axis]
            begin -= self._rules.beyond * count if begin == 0 else 0
            end += self._rules.beyond * count if end == count else 0
            each, (least, most) = (last - first) / count, self._bounds[axis]
            sides.append((max(least, first + begin * each), min(most, first + end * each)))
        (top, bottom), (left, right) = sides
        return top, left, bottom, right


def _side(bounds: tuple[int, int], middle: float, share: float) -> tuple[int, int]:
    """Return where a share of what is within *bounds* begins and ends that has this *middle*, or nearly, to fit in."""
    first, last = bounds
    span = max(1, round((last - first) * share))
    begin = min(max(round(middle - span / 2), first), last - span)
    return begin, begin + span


def _around(boxes: Sequence[Box]) -> Box:
    top, left, bottom, right = zip(*boxes, strict=True)
    return min(top), min(left), max(bottom), max(right)


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _box(inside: NDArray[np.bool_]) -> Box:
    """Return what holds all that is true of (h, w), which something is."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1)
