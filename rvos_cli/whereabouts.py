"""Where the objects of a video are: their logits enter, the same leave without what cannot be a part of them.

Used by ``matching_tracker.py``; what is near and what hangs together is found in ``continuity.py``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rvos_cli.cells import CELL, NOWHERE, box_around, cells_above, emptied, pixels_of, winning
from rvos_cli.continuity import Cells, far_pieces, strays
from rvos_cli.reframing import Reframing
from rvos_cli.sight import Seen


@dataclass(frozen=True, kw_only=True)
class ContinuityRules:
    """How far an object may move, and what it may lose to another. Lengths are in short sides of what is looked at.

    Args:
        reach: the most from one frame to the next.
        growth: so much more for each frame out of sight.
        share: a piece smaller than this share of its object's largest goes to another object that it touches,
        gap: if it is farther than this from the rest of its own.
    """

    reach: float = 0.15
    growth: float = 0.05
    share: float = 0.15
    gap: float = 0.05


class Whereabouts:
    """Where each object was when it was last seen, and for how long it has not been."""

    rules = ContinuityRules()

    def __init__(self, threshold: float) -> None:
        """Know of no object; a pixel is an object's from the probability *threshold* on, 0..1."""
        self.least = math.log(threshold / (1 - threshold))  # as a logit
        self._where: dict[int, Cells] = {}
        self._unseen: dict[int, int] = {}

    def copy(self) -> Whereabouts:
        """Return another one that knows the same."""
        other = copy.copy(self)
        other._where, other._unseen = dict(self._where), dict(self._unseen)
        return other

    def reframe(self, reframing: Reframing) -> None:
        """Know where the objects were as another part of the frame shows it; not of those who are outside of it."""
        moved = {identity: reframing.cells(cells) for identity, cells in self._where.items()}
        self._where = {identity: cells for identity, cells in moved.items() if cells.any()}

    def forget(self, identity: int) -> None:
        """Know no more where an object was."""
        self._where.pop(identity, None)

    def unseen(self, identity: int) -> int:
        """Return for how many frames an object has been out of sight."""
        return self._unseen.get(identity, 0)

    def lost(self, ids: Sequence[int]) -> list[int]:
        """Return those of these objects that were not seen in the last frame."""
        return [identity for identity in ids if self.unseen(identity) > 0]

    def in_sight(self, ids: Sequence[int]) -> bool:
        """Say whether any of these objects was seen in the last frame."""
        return any(identity in self._where and self.unseen(identity) == 0 for identity in ids)

    def keep_in_place(self, ids: Sequence[int], seen: Seen) -> Tensor:
        """Return the logits (N, h, w) of objects that were followed, every pixel with the one it belongs to.

        What was seen where it belongs comes back as it is.
        """
        drops = [self._far(identity, inside) for identity, inside in zip(ids, seen.cells, strict=True)]
        logits, left = emptied(seen.logits, drops), seen.cells
        complete = logits is seen.logits
        if not complete:
            left = [inside & ~drop for inside, drop in zip(left, drops, strict=True)]
        box = box_around(left)
        if len(logits) < 2 or box is None:
            return logits
        here = logits[:, box[0], box[1]]
        return self._give_back(logits, box, seen.winners(*box) if complete else cells_above(winning(here), self.least))

    def _far(self, identity: int, inside: Cells) -> Cells:
        """Return what of an object's cells (h/4, w/4) is too far from where it was."""
        if identity not in self._where:
            return np.zeros_like(inside)
        reach = self.rules.reach + self.rules.growth * self.unseen(identity)
        return far_pieces(inside, self._where[identity], reach * min(inside.shape))

    def may_be_one_of(self, inside: Cells, others: Sequence[Cells]) -> bool:
        """Say whether a thing (h/4, w/4) may be one of *others*, which were seen in the frame before."""
        reach = self.rules.reach * min(inside.shape)
        return any(other.any() and not np.array_equal(far_pieces(inside, other, reach), inside) for other in others)

    def note(self, ids: Sequence[int], places: Sequence[Cells]) -> None:
        """Take note of where the objects are in this frame, (h/4, w/4) each."""
        for identity, cells in zip(ids, places, strict=True):
            if cells.any():
                self._where[identity], self._unseen[identity] = cells, 0
            else:
                self._unseen[identity] = self.unseen(identity) + 1

    def _give_back(self, logits: Tensor, box: tuple[slice, slice], winners: Sequence[Cells]) -> Tensor:
        """Give small pieces that have come off their object (N, h, w) to the one that they hang on.

        No object is anywhere but in the *box*; *winners* are the cells in there in which each of them wins.
        """
        short = min(logits.shape[1:]) // CELL
        for stray in strays(winners, share=self.rules.share, gap=self.rules.gap * short):
            place = pixels_of(stray.piece, logits.device)
            here = logits[:, box[0], box[1]]
            loser, winner = here[stray.owner], here[stray.neighbour]
            logits = logits.clone()
            here = logits[:, box[0], box[1]]
            here[stray.neighbour] = torch.where(place, torch.maximum(loser, winner), winner)
            here[stray.owner] = torch.where(place, loser.clamp(max=NOWHERE), loser)
        return logits
