"""Points on objects: what a caller gives enters, checked points by the ids of their objects leave.

A point is (x, y) in pixels of the displayed frame, from its upper left corner: the middle of the first pixel is
0.5, 0.5. Used by ``prompts.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rvos_cli.errors import MaskError, UsageError
from rvos_cli.given_values import by_id, is_many, numbers, short

Point: TypeAlias = tuple[float, float]
OnePoint: TypeAlias = Iterable[float]
Points: TypeAlias = Mapping[int, OnePoint | Iterable[OnePoint]] | Iterable[OnePoint | Iterable[OnePoint]]

NOTHING = 0  # the id of points that are on no object
TWO = "give two numbers: x, y in pixels"


def read_points(points: Points) -> dict[int, tuple[Point, ...]]:
    """Return points by the ids of their objects: those of a mapping, or 1, 2, ... in order.

    Each object has one point or several; 0 in a mapping names points that are on none.

    Raises:
        UsageError: one is no point.
    """
    if not is_many(points):
        raise UsageError(f"the points are {short(points)}", cure="give a list of (x, y), or {id: [(x, y), ...]}")
    read = by_id(points, least=NOTHING, each="points have", two="two lists of points have")
    return {identity: _read_some(some) for identity, some in read.items()}


def _read_some(given: Any) -> tuple[Point, ...]:
    """Read one point or several."""
    if not is_many(given):
        raise UsageError(f"{short(given)} is no point", cure=TWO)
    parts = list(given)
    if not parts:
        raise UsageError("a list of points is empty", cure="give one, or leave it out")
    return tuple(map(_read_point, parts)) if all(map(is_many, parts)) else (_read_point(parts),)


def _read_point(given: Any) -> Point:
    point = numbers(given, 2)
    if point is None or not all(map(math.isfinite, point)):
        raise UsageError(f"{short(given)} is no point", cure=TWO)
    return point[0], point[1]


def shown_point(point: Point) -> str:
    """Return a point as it is written on the command line."""
    return f"{point[0]:g},{point[1]:g}"


def require_within(point: Point, size: tuple[int, int]) -> None:
    """Check that a point lies in a picture of (H, W), its borders included.

    Raises:
        MaskError: it lies beside it.
    """
    if not (0 <= point[0] <= size[1] and 0 <= point[1] <= size[0]):
        raise MaskError(
            f"the point {shown_point(point)} lies outside of the frame, which is {size[1]}x{size[0]}",
            cure="give x, y in pixels of the displayed frame",
        )
