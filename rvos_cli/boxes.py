"""Boxes around objects: what a caller gives enters, checked boxes by id leave, and which part of a picture to look at.

A box is (left, top, right, bottom) in pixels of the displayed frame, from its upper left corner: the whole first pixel
is 0, 0, 1, 1. Used by ``outliner.py``, and by training, which shows the network the same parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.errors import MaskError, UsageError

Box: TypeAlias = tuple[float, float, float, float]
Boxes: TypeAlias = Mapping[int, Iterable[float]] | Iterable[Iterable[float]]

STRIDE = 32  # of the coarsest features


def read_boxes(boxes: Boxes) -> dict[int, Box]:
    """Return boxes by the ids of their objects: those of a mapping, or 1, 2, ... in order.

    Raises:
        UsageError: there is none, or one is no box.
    """
    if isinstance(boxes, (str, bytes)) or not isinstance(boxes, Iterable):
        raise UsageError(f"the boxes are {boxes!r}", cure="give a list of (left, top, right, bottom)")
    given = dict(boxes) if isinstance(boxes, Mapping) else dict(enumerate(boxes, start=1))
    if not given:
        raise UsageError("there is no box", cure="give one for each object, or let segment() find them")
    for identity in given:
        if not hasattr(identity, "__index__") or not 1 <= identity <= MAX_OBJECT_ID:
            raise UsageError(f"a box has the id {identity!r}", cure=f"ids are whole numbers from 1 to {MAX_OBJECT_ID}")
    return {int(identity): _read_box(box) for identity, box in given.items()}


def _read_box(box: Iterable[float]) -> Box:
    try:
        left, top, right, bottom = (float(number) for number in box)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{box!r} is no box", cure="give four numbers: left, top, right, bottom") from error
    if not all(map(math.isfinite, (left, top, right, bottom))) or left >= right or top >= bottom:
        raise UsageError(
            f"the box {shown((left, top, right, bottom))} holds nothing",
            cure="give left, top, right, bottom in pixels; right and bottom are the larger ones",
        )
    return left, top, right, bottom


def shown(box: Box) -> str:
    """Return a box as it is written on the command line."""
    return ",".join(f"{number:g}" for number in box)


def inside_of(box: Box, size: tuple[int, int]) -> Box:
    """Return what of a box lies in a picture of (H, W).

    Raises:
        MaskError: that is less than a pixel wide or high.
    """
    left, top, right, bottom = box
    cut = max(left, 0.0), max(top, 0.0), min(right, float(size[1])), min(bottom, float(size[0]))
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        raise MaskError(
            f"the box {shown(box)} holds no pixel of the frame, which is {size[1]}x{size[0]}",
            cure="give left, top, right, bottom in pixels of the displayed frame",
        )
    return cut


def window(box: Box, size: tuple[int, int], context: float) -> tuple[slice, slice]:
    """Return the rows and columns of a picture of (H, W) to look at: *box* and around it, *context* times as large.

    The same is added on all sides: (*context* - 1) / 2 of the box's mean side.
    """
    left, top, right, bottom = box
    margin = (context - 1) / 2 * math.sqrt((right - left) * (bottom - top))
    return _whole(top - margin, bottom + margin, size[0]), _whole(left - margin, right + margin, size[1])


def _whole(first: float, last: float, length: int) -> slice:
    return slice(max(0, math.floor(first)), min(length, math.ceil(last)))


def grid(size: tuple[int, int], side: float) -> tuple[int, int]:
    """Return (h, w), multiples of 32, for a picture of (H, W): the area of a square of *side*, the shape as it is."""
    scale = side / math.sqrt(size[0] * size[1])
    least = STRIDE * 2
    height, width = (max(least, STRIDE * round(length * scale / STRIDE)) for length in size)
    return height, width


def share_inside(box: Box, rows: slice, columns: slice, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return (h, w), 0..1: how much of each pixel is in the box, if the rows and columns are resized to *size*."""
    left, top, right, bottom = box
    vertical = _covered(top, bottom, rows, size[0])
    return np.outer(vertical, _covered(left, right, columns, size[1])).astype(np.float32)


def _covered(first: float, last: float, part: slice, count: int) -> NDArray[np.float64]:
    """Return how much of each of *count* equal pieces of a *part* lies between first and last."""
    edges = np.linspace(part.start, part.stop, count + 1)
    covered = np.minimum(edges[1:], last) - np.maximum(edges[:-1], first)
    share: NDArray[np.float64] = np.clip(covered * count / (part.stop - part.start), 0, 1)
    return share
