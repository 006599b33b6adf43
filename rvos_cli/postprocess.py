"""Network output to label maps: logits of every object enter, one uint8 label map of the source's size leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def label_map(logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> NDArray[np.uint8]:
    """Turn logits (N, h, w) into labels (H, W) uint8.

    The logits are enlarged bilinearly (corners not aligned). A pixel belongs to the most probable object, of equals the
    first, if that is more probable than *threshold* (0..1), otherwise to the background; *ids* are the N objects' ids.
    """
    logits, least = logits.float(), math.log(threshold / (1 - threshold))
    labels = torch.zeros(size, dtype=torch.uint8, device=logits.device)
    best = logits.new_full(size, least)
    # An enlarged pixel lies between its neighbours: where none of them is above the threshold, it is not either.
    inside = [(logits.amax(dim=2 - axis) > least).cpu().numpy() for axis in (0, 1)]
    for identity, plane, *over in zip(ids, logits, *inside, strict=True):
        if not over[0].any():
            continue
        rows, columns = (_Enlarged.around(over[axis], size[axis], logits.device) for axis in (0, 1))
        here = rows.wanted, columns.wanted
        full = rows.lerp(columns.lerp(plane[rows.source, columns.source], dim=1), dim=0)
        labels[here].masked_fill_(full > best[here], identity)
        torch.maximum(best[here], full, out=best[here])
    return _array(labels)


def labels_everywhere(logits: Tensor, ids: Tensor, size: tuple[int, int], least: float) -> Tensor:
    """Return the same on the device of logits (N, h, w), without asking where they are.

    A GPU has them all sooner than an answer. *ids* are (N,) uint8 there, and *least* is the threshold as a logit.
    """
    labels, best = ids.new_zeros(size), ids.new_full(size, least, dtype=torch.float32)
    for plane, identity in zip(logits.float(), ids, strict=True):
        full = F.interpolate(plane[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        labels, best = torch.where(full > best, identity, labels), torch.maximum(best, full)
    return labels


@dataclass(frozen=True)
class _Enlarged:
    """A stretch of an axis that is enlarged linearly.

    Args:
        source: the places that it is made of, of all that there are.
        wanted: where it is on the enlarged axis.
        before: for each wanted place the last one before it, counted from the first one of *source*,
        after: the one behind that,
        share: and how much the latter counts, 0..1.
    """

    source: slice
    wanted: slice
    before: Tensor
    after: Tensor
    share: Tensor

    @classmethod
    def around(cls, inside: NDArray[np.bool_], length: int, device: torch.device) -> _Enlarged:
        """Return what touches any place that is *inside* (n,), of which there are some, enlarged to *length*."""
        (places,), n = np.nonzero(inside), len(inside)
        scale, head, tail = length / n, int(places[0]), int(places[-1])
        start = max(0, math.floor((head - 0.5) * scale - 0.5))
        stop = min(length, math.ceil((tail + 1.5) * scale + 0.5))
        exact = np.clip((np.arange(start, stop) + 0.5) / scale - 0.5, 0, n - 1)
        before = np.floor(exact)
        after = np.minimum(before + 1, n - 1)
        origin, end = int(before[0]), int(after[-1]) + 1
        taps = np.stack([before - origin, after - origin, exact - before]).astype(np.float32)  # some GPUs lack float64
        first, second, share = torch.from_numpy(taps).to(device)
        return cls(slice(origin, end), slice(start, stop), first.long(), second.long(), share)

    def lerp(self, x: Tensor, dim: int) -> Tensor:
        """Enlarge axis *dim* of (h, w), *source* of the whole, to what is wanted."""
        share = self.share if dim else self.share[:, None]
        return torch.lerp(x.index_select(dim, self.before), x.index_select(dim, self.after), share)


def _array(labels: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = labels.cpu().numpy()
    return array
