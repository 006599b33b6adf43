"""How far an object reaches that only points name: parts of the picture to look at, and the box that one tells of it.

Used by ``outliner.py``, which looks; knows numpy and scipy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rvos_cli.boxes import Pixels
from rvos_cli.continuity import TOUCHING, far_pieces
from rvos_cli.points import Point

Place: TypeAlias = tuple[slice, slice]  # rows and columns of a picture
Bounds: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # first and last, exclusive, of the rows and of the columns

ROOM = 1.5  # a part is so many times as high and wide as what its points span, at least
NEAR = 0.02  # of a part's height or width: what ends so close to its side may go on behind it
CLOSE = 0.2  # of what would be the side of a square box around the pieces with points


def part_around(points: Sequence[Point], bounds: Bounds, scale: float) -> Place:
    """Return the part of what is within *bounds*, of so many of its heights and widths, in whose middle points are."""
    across, down = zip(*points, strict=True)
    rows, columns = (_stretch(where, *each, scale) for where, each in zip((down, across), bounds, strict=True))
    return rows, columns


def _stretch(points: Sequence[float], first: int, last: int, scale: float) -> slice:
    least, most = min(points), max(points)
    span = min(last - first, max(1, round(max(scale * (last - first), ROOM * (most - least)))))
    begin = min(max(round((least + most - span) / 2), first), last - span)
    return slice(begin, begin + span)


def pieces_at(over: NDArray[np.bool_], points: Sequence[Point], place: Place) -> NDArray[np.bool_]:
    """Return the pieces of a mask (h, w) of a *place* on which points are, or else the nearest one, and those close by.

    Close is what something in front of the object, such as a pole, may separate from it.
    """
    pieces, count = ndimage.label(over, TOUCHING)
    if count < 2:
        return over
    rows, columns = (
        np.clip([int(point[axis]) - side.start for point in points], 0, side.stop - side.start - 1)
        for axis, side in zip((1, 0), place, strict=True)
    )
    named = set(pieces[rows, columns].tolist()) - {0}
    if not named:
        y, x = np.nonzero(over)
        named = {int(pieces[y, x][np.argmin(np.hypot(y - rows[0], x - columns[0]))])}
    held = np.isin(pieces, list(named))
    height, width = (np.ptp(np.flatnonzero(held.any(axis=axis))) + 1 for axis in (1, 0))
    return over & ~far_pieces(over, held, CLOSE * math.sqrt(height * width))


def box_of(mask: NDArray[np.bool_], points: Sequence[Point], place: Place, narrowest: int) -> Pixels:
    """Return a box around a mask (h, w) of a *place* of the picture and around points, with sides of some length."""
    across, down = zip(*points, strict=True)
    rows, columns = (
        _side(np.asarray(mask.any(axis=axis)), side, where, narrowest)
        for axis, side, where in zip((1, 0), place, (down, across), strict=True)
    )
    return columns[0], rows[0], columns[1], rows[1]


def _side(some: NDArray[np.bool_], side: slice, points: Sequence[float], narrowest: int) -> tuple[int, int]:
    known = [*(side.start + np.flatnonzero(some)).tolist(), *(min(int(point), side.stop - 1) for point in points)]
    first, last = min(known), max(known) + 1
    span = min(max(last - first, narrowest), side.stop - side.start)
    begin = min(max((first + last - span) // 2, side.start), side.stop - span)
    return begin, begin + span


def ends_in(box: Pixels, part: Place, bounds: Bounds) -> bool:
    """Return whether a box ends within a part of what is within *bounds*, or with these."""
    left, top, right, bottom = box
    return all(
        (begin - side.start > NEAR * (side.stop - side.start) or side.start <= first)
        and (side.stop - end > NEAR * (side.stop - side.start) or side.stop >= last)
        for (begin, end), side, (first, last) in zip(((top, bottom), (left, right)), part, bounds, strict=True)
    )
