"""What slid in front of an object and is followed in its place: the keys of a frame and of those before it tell.

A network that has followed an object to the edge of what hides it goes on with that. But such a thing was in the
picture a moment before, beside the object, and looks more like what it was then than like the object. Used by
``matching_tracker.py``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.continuity import Cells
from rvos_cli.motion import positions

Looks: TypeAlias = tuple[
    Tensor, Tensor
]  # keys (K, D) and (M, D) of an object where it was given or found, first and last


@dataclass(frozen=True, kw_only=True)
class OccluderRules:
    """When a mask is of something else than its object. Distances are logits of matching.

    Args:
        places: so many of a mask's places are looked at, evenly thinned out,
        share: and of these, those most like the object: at its rim an object looks like what is around it.
        unlike: they are farther than this from what the object looks like, on average,
        nearer: and by more than this nearer to what nobody was in
        since: so many frames before.
        sure: those that are no farther than this tell how it looks from then on as well: where the picture is blurred,
            shaken or dazzled bit by bit, all in it comes to look like something else.
    """

    places: int = 128
    share: float = 0.5
    unlike: float = 8.0
    nearer: float = 3.0
    since: int = 4
    sure: float = 4.0


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
        return self.at(_thinned(self.where[identity], most))

    @cached_property
    def of_nobody(self) -> Tensor:
        """The keys (Q, D) of the places in which no object was followed."""
        return self.at(np.flatnonzero(~np.logical_or.reduce(list(self.where.values()))))

    def at(self, places: NDArray[np.int64]) -> Tensor:
        """Return the keys (K, D) of *places* (K,)."""
        return self.keys[:, torch.from_numpy(places).to(self.keys.device, non_blocking=True)].T.float()


class Occluders:
    """Remembers how the last frames looked, and says whose masks are of what slid in front of their objects."""

    rules = OccluderRules()

    def __init__(self, temperature: float, looks: Mapping[int, Looks] | None = None) -> None:
        """Know of no frame.

        Args:
            temperature: makes logits of matching of the keys' cosines.
            looks: what objects look like, as far as that is known.
        """
        self._temperature = temperature
        self._looks, self._lately = dict(looks or {}), dict[int, Tensor]()
        self._frames: deque[_Frame] = deque(maxlen=self.rules.since)
        self._asked: tuple[int, ...] = ()
        self._answers: Tensor | None = None

    def anew(self) -> Occluders:
        """Return another one that knows what the objects look like, and of no frame."""
        return Occluders(self._temperature, self._looks)

    def instead(self) -> frozenset[int]:
        """Return the objects in whose place something else was followed in the last frame."""
        answers = [] if self._answers is None else self._answers.tolist()
        return frozenset(one for one, nearer in zip(self._asked, answers, strict=True) if nearer > self.rules.nearer)

    def note(self, ids: Sequence[int], places: Sequence[Cells], keys: Tensor, *, sure: Collection[int]) -> None:
        """Look at a frame that has been dealt with, and remember it.

        Args:
            ids: of the objects, slot by slot.
            places: where they are, (h/4, w/4) each.
            keys: (1, D, h/8, w/8), of the frame, in memory of their own.
            sure: those that were given or found in it: so they look.
        """
        frame = _Frame(
            keys[0].flatten(1), {one: positions(each).ravel() for one, each in zip(ids, places, strict=True)}
        )
        answers = {}
        if len(self._frames) == self.rules.since:
            before = self._frames[0]
            answers = {
                one: self._nearer(frame, one, before)
                for one in ids
                if one in self._looks and frame.shows(one) and before.shows(one)
            }
        self._asked = tuple(answers)
        # Read in the next frame: by then a GPU has answered, which nobody has waited for.
        self._answers = torch.stack(list(answers.values())).to("cpu", non_blocking=keys.is_cuda) if answers else None
        self._frames.append(frame)
        for one, each in zip(ids, places, strict=True):
            if one in sure and each.any():
                self._know(one, frame.at(_thinned(_inner(each), self.rules.places)))

    def _know(self, identity: int, look: Tensor) -> None:
        """Know an object by how it looked at first, and by how it does now."""
        first, _ = self._looks.get(identity, (look, look))
        self._looks[identity] = first, look
        self._lately.pop(identity, None)

    def _nearer(self, frame: _Frame, identity: int, before: _Frame) -> Tensor:
        """Return how much nearer an object's places are to what was around it than to it, (); 0 if they are like it."""
        first, newest = self._looks[identity]
        lately, places = self._lately.get(identity, newest), frame.some_of(identity, self.rules.places)
        own = _likeness(places, torch.cat([first, newest, lately]))
        likest = own.topk(math.ceil(self.rules.share * len(own))).indices
        places, own = places[likest], self._temperature * (1 - own[likest])
        sure = self._some(own) <= self.rules.sure
        self._lately[identity] = torch.where(sure[:, None], self._some(places), self._some(lately))
        far = own.mean()
        if far.is_cpu and far <= self.rules.unlike:  # nearly always; a GPU would have to be waited for
            return torch.zeros(())
        around = self._temperature * (1 - _likeness(places, before.of_nobody).mean())
        return (far > self.rules.unlike) * (far - around)

    def _some(self, rows: Tensor) -> Tensor:
        """Return as many rows in any case: some several times, or the first ones."""
        numbers = torch.arange(math.ceil(self.rules.share * self.rules.places), device=rows.device)
        return rows[numbers % len(rows)]


def _thinned(inside: Cells, most: int) -> NDArray[np.int64]:
    """Return which of the places (P,) are inside, evenly thinned out to so many at *most*."""
    places = np.flatnonzero(inside)
    return places[:: -(-len(places) // most)]


def _inner(cells: Cells) -> Cells:
    """Return the places (P,) of which all is in *cells* (h/4, w/4); where there are none, those of which some is."""
    inner = ~positions(~cells)
    return (inner if inner.any() else positions(cells)).ravel()


def _likeness(places: Tensor, others: Tensor) -> Tensor:
    """Return how like each of places (K, D) the likest of *others* (M, D) is, (K,) of -1..1."""
    if not len(others):
        return places.new_full((len(places),), -1.0)
    return (places @ others.T).amax(dim=1)
