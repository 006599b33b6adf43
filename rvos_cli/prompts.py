"""What is told of the objects of a picture: boxes and points enter, one prompt for each object leaves.

Used by ``given_masks.py``, which reads them, and ``outliner.py``, which makes masks of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from rvos_cli.boxes import Box, Boxes, pixels_of, read_boxes, shown
from rvos_cli.errors import UsageError
from rvos_cli.points import NOTHING, Point, Points, read_points, require_within, shown_point


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is told of one object: a box, points, or both.

    Args:
        box: around it, or None.
        on: points on it.
        beside: points on something else.
    """

    box: Box | None = None
    on: tuple[Point, ...] = ()
    beside: tuple[Point, ...] = ()

    def __str__(self) -> str:
        """Return how a message names it."""
        return f"the point {shown_point(self.on[0])}" if self.box is None else f"the box {shown(self.box)}"

    def require_within(self, size: tuple[int, int]) -> None:
        """Check that all of it is in a picture of (H, W), of the box a part.

        Raises:
            MaskError: something is not.
        """
        if self.box is not None:
            pixels_of(self.box, size)
        for point in (*self.on, *self.beside):
            require_within(point, size)


def read_prompts(boxes: Boxes | None, points: Points | None) -> dict[int, Prompt]:
    """Return what is told of each object, by its id; the points of all others are beside it.

    Raises:
        UsageError: nothing is told, or something is no box or no point.
    """
    if boxes is None and points is None:
        raise UsageError("there is neither a box nor a point", cure="give one for each object")
    around = {} if boxes is None else read_boxes(boxes)
    on = {} if points is None else read_points(points)
    if not around and not on.keys() - {NOTHING}:
        raise UsageError("there is no point on an object", cure="give one for each object, or let segment() find them")
    return {
        identity: Prompt(
            box=around.get(identity),
            on=on.get(identity, ()),
            beside=tuple(point for other, some in on.items() if other != identity for point in some),
        )
        for identity in [*around, *(each for each in on if each != NOTHING)]
    }
