"""What moves against the camera: keys of two frames enter, how far a thing has moved on its own leaves.

A camera that turns or travels moves all that stands still along a smooth field; a thing that does otherwise moves by
itself. Where a place is in another frame is told by the keys that the network compares frames with anyway. Used by
``newcomers.py`` and ``standing.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from rvos_cli.continuity import TOUCHING, Cells

TINY = 1e-6  # short sides, by which a field that stands still may miss the edge
FEWEST = 50  # places of scenery, of which no field can be told
MARGIN = 2  # positions of the keys around things, which may belong to them


@dataclass(frozen=True, kw_only=True)
class MotionRules:
    """How places are found again, and how the scenery's motion is told. Lengths are in short sides of the frame.

    Args:
        places: of so many of a thing, and of the scenery, it is asked where they were, evenly thinned out.
        nearness: what a place a short side away has to be more like it, as a cosine.
        sharpness: of the softmax over a place and its neighbours that tells where in between it was.
        rounds: how often the field is fitted, each time with less weight on what differs from it,
        loose: at first what differs by so much,
        tight: at last by so much.
        seen: the least share of a thing's places that are in the other frame by the camera's motion, 0..1.
    """

    places: int = 256
    nearness: float = 0.1
    sharpness: float = 20.0
    rounds: int = 12
    loose: float = 0.15
    tight: float = 0.02
    seen: float = 0.5


@dataclass(frozen=True)
class Motion:
    """What has moved between two frames; how the camera has moved the scenery is worked out when it is first asked for.

    Args:
        keys: (D, h, w) of a frame, unit length along D.
        other: the same of another frame.
        scenery: (h, w), places of the frame that may stand still.
        rules: how it is told.
    """

    keys: Tensor
    other: Tensor
    scenery: Cells
    rules: MotionRules

    @property
    def blur(self) -> float:
        """How far the scenery itself seems to have moved, where it tells anything, in short sides of the frame."""
        return math.inf if self._camera is None else self._camera[1]

    def of(self, thing: Cells) -> float | None:
        """Return how far a thing that is at these places (h, w) has moved against the scenery.

        Returns:
            The median over the thing's places, in short sides of the frame. What the scenery itself differs from its
            field is taken off. None where the scenery does not tell, or most of the thing is outside the other frame.
        """
        places, size = self._some(thing), np.array(thing.shape) / min(thing.shape)
        if not len(places) or self._camera is None:
            return None
        field, usual = self._camera
        carried, off = self._against(field, places, self._moved(places))
        there = places / min(thing.shape) + carried
        seen = np.all((there > -TINY) & (there < size), axis=1)
        return float(np.median(off[seen]) - usual) if seen.mean() >= self.rules.seen else None

    @cached_property
    def _camera(self) -> tuple[NDArray[np.float64], float] | None:
        """The scenery's field (8,), and how much it differs from it; None where there is too little of it."""
        places = self._some(self.scenery)
        if len(places) < FEWEST:
            return None
        moved = self._moved(places)
        field = _field(*_terms(places, self.scenery.shape), moved, self.rules)
        return field, float(np.median(self._against(field, places, moved)[1]))

    def _some(self, cells: Cells) -> NDArray[np.int64]:
        places = np.argwhere(cells)
        return places[:: -(-len(places) // self.rules.places) or 1]

    def _moved(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return _displacements(self.keys.float(), self.other.float(), places, self.rules)

    def _against(
        self, field: NDArray[np.float64], places: NDArray[np.int64], moved: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return by how much (N, 2) a field has *places* elsewhere, and how far from there (N,) they are found."""
        across, down = _terms(places, self.scenery.shape)
        carried = np.stack([down @ field, across @ field], axis=1)
        return carried, np.linalg.norm(carried - moved, axis=1)


def positions(cells: Cells) -> Cells:
    """Return the positions of keys (h/8, w/8) that cells (h/4, w/4) are in."""
    height, width = cells.shape
    return np.asarray(cells.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3)))


def scenery(things: Sequence[Cells]) -> Cells:
    """Return the positions of keys (h/8, w/8) away from all things (h/4, w/4), of which there is one at least."""
    around: Cells = ndimage.binary_dilation(positions(np.logical_or.reduce(things)), TOUCHING, MARGIN)
    return ~around


def _displacements(keys: Tensor, other: Tensor, places: NDArray[np.int64], rules: MotionRules) -> NDArray[np.float64]:
    """Return by how much (N, 2), rows and columns in short sides, *places* (N, 2) are elsewhere in *other*."""
    _, height, width = keys.shape
    asked = torch.from_numpy(places).to(keys.device)
    with torch.autocast(keys.device.type, enabled=False):  # cosines in 16 bits would move places about
        alike = keys[:, asked[:, 0], asked[:, 1]].T @ other.flatten(1)
    everywhere = torch.cartesian_prod(*(torch.arange(n, device=keys.device) for n in (height, width)))
    far = torch.cdist(asked.float(), everywhere.float()) / min(height, width)
    best = (alike - rules.nearness * far).argmax(dim=1)
    steps = torch.tensor([-1, 0, 1], device=keys.device)
    row, column = best[:, None] // width + steps.repeat_interleave(3), best[:, None] % width + steps.repeat(3)
    both = _inside(row, height) & _inside(column, width)  # at the edge, a neighbour without another opposite pulls
    weights = rules.sharpness * alike.gather(1, row.clamp(0, height - 1) * width + column.clamp(0, width - 1))
    weights = weights.masked_fill(~(both & both.flip(1)), -math.inf).softmax(dim=1)
    found = torch.stack([(weights * row).sum(dim=1), (weights * column).sum(dim=1)], dim=1)
    return ((found - asked) / min(height, width)).double().cpu().numpy()


def _inside(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _terms(places: NDArray[np.int64], size: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a field's eight parameters are multiplied by at *places* (N, 2), (N, 8), for columns and for rows.

    It is the field of a plane that a moving camera sees, to the second order.
    """
    y, x = ((places - np.array(size) / 2) / min(size)).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    across = np.stack([one, x, y, zero, zero, zero, x * x, x * y], axis=1)
    return across, np.stack([zero, zero, zero, one, x, y, x * y, y * y], axis=1)


def _field(
    across: NDArray[np.float64], down: NDArray[np.float64], moved: NDArray[np.float64], rules: MotionRules
) -> NDArray[np.float64]:
    """Fit a field's parameters (8,) to displacements (N, 2); what differs from it counts little (Geman-McClure)."""
    terms, wanted = np.concatenate([across, down]), np.concatenate([moved[:, 1], moved[:, 0]])
    field, spread = np.zeros(8), rules.loose
    field[[3, 0]] = np.median(moved, axis=0)
    # A field that bends without need bends where there is no scenery, that is in the thing.
    straight = np.diag([0, 1, 1, 0, 1, 1, 3, 3]) ** 2 * 1e-4 * len(wanted) + 1e-9 * np.eye(8)
    for _ in range(rules.rounds):
        off = np.hypot(across @ field - moved[:, 1], down @ field - moved[:, 0])
        weights = np.tile(1 / (1 + (off / spread) ** 2) ** 2, 2)[:, None]
        field = np.linalg.solve(terms.T @ (terms * weights) + straight, (terms * weights).T @ wanted)
        spread = max(rules.tight, 0.7 * spread)
    return field
