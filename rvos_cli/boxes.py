"""Boxes around objects: what a caller gives enters, checked boxes by id leave, and which part of a picture to look at.

A box is (left, top, right, bottom) in pixels of the displayed frame, from its upper left corner: the whole first pixel
is 0, 0, 1, 1. Used by ``prompts.py`` and ``outliner.py``, and by training, which shows the network the same parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from rvos_cli.errors import MaskError, UsageError
from rvos_cli.given_values import by_id, is_many, numbers, short

Box: TypeAlias = tuple[float, float, float, float]
Pixels: TypeAlias = tuple[int, int, int, int]  # a box of whole ones
Boxes: TypeAlias = Mapping[int, Iterable[float]] | Iterable[Iterable[float]]

FOUR = "give four numbers: left, top, right, bottom in pixels"


def read_boxes(boxes: Boxes) -> dict[int, Box]:
    """Return boxes by the ids of their objects: those of a mapping, or 1, 2, ... in order.

    Raises:
        UsageError: there is none, or one is no box.
    """
    if not is_many(boxes):
        raise UsageError(f"the boxes are {short(boxes)}", cure="give a list of (left, top, right, bottom)")
    read = by_id(boxes, least=1, each="a box has", two="two boxes have")
    if not read:
        raise UsageError("there is no box", cure="give one for each object, or let segment() find them")
    return {identity: _read_box(box) for identity, box in read.items()}


def _read_box(given: Iterable[float]) -> Box:
    box = numbers(given, 4)
    if box is None:
        raise UsageError(f"{short(given)} is no box", cure=FOUR)
    left, top, right, bottom = box
    if not all(map(math.isfinite, box)) or left >= right or top >= bottom:
        raise UsageError(
            f"the box {shown((left, top, right, bottom))} holds nothing",
            cure="give left, top, right, bottom in pixels; right and bottom are the larger ones",
        )
    return left, top, right, bottom


def shown(box: Box) -> str:
    """Return a box as it is written on the command line."""
    return ",".join(f"{number:g}" for number in box)


def pixels_of(box: Box, size: tuple[int, int]) -> Pixels:
    """Return which whole pixels of a picture of (H, W) a box means, one at least.

    Raises:
        MaskError: the box lies beside the picture.
    """
    left, top, right, bottom = box
    if min(right, size[1]) <= max(left, 0) or min(bottom, size[0]) <= max(top, 0):
        raise MaskError(
            f"the box {shown(box)} lies outside of the frame, which is {size[1]}x{size[0]}",
            cure="give left, top, right, bottom in pixels of the displayed frame",
        )
    (first, last), (above, below) = _whole(left, right, size[1]), _whole(top, bottom, size[0])
    return first, above, last, below


def _whole(first: float, last: float, length: int) -> tuple[int, int]:
    start = min(math.floor(max(first, 0) + 0.5), length - 1)
    return start, max(start + 1, math.floor(min(last, length) + 0.5))


def window(box: Box, size: tuple[int, int], context: float) -> tuple[slice, slice]:
    """Return the rows and columns of a picture of (H, W) to look at: *box* and what is around it.

    The same is added on all sides, as much as makes a square box *context* times as wide: (*context* - 1) / 2 of the
    square root of the box's area.
    """
    left, top, right, bottom = box
    margin = (context - 1) / 2 * math.sqrt((right - left) * (bottom - top))
    return _around(top - margin, bottom + margin, size[0]), _around(left - margin, right + margin, size[1])


def _around(first: float, last: float, length: int) -> slice:
    return slice(max(0, math.floor(first)), min(length, math.ceil(last)))
