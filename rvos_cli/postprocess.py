"""Network output to label maps: logits of every object enter, one uint8 label map of the source's size leaves."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def label_map(logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> NDArray[np.uint8]:
    """Turn logits (N, h, w) into labels (H, W) uint8.

    The logits are enlarged bilinearly (corners not aligned). A pixel belongs to the most probable object, of equals the
    first, if that is more probable than *threshold* (0..1), otherwise to the background; *ids* are the N objects' ids.
    """
    logits, least = logits.float(), math.log(threshold / (1 - threshold))
    labels = torch.zeros(size, dtype=torch.uint8, device=logits.device)
    best = torch.full(size, least, device=logits.device)
    for identity, plane in zip(ids, logits, strict=True):
        # An enlarged pixel lies between its neighbours: where none of them is above the threshold, it is not either.
        inside = plane > least
        rows, columns = (_window(inside.any(dim=1 - axis), size[axis]) for axis in (0, 1))
        if rows is None or columns is None:
            continue
        wide = _lerp(plane.t()[None], size[1], columns).transpose(1, 2).contiguous()
        full = _lerp(wide, size[0], rows)[0]
        here = (slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        labels[here].masked_fill_(full > best[here], identity)
        torch.maximum(best[here], full, out=best[here])
    return _array(labels)


def _window(inside: Tensor, length: int) -> range | None:
    """Return the pixels, of *length* in all, that touch any place that is *inside* (n,); None where there is none."""
    places = inside.nonzero()
    if not len(places):
        return None
    scale = length / len(inside)
    first, last = int(places[0]), int(places[-1])
    return range(max(0, math.floor((first - 0.5) * scale - 0.5)), min(length, math.ceil((last + 1.5) * scale + 0.5)))


def _lerp(x: Tensor, length: int, wanted: range) -> Tensor:
    """Resize the second axis of (N, n, m) linearly to *length* and return the rows *wanted* of it."""
    n = x.shape[1]
    positions = torch.arange(wanted.start, wanted.stop, dtype=torch.float64)
    source = ((positions + 0.5) * (n / length) - 0.5).clamp(0, n - 1)
    before = source.floor().long()
    share = (source - before).float()[:, None].to(x.device)
    after = (before + 1).clamp(max=n - 1).to(x.device)
    return torch.lerp(x.index_select(1, before.to(x.device)), x.index_select(1, after), share)


def _array(labels: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = labels.cpu().numpy()
    return array
