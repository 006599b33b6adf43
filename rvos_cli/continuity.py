"""What belongs to one object: pieces of a mask enter, those near where the object was leave.

A network that knows what an object looks like also likes its look-alikes across the street. Things do not jump:
a piece of mask far from where its object was last seen is not a part of it. Stands between the network and the ids
(``matching_tracker.py``), on a grid of cells; knows numpy and scipy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Cells = NDArray[np.bool_]
TOUCHING = np.ones((3, 3), np.bool_)  # cells that meet in a corner are one piece


def far_pieces(inside: Cells, before: Cells, reach: float) -> Cells:
    """Return the pieces of a mask that lie farther than *reach* from where the object was.

    Args:
        inside: (h, w), the object's mask now.
        before: (h, w), its mask when it was last seen; if empty, nothing is far.
        reach: in cells.

    Returns:
        (h, w), the cells to drop.
    """
    box = _box(inside)
    if box is None or not before.any():
        return np.zeros_like(inside)
    pieces, count = ndimage.label(inside[box], TOUCHING)
    if np.all(np.bincount(pieces[before[box]], minlength=count + 1)[1:]):
        return np.zeros_like(inside)  # every piece is where the object was: no need for distances, which take long
    pieces, _ = ndimage.label(inside, TOUCHING)
    distance = ndimage.distance_transform_edt(~before)
    nearest = ndimage.minimum(distance, pieces, np.arange(count + 1))
    far = np.asarray(nearest) > reach
    far[0] = False
    dropped: Cells = far[pieces]
    return dropped


@dataclass(frozen=True)
class Stray:
    """A piece of mask, (h, w), that object *owner* has and object *neighbour* should have."""

    piece: Cells
    owner: int
    neighbour: int


def strays(masks: Sequence[Cells], *, share: float, gap: float) -> list[Stray]:
    """Find small pieces of an object that have come off it and hang on another one.

    Two things that part after they have met may each keep a bit of the other; this gives it back.

    Args:
        masks: (h, w) of each object.
        share: a piece is small below this share of its object's largest piece, 0..1.
        gap: it has come off when it is farther than so many cells from every piece that is not small.
    """
    found = []
    boxes = [_box(inside) for inside in masks]
    for owner, (inside, box) in enumerate(zip(masks, boxes, strict=True)):
        neighbours = (other for place, other in enumerate(boxes) if place != owner)
        if box is None or not any(other is not None and _meet(box, other) for other in neighbours):
            continue
        if ndimage.label(inside[box], TOUCHING)[1] < 2:
            continue
        pieces, count = ndimage.label(inside, TOUCHING)
        areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        small = areas < share * areas.max()
        distance = ndimage.distance_transform_edt(~np.isin(pieces, 1 + np.flatnonzero(~small)))
        for number in 1 + np.flatnonzero(small):
            piece = pieces == number
            if distance[piece].min() <= gap:
                continue
            around = ndimage.binary_dilation(piece, TOUCHING)
            contact = [0 if k == owner else int((around & other).sum()) for k, other in enumerate(masks)]
            if max(contact) > 0:
                found.append(Stray(piece, owner, int(np.argmax(contact))))
    return found


def clusters(inside: Cells, gap: float) -> list[Cells]:
    """Split a mask into groups of pieces with no more than *gap* cells between neighbours, the largest first.

    Args:
        inside: (h, w).
        gap: in cells.

    Returns:
        One (h, w) mask per group.
    """
    if not inside.any():
        return []
    joined, count = ndimage.label(ndimage.distance_transform_edt(~inside) <= gap / 2, TOUCHING)
    groups = [inside & (joined == number) for number in range(1, count + 1)]
    return sorted(groups, key=lambda group: -int(group.sum()))


def _box(inside: Cells) -> tuple[slice, slice] | None:
    """Return the smallest box around a mask (h, w), None if it is empty: most are much smaller than their frame."""
    rows, columns = (_extent(np.asarray(inside.any(axis=axis))) for axis in (1, 0))
    return None if rows.stop == 0 else (rows, columns)


def _extent(line: NDArray[np.bool_]) -> slice:
    """Return the stretch of a line from its first True to its last; of none, an empty one."""
    first = int(line.argmax())
    return slice(first, len(line) - int(line[::-1].argmax())) if line[first] else slice(0, 0)


def _meet(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    """Whether a cell of one box may touch one of the other."""
    return all(a.start <= b.stop and b.start <= a.stop for a, b in zip(one, other, strict=True))
