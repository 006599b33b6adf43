"""What stands still of something that moves: the cells of a first frame's finds enter, which of them stand leaves.

A slot of the network should hold one object, but at times takes scenery near a thing for a part of it. Parts of one
object do not stand still beside each other while it moves, and a few other frames tell which do. Stands between the
network and ``discovery.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from rvos_cli.continuity import TOUCHING, Cells
from rvos_cli.motion import Motion, MotionRules, positions, scenery


@dataclass(frozen=True, kw_only=True)
class StandingRules:
    """What stands still, and what moves; lengths are in short sides of the frame.

    Args:
        still: a piece stands if it is no farther than this from where it should be in another frame by the camera's
            motion alone,
        frames: in so many others at least; far ones tell little.
        moving: a piece moves if the median over the others is this and more, and does not stand then.
        blur: another frame tells nothing where the scenery itself seems to have moved by more.
        area: least share of the frame that a piece has, 0..1, to be asked.
        beside: least area of the largest piece that moves, in areas of one that stands: a leaf makes no scenery of a
            house.
    """

    still: float = 0.008
    frames: int = 2
    moving: float = 0.025
    blur: float = 0.02
    area: float = 0.002
    beside: float = 0.25


@dataclass(frozen=True)
class _Piece:
    """A connected part of a find, by its cells, and how far it has moved in the other frames that tell."""

    cells: Cells
    moved: tuple[float, ...]

    @property
    def area(self) -> int:
        return int(self.cells.sum())

    def moves(self, rules: StandingRules) -> bool:
        return bool(self.moved) and float(np.median(self.moved)) >= rules.moving

    def stands(self, rules: StandingRules) -> bool:
        return not self.moves(rules) and sum(abs(far) <= rules.still for far in self.moved) >= rules.frames


def standing(
    places: Sequence[Cells], keys: Tensor, others: Sequence[Tensor], rules: StandingRules, motion_rules: MotionRules
) -> list[Cells]:
    """Return the cells (h/4, w/4) of each find's pieces that stand still while another piece of it moves.

    Args:
        places: (h/4, w/4), the cells of each find.
        keys: (1, D, h/8, w/8), of the frame.
        others: the same of other frames of its shot.
        rules: what stands, and what moves.
        motion_rules: how motion is told.
    """
    scene = scenery(places)
    motions = [Motion(keys[0], other[0], scene, motion_rules) for other in others]
    return [_standing(cells, motions, rules) for cells in places]


def _standing(find: Cells, motions: Sequence[Motion], rules: StandingRules) -> Cells:
    still = np.zeros_like(find)
    shapes = _large_pieces(find, rules.area)
    if len(shapes) < 2:
        return still
    clear = [motion for motion in motions if motion.blur <= rules.blur]
    pieces = [_Piece(shape, _moved(shape, clear)) for shape in shapes]
    largest = max((piece.area for piece in pieces if piece.moves(rules)), default=0)
    for piece in pieces:
        if piece.stands(rules) and rules.beside * piece.area <= largest:
            still |= piece.cells
    return still


def _large_pieces(find: Cells, area: float) -> list[Cells]:
    labels, count = ndimage.label(find, TOUCHING)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return [labels == number for number in 1 + np.flatnonzero(areas >= area * find.size)]


def _moved(piece: Cells, motions: Sequence[Motion]) -> tuple[float, ...]:
    known = (motion.of(positions(piece)) for motion in motions)
    return tuple(far for far in known if far is not None)
