"""Whether an object is in the picture at all: asked of those who are out of sight, and of all behind a cut.

A network that was taught to follow finds something in any picture, the likest there is. How like it is, keys tell.
Used by ``matching_tracker.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rvos_cli.cells import NOWHERE
from rvos_cli.model import References

MOST_PLACES = 128  # of an object, each of which takes two cores some 7 us a frame


@dataclass(frozen=True, kw_only=True)
class PresenceRules:
    """How like an object something has to be.

    Args:
        alike: any of these pairs is enough: as many of the likest places of a frame as the first says, a share of the
            object's, are less like those of the object than these are like themselves by no more than the second, a
            logit of matching, on average. What is seen in part, or smaller, has fewer places, which have to be more
            alike.
    """

    alike: tuple[tuple[float, float], ...] = ((0.3, 7.0), (0.05, 5.75))


@dataclass(frozen=True)
class Appearance:
    """What an object looked like.

    Args:
        keys: (P, D) of its places in some frames, evenly thinned out to 128 at most, unit length along D.
        size: of how many places it is in one of them, on average.
    """

    keys: Tensor
    size: float

    @classmethod
    def of(cls, references: References, slot: int) -> Appearance:
        """Remember the object in plane *slot* of the references' masks."""
        # What was given of it may have been right until it was lost, and says what it looks like as well as ever.
        shares, planes = [float(share > 0) for share in references.shares_of(slot)], references.masks[0, slot]
        masks = (planes * planes.new_tensor(shares)[:, None, None]).flatten()
        inside = masks > 0.5 * masks.amax().clamp(min=1e-3)  # of the smallest ones no place is full
        keys = references.keys[0].flatten(1).T[inside].float()
        frames = sum(shares)  # others may show it elsewhere than they say
        return cls(keys[:: -(-len(keys) // MOST_PLACES) or 1].clone(), len(keys) / max(1, frames))

    def likeness(self, keys: Tensor, shares: Sequence[float]) -> list[float]:
        """Return how like it the likest places of a frame with keys (1, D, h/8, w/8) are, -1..1.

        Args:
            keys: the frame's, unit length along D.
            shares: as many of them as these shares of the object's places, 0..1; there is an answer to each.
        """
        if not len(self.keys):
            return [-1.0] * len(shares)
        best = (self.keys @ keys[0].flatten(1).float()).amax(dim=0)
        counts = [min(len(best), max(1, round(share * self.size))) for share in shares]
        likest = best.topk(max(counts)).values
        means: list[float] = torch.stack([likest[:count].mean() for count in counts]).tolist()
        return means


class Absence:
    """The objects that are missing, out of sight or behind a cut, each until a frame shows something like it."""

    rules = PresenceRules()

    def __init__(self, temperature: float, missing: Mapping[int, Appearance] | None = None) -> None:
        """Miss these ids, or nobody; *temperature* makes logits of matching of the keys' cosines."""
        self._temperature, self._missing = temperature, dict(missing or {})

    def behind_cut(
        self, ids: Sequence[int], references: References | None, sizes: Mapping[int, float] | None = None
    ) -> Absence:
        """Return who is missing behind a cut: *ids*, see ``begin``, and who was before."""
        other = Absence(self._temperature, self._missing)
        other.begin(ids, ids, references, sizes)
        return other

    def begin(
        self,
        lost: Iterable[int],
        ids: Sequence[int],
        references: References | None,
        sizes: Mapping[int, float] | None = None,
    ) -> None:
        """Miss some objects, unless they are missed already.

        Args:
            lost: the objects, among
            ids: those in the references' planes.
            references: what they looked like.
            sizes: of how many places each would be now, where references show it otherwise; of others they tell.
        """
        for identity in lost:
            if references is not None and identity not in self._missing:
                was = Appearance.of(references, ids.index(identity))
                self._missing[identity] = replace(was, size=(sizes or {}).get(identity, was.size))

    def among(self, ids: Iterable[int]) -> Absence:
        """Return who is missing of *ids*."""
        return Absence(self._temperature, {one: self._missing[one] for one in ids if one in self._missing})

    def enlarged(self, growth: float) -> Absence:
        """Return the same where everything is seen so many times as large, in area, as in the frames before."""
        missing = {one: replace(was, size=was.size * growth) for one, was in self._missing.items()}
        return Absence(self._temperature, missing)

    @property
    def ids(self) -> frozenset[int]:
        """Who is missing."""
        return frozenset(self._missing)

    def end(self, ids: Iterable[int]) -> None:
        """Miss some objects no more."""
        for identity in ids:
            self._missing.pop(identity, None)

    def without_missing(self, ids: Sequence[int], logits: Tensor, keys: Tensor | None) -> Tensor:
        """Return logits (S, h, w) with nothing of the missing; those that the frame is like are missed no more.

        Args:
            ids: of the objects in the first of the S slots.
            logits: what the network sees in a frame.
            keys: the frame's, (1, D, h/8, w/8), unit length along D.
        """
        if keys is None or not self._missing:
            return logits
        self.end([one for one, was in self._missing.items() if self._alike(was, keys)])
        missing = [slot for slot, identity in enumerate(ids) if identity in self._missing]
        if not missing:
            return logits
        logits = logits.clone()
        logits[missing] = logits[missing].clamp(max=NOWHERE)
        return logits

    def _alike(self, was: Appearance, keys: Tensor) -> bool:
        """Say whether a frame with these keys shows something like what an object was."""
        shares, distances = zip(*self.rules.alike, strict=True)
        pairs = zip(was.likeness(keys, shares), distances, strict=True)
        return any((1 - likeness) * self._temperature < distance for likeness, distance in pairs)
