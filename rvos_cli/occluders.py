"""What slid in front of an object and is followed in its place: the keys of a frame and of those before it tell.

A network that has followed an object to the edge of what hides it goes on with that. But such a thing was in the
picture a moment before, beside the object, and looks more like what it was then than like the object. Used by
``matching_tracker.py``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.continuity import Cells
from rvos_cli.model import References
from rvos_cli.motion import positions
from rvos_cli.presence import Appearance


@dataclass(frozen=True, kw_only=True)
class OccluderRules:
    """When a mask is of something else than its object. Distances are logits of matching.

    Args:
        places: so many of a mask's places are looked at, evenly thinned out,
        share: and of these, those most like the object: at its rim an object looks like what is around it.
        unlike: they are farther than this from what the object looks like where it was given or found, on average,
        nearer: and by more than this nearer to what nobody was in
        since: so many frames before.
    """

    places: int = 128
    share: float = 0.5
    unlike: float = 8.0
    nearer: float = 3.0
    since: int = 4


@dataclass(frozen=True)
class _Frame:
    """Keys (D, P) of a frame, and where each object was followed in it, (P,)."""

    keys: Tensor
    where: dict[int, Cells]

    def shows(self, identity: int) -> bool:
        """Say whether an object was followed in it."""
        return identity in self.where and bool(self.where[identity].any())

    def some_of(self, identity: int, most: int) -> Tensor:
        """Return the keys (K, D) of an object's places, evenly thinned out to so many at *most*."""
        places = np.flatnonzero(self.where[identity])
        return self._at(places[:: -(-len(places) // most)])

    def of_nobody(self) -> Tensor:
        """Return the keys (Q, D) of the places in which no object was followed."""
        return self._at(np.flatnonzero(~np.logical_or.reduce(list(self.where.values()))))

    def _at(self, places: NDArray[np.int64]) -> Tensor:
        return self.keys[:, torch.from_numpy(places).to(self.keys.device)].T.float()


class Occluders:
    """Remembers how the last frames looked, and says whose masks are of what slid in front of their objects."""

    rules = OccluderRules()

    def __init__(self, temperature: float) -> None:
        """Know of no frame; *temperature* makes logits of matching of the keys' cosines."""
        self._temperature = temperature
        self._frames: deque[_Frame] = deque(maxlen=self.rules.since)
        self._looks: dict[int, Appearance] = {}
        self._asked: tuple[int, ...] = ()
        self._answers: Tensor | None = None

    def anew(self) -> Occluders:
        """Return another one that knows of no frame."""
        return Occluders(self._temperature)

    def instead(self) -> frozenset[int]:
        """Return the objects in whose place something else was followed in the last frame."""
        answers = [] if self._answers is None else self._answers.tolist()
        return frozenset(one for one, nearer in zip(self._asked, answers, strict=True) if nearer > self.rules.nearer)

    def note(
        self, ids: Sequence[int], places: Sequence[Cells], keys: Tensor, references: References, *, changed: bool
    ) -> None:
        """Look at a frame that has been dealt with, and remember it.

        Args:
            ids: of the objects, slot by slot.
            places: where they are, (h/4, w/4) each.
            keys: (1, D, h/8, w/8), of the frame, in memory of their own.
            references: what they look like, in the frames that are trusted.
            changed: whether that is to be asked again, since something was given or found.
        """
        self._looks = {} if changed else self._looks
        frame = _Frame(
            keys[0].flatten(1), {one: positions(each).ravel() for one, each in zip(ids, places, strict=True)}
        )
        answers = {}
        if len(self._frames) == self.rules.since:
            before = self._frames[0]
            both = [(slot, one) for slot, one in enumerate(ids) if frame.shows(one) and before.shows(one)]
            looks = {one: self._look(one, slot, references) for slot, one in both}
            answers = {
                one: self._nearer(frame.some_of(one, self.rules.places), look, before)
                for one, look in looks.items()
                if len(look.keys)
            }
        self._asked = tuple(answers)
        # Read in the next frame: by then a GPU has answered, which nobody has waited for.
        self._answers = torch.stack(list(answers.values())).to("cpu", non_blocking=keys.is_cuda) if answers else None
        self._frames.append(frame)

    def _nearer(self, places: Tensor, look: Appearance, before: _Frame) -> Tensor:
        """Return how much nearer places with keys (K, D) are to what was around an object; 0 if they are like it."""
        own = _likeness(places, look.keys)
        likest = own.topk(math.ceil(self.rules.share * len(own))).indices
        unlike = self._temperature * (1 - own[likest].mean()) > self.rules.unlike
        if unlike.is_cpu and not unlike:  # nearly always; a GPU would have to be waited for
            return torch.zeros(())
        around = _likeness(places[likest], before.of_nobody())
        return unlike * self._temperature * (around - own[likest]).mean()

    def _look(self, identity: int, slot: int, references: References) -> Appearance:
        if identity not in self._looks:
            self._looks[identity] = Appearance.of(references.frames(0, references.trusted), slot)
        return self._looks[identity]


def _likeness(places: Tensor, others: Tensor) -> Tensor:
    """Return how like each of places (K, D) the likest of *others* (M, D) is, (K,) of -1..1."""
    if not len(others):
        return places.new_full((len(places),), -1.0)
    return (places @ others.T).amax(dim=1)
