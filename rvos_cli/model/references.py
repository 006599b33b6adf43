"""The reference frames: keys and masks of frames enter, what matching reads them from leaves.

``sight.py`` makes them, ``memory.py`` keeps them, training does both; ``matching.py`` reads them. A frame may know
nothing of objects that came after it, and little of those that were corrected since; so much is read of them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class References:
    """Frames that are remembered, at stride 8.

    Args:
        keys: (B, D, R, h/8, w/8), unit length along D.
        masks: (B, N, R, h/8, w/8), 0..1; what is left to 1 is background.
        sharpness: factor on the learned temperature. Clips of training have a few frames; the longer a video is
            remembered, the more there is that looks a little alike, and only what looks most alike should speak.
        trusted: so many frames, from the first on, have masks that were given or objects that were found,
            or that everything began with.
        favour: so much, as a logit, these count more than the others, whose errors look, of all things, most like the
            errors that they bring forth.
        known: how much each frame counts for each object, 0..1, object by object; empty where that is 1 throughout.
            Objects beyond a frame's last entry came after it: they may be in it where its masks say that nothing is, so
            nothing is read of them there (0). An object's places count less in a frame in which it was taken for
            something else.
    """

    keys: Tensor
    masks: Tensor
    sharpness: float = 1.0
    trusted: int = 1
    favour: float = 0.0
    known: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, keys: Tensor, masks: Tensor) -> References:
        """Remember one frame: keys (B, D, h/8, w/8) and masks (B, N, h, w) of any size, 0..1."""
        small = F.interpolate(masks, size=keys.shape[-2:], mode="area")
        return cls(keys.unsqueeze(2), partition(small).unsqueeze(2))

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.keys.shape[2]

    def __add__(self, other: References) -> References:
        """Join two sets, to be read like the first; the one with fewer objects gets empty masks for the rest."""
        objects = max(self.masks.shape[1], other.masks.shape[1])
        first, second = self.widen(objects), other.widen(objects)
        keys, masks = torch.cat([first.keys, second.keys], 2), torch.cat([first.masks, second.masks], 2)
        return replace(first, keys=keys, masks=masks, known=first.shares + second.shares)

    @property
    def shares(self) -> tuple[tuple[float, ...], ...]:
        """How much each frame counts for each of the objects that it knows of, 0..1."""
        return self.known or ((1.0,) * self.masks.shape[1],) * len(self)

    def shares_of(self, place: int) -> tuple[float, ...]:
        """How much each frame counts for one object, 0..1."""
        return tuple(row[place] if place < len(row) else 0.0 for row in self.shares)

    @cached_property
    def unequal(self) -> list[tuple[tuple[float, ...], list[int]]]:
        """How much each frame counts, 0..1, for objects for which not all count alike, and which objects these are."""
        columns: dict[tuple[float, ...], list[int]] = {}
        for place in range(self.masks.shape[1]):
            columns.setdefault(self.shares_of(place), []).append(place)
        return [(column, places) for column, places in columns.items() if len(set(column)) > 1]

    def widen(self, objects: int) -> References:
        """Return the same frames with empty masks up to *objects* objects."""
        missing = objects - self.masks.shape[1]
        if missing <= 0:
            return self
        empty = self.masks.new_zeros(self.masks.shape[0], missing, *self.masks.shape[2:])
        return replace(self, masks=torch.cat([self.masks, empty], dim=1), known=self.shares)

    def select(self, objects: Sequence[int]) -> References:
        """Return the same frames with some of the objects, in their order."""
        widened = self.widen(1 + max(objects, default=-1))
        known = tuple(tuple(row[place] for place in objects if place < len(row)) for row in self.shares)
        return replace(self, masks=widened.masks[:, list(objects)], known=known)

    def frames(self, first: int, last: int | None = None) -> References:
        """Return the frames from *first* up to, not including, *last*."""
        return replace(
            self,
            keys=self.keys[:, :, first:last],
            masks=self.masks[:, :, first:last],
            known=self.shares[first:last],
        )


def values_with_shares(references: References) -> Tensor:
    """Return masks as much as they count, and a plane behind them that says how much that is: (B, N + K, R*h*w).

    There is a plane for each of the K kinds of unequal objects.
    """
    masks, unequal = references.masks, references.unequal
    if not unequal:
        return masks.flatten(2)
    planes = torch.cat([torch.ones_like(masks), torch.ones_like(masks[:, : len(unequal)])], dim=1)
    for plane, (shares, objects) in enumerate(unequal, start=masks.shape[1]):
        for place in (*objects, plane):
            for frame, share in enumerate(shares):
                planes[:, place, frame] = share
    planes[:, : masks.shape[1]] *= masks
    return planes.flatten(2)


def of_shares(read: Tensor, references: References) -> Tensor:
    """Return (B, N, P) of what was read of ``values_with_shares``: of unequal objects as if the rest were not there.

    A softmax over places that count less than others is one over all of them, divided by what it has of that which
    counts; in 32 bits, since that may be little.
    """
    count = references.masks.shape[1]
    for plane, (_, objects) in enumerate(references.unequal, start=count):
        counting = read[:, plane].clamp(min=torch.finfo(read.dtype).tiny)
        for place in objects:
            read[:, place] /= counting
    return read[:, :count]


def partition(masks: Tensor) -> Tensor:
    """Scale masks (B, N, ...), 0..1, where they overlap, so that no position belongs to more than one object in sum."""
    return masks / masks.sum(dim=1, keepdim=True).clamp(min=1)
