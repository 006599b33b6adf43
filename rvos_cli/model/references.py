"""The reference frames: keys and masks of frames enter, what matching reads them from leaves.

``sight.py`` makes them, ``memory.py`` keeps them, training does both; ``matching.py`` reads them. A frame may know
nothing of objects that came after it; then nothing is read of them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

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
        trusted: so many frames, from the first on, have masks that were given, or that everything began with.
        favour: so much, as a logit, these count more than the others, whose errors look, of all things, most like the
            errors that they bring forth.
        known: how many objects, the first ones of all, each frame knows of; empty where that is all. The others may be
            in it, where its masks say that nothing is; so nothing is read of them there.
    """

    keys: Tensor
    masks: Tensor
    sharpness: float = 1.0
    trusted: int = 1
    favour: float = 0.0
    known: tuple[int, ...] = ()

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
        return replace(first, keys=keys, masks=masks, known=self.counts + other.counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many objects each frame knows of."""
        return self.known or (self.masks.shape[1],) * len(self)

    @property
    def late(self) -> list[tuple[slice, list[int]]]:
        """Which objects some frames know not of: those that the same frames know of, and which frames these are."""
        steps = sorted(set(self.counts))
        return [
            (slice(low, high), [place for place, count in enumerate(self.counts) if count >= high])
            for low, high in pairwise(steps)
        ]

    def widen(self, objects: int) -> References:
        """Return the same frames with empty masks up to *objects* objects."""
        missing = objects - self.masks.shape[1]
        if missing <= 0:
            return self
        empty = self.masks.new_zeros(self.masks.shape[0], missing, *self.masks.shape[2:])
        return replace(self, masks=torch.cat([self.masks, empty], dim=1), known=self.counts)

    def select(self, objects: Sequence[int]) -> References:
        """Return the same frames with some of the objects, in their order."""
        widened = self.widen(1 + max(objects, default=-1))
        known = tuple(sum(place < count for place in objects) for count in self.counts)
        return replace(self, masks=widened.masks[:, list(objects)], known=known)

    def frames(self, first: int, last: int | None = None) -> References:
        """Return the frames from *first* up to, not including, *last*."""
        return replace(
            self,
            keys=self.keys[:, :, first:last],
            masks=self.masks[:, :, first:last],
            known=self.counts[first:last],
        )


def values_with_known(references: References) -> Tensor:
    """Return the masks, and for each late object a plane behind them that says where it is known: (B, N + L, R*h*w)."""
    masks = references.masks
    if not references.late:
        return masks.flatten(2)
    planes = [torch.zeros_like(masks[:, objects]) for objects, _ in references.late]
    for plane, (_, frames) in zip(planes, references.late, strict=True):
        plane[:, :, frames] = 1.0
    return torch.cat([masks, *planes], dim=1).flatten(2)


def of_known(read: Tensor, references: References) -> Tensor:
    """Return (B, N, P) of what was read of ``values_with_known``: of late objects, as if other frames were not there.

    A softmax over some of the places is one over all of them, divided by what these have of it; in 32 bits, since that
    may be little.
    """
    count = references.masks.shape[1]
    masks, known = read[:, :count], read[:, count:]
    for objects, _ in references.late:
        width = objects.stop - objects.start
        masks[:, objects] /= known[:, :width].clamp(min=torch.finfo(read.dtype).tiny)
        known = known[:, width:]
    return masks


def partition(masks: Tensor) -> Tensor:
    """Scale masks (B, N, ...), 0..1, where they overlap, so that no position belongs to more than one object in sum."""
    return masks / masks.sum(dim=1, keepdim=True).clamp(min=1)
