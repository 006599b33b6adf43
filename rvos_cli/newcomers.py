"""What comes into the picture while others are followed: what a look that knows nobody finds, if it moves.

Slots that search behind those of known objects hardly answer where one of these is scenery; a look at the frame as if
it were the first finds what stands out, new or old. It takes scenery for things as well, but scenery does not move
against the camera. Stands between the network and ``matching_tracker.py``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from rvos_cli.cells import NOWHERE, cells_above
from rvos_cli.discovery import DiscoveryRules, things
from rvos_cli.motion import Motion, MotionRules, positions, scenery


@dataclass(frozen=True, kw_only=True)
class NewcomerRules:
    """When it is looked for newcomers, and what counts as one.

    Args:
        every: one in so many frames is looked at,
        slots: by so many slots.
        motion: the least that it has moved against the camera, in short sides of the frame,
        since: in so many frames.
        overlap: most share of it that known objects may have already, 0..1.
    """

    every: int = 4
    slots: int = 3
    motion: float = 0.025
    since: int = 4
    overlap: float = 0.3


class Newcomers:
    """Remembers how the last frames looked, and says what in a frame has come in since."""

    rules = NewcomerRules()
    motion_rules = MotionRules()

    def __init__(self) -> None:
        """Know of no frame."""
        self._earlier: deque[Tensor] = deque(maxlen=self.rules.since)

    def due(self, index: int) -> bool:
        """Say whether frame number *index* is to be looked at."""
        return index % self.rules.every == 0

    @property
    def ready(self) -> bool:
        """Whether there is an earlier frame to tell motion by."""
        return len(self._earlier) == self.rules.since

    def note(self, keys: Tensor) -> None:
        """Remember the keys (1, D, h/8, w/8) of a frame that has been dealt with, in memory of their own."""
        self._earlier.append(keys[0])

    def among(
        self,
        logits: Tensor,
        keys: Tensor,
        followed: Tensor,
        rules: DiscoveryRules,
        least: float,
        *,
        most: int,
    ) -> tuple[list[int], list[Tensor]]:
        """Say which of what a look found are newcomers.

        Args:
            logits: (S, h, w), what each slot of the look found.
            keys: (1, D, h/8, w/8), of the frame.
            followed: (N, h, w) logits of known objects.
            rules: what is asked of a thing, as in a first frame.
            least: logit above which a pixel is a thing's.
            most: how many newcomers there may be.

        Returns:
            The slot that each came from, and its logits (h, w).
        """
        threshold = float(torch.tensor(least).sigmoid())
        places = cells_above(torch.cat([followed, logits]), least)
        motion = Motion(keys[0], self._earlier[0], scenery(places), self.motion_rules)
        taken = (followed > least).any(dim=0)
        sources: list[int] = []
        planes: list[Tensor] = []
        for slot, cells in enumerate(places[len(followed) :]):
            finds = things(logits[slot], cells, rules, rules.confidence, threshold) if cells.any() else ()
            for plane, inside in finds:
                if len(sources) == most:
                    return sources, planes
                known = int((inside & taken).sum()) > self.rules.overlap * int(inside.sum())
                place = positions(cells_above(plane[None], least)[0])
                if not known and (motion.of(place) or 0.0) >= self.rules.motion:
                    sources.append(slot)
                    planes.append(plane.masked_fill(taken, NOWHERE))  # which does not know whose that is
                    taken = taken | inside
        return sources, planes
