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
        still: a piece stands if it has moved no farther than this against the camera,
        frames: between the frame and so many others at least, since far ones tell little.
        moving: it moves if it has come as far as this since the middle one of the others, by how far it has come.
        area: least share of the frame that a piece has, 0..1, to be asked.
        beside: least area of the largest piece that moves, in areas of one that stands: a leaf makes no scenery of a
            house.
    """

    still: float = 0.008
    frames: int = 2
    moving: float = 0.025
    area: float = 0.0005
    beside: float = 0.25


@dataclass(frozen=True)
class _Piece:
    """A connected part of a find, by its cells, and how far it has moved between the frame and each other one."""

    cells: Cells
    moved: tuple[float, ...]

    @property
    def area(self) -> int:
        return int(self.cells.sum())

    def stands(self, rules: StandingRules) -> bool:
        return sum(abs(far) <= rules.still for far in self.moved) >= rules.frames

    def moves(self, rules: StandingRules) -> bool:
        return not self.stands(rules) and float(np.median(self.moved)) >= rules.moving


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
    return [_standing(cells, _pieces(cells, motions, rules.area), rules) for cells in places]


def _pieces(cells: Cells, motions: Sequence[Motion], area: float) -> list[_Piece]:
    """Return the pieces of a find that are large enough."""
    labels, count = ndimage.label(cells, TOUCHING)
    each = [labels == number for number in range(1, count + 1)]
    large = [piece for piece in each if piece.sum() >= area * piece.size]
    return [_Piece(piece, tuple(motion.of(positions(piece)) for motion in motions)) for piece in large]


def _standing(find: Cells, pieces: Sequence[_Piece], rules: StandingRules) -> Cells:
    """Return the cells of a find's pieces that stand still, if one that moves is large enough beside them."""
    still = np.zeros_like(find)
    largest = max((piece.area for piece in pieces if piece.moves(rules)), default=0)
    for piece in pieces:
        if piece.stands(rules) and 0 < rules.beside * piece.area <= largest:
            still |= piece.cells
    return still
