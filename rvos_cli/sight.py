"""What a frame's logits say: masks, cells, references and labels of the objects that are followed.

Stands behind the network, for the trackers and ``session.py``, which ask for some of it in every frame. On a
processor each answer is worked out when it is asked for; on a GPU all of them at once, so that it is waited for once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.cells import CELL, box_around, cells_above, winning
from rvos_cli.continuity import Cells
from rvos_cli.graphs import Replayed
from rvos_cli.model import References
from rvos_cli.model.references import partition
from rvos_cli.postprocess import label_map, labels_everywhere

Labels = NDArray[np.uint8]


class Seen:
    """What logits (N, h, w) of objects, and of slots behind them that look for more, say.

    Attributes:
        logits: (N, h, w), of the objects alone.
        searched: (S, h, w), of the slots behind them.
    """

    def __init__(self, logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> None:
        """Take logits (N + S, h, w); a pixel is an object's above the probability *threshold*, 0..1.

        Args:
            logits: the objects' planes come first.
            ids: of the N objects.
            size: (H, W) of the frame as it came.
            threshold: 0..1.
        """
        self.logits, self.searched = logits[: len(ids)], logits[len(ids) :]
        self._ids, self._size, self._threshold = ids, size, threshold
        self._least = math.log(threshold / (1 - threshold))

    @cached_property
    def cells(self) -> Sequence[Cells]:
        """Each object's cells, (h/4, w/4)."""
        return cells_above(self.logits, self._least)

    @cached_property
    def searched_cells(self) -> Sequence[Cells]:
        """The same of the slots behind them."""
        return cells_above(self.searched, self._least)

    def winners(self, rows: slice, columns: slice) -> Sequence[Cells]:
        """Return each object's cells in a box of pixels, whole cells, in which it wins over the others."""
        return cells_above(winning(self.logits[:, rows, columns]), self._least)

    @cached_property
    def masks(self) -> Tensor:
        """Probabilities (N, h, w) of the objects, 0..1."""
        return self.logits.sigmoid()

    def references(self, keys: Tensor) -> References:
        """Return the frame with keys (1, D, h/8, w/8) as a reference."""
        return References.of(keys, self.masks[None])

    @cached_property
    def confidence(self) -> Sequence[float]:
        """How probable each object is where it is seen, on average, 0..1; 0 for those that are not."""
        box = box_around(self.cells)
        if box is None:
            return [0.0] * len(self._ids)
        logits, masks = (planes[:, box[0], box[1]] for planes in (self.logits, self.masks))
        scores: list[float] = _confidence(logits, masks, self._least).tolist()
        return scores

    def labels(self) -> Labels:
        """Return the label map (H, W) uint8, 0 = background, k = object k."""
        return label_map(self.logits, self._ids, self._size, self._threshold)

    def corrected(self, masks: Tensor) -> Seen:
        """Return the same with other masks (N, h, w), 0..1; logits and labels stay the network's."""
        return _Corrected(self.logits, self._ids, self._size, self._threshold, masks)


class _Corrected(Seen):
    """A ``Seen`` some of whose masks were given."""

    def __init__(
        self, logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float, masks: Tensor
    ) -> None:
        super().__init__(logits, ids, size, threshold)
        self.masks = masks

    @cached_property
    def cells(self) -> Sequence[Cells]:
        return cells_above(self.masks, self._threshold)


class Looking(Protocol):
    """Whatever makes a ``Seen`` of its arguments."""

    def __call__(self, logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> Seen:
        """See ``Seen``."""


class LookOnGPU:
    """Makes a ``Seen`` of one video's frames on a GPU, one after the other; each is good until the next."""

    def __init__(self, device: torch.device, meanwhile: Callable[[], None], *, graphs: bool) -> None:
        """Look on *device*, with CUDA graphs or without; *meanwhile* is called before it is waited for."""
        self._device, self._meanwhile = device, meanwhile
        self._graphs = Replayed(_all_at_once, device) if graphs else None
        self._host: Tensor | None = None  # memory that a GPU copies to without its driver's help

    def __call__(self, logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> Seen:
        """See ``Seen``."""
        if not ids:
            return Seen(logits, ids, size, threshold)
        least = math.log(threshold / (1 - threshold))
        answer = self._graphs or _all_at_once
        masks, small, packed = answer([logits, _named(ids, self._device)], size=size, least=least)
        return _SeenAtOnce(logits, ids, size, threshold, masks, small, self._fetched(packed))

    def close(self) -> None:
        """Give back what a GPU holds for it."""
        if self._graphs is not None:
            self._graphs.close()

    def _fetched(self, packed: Tensor) -> NDArray[np.uint8]:
        if self._host is None or self._host.shape != packed.shape:
            self._host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self._host.copy_(packed, non_blocking=True)
        there = torch.cuda.current_stream(self._device).record_event()
        self._meanwhile()
        there.synchronize()
        fetched: NDArray[np.uint8] = self._host.numpy()
        return fetched


class _SeenAtOnce(Seen):
    """A ``Seen`` whose answers are all there."""

    def __init__(
        self,
        logits: Tensor,
        ids: tuple[int, ...],
        size: tuple[int, int],
        threshold: float,
        masks: Tensor,
        small: Tensor,
        fetched: NDArray[np.uint8],
    ) -> None:
        super().__init__(logits, ids, size, threshold)
        self._masks, self._small = masks, small
        planes, height, width = logits.shape[0], logits.shape[1] // CELL, logits.shape[2] // CELL
        labels, scores, cells = np.split(fetched, [size[0] * size[1], size[0] * size[1] + len(ids)])
        cells = cells.reshape(planes + len(ids), height, width).view(np.bool_)
        self._cells, self._labels = list(cells.copy()), labels.reshape(size)
        self._scores: list[float] = (scores / 255).tolist()

    @property
    def cells(self) -> Sequence[Cells]:
        return self._cells[: len(self._ids)]

    @property
    def searched_cells(self) -> Sequence[Cells]:
        return self._cells[len(self._ids) : len(self._cells) - len(self._ids)]

    def winners(self, rows: slice, columns: slice) -> Sequence[Cells]:
        box = tuple(slice(side.start // CELL, side.stop // CELL) for side in (rows, columns))
        return [one[box] for one in self._cells[len(self._cells) - len(self._ids) :]]

    @property
    def masks(self) -> Tensor:
        return self._masks

    @property
    def confidence(self) -> Sequence[float]:
        return self._scores

    def references(self, keys: Tensor) -> References:
        return References(keys.unsqueeze(2), self._small.clone().unsqueeze(2))  # remembered for longer than it is good

    def labels(self) -> Labels:
        return np.array(self._labels)


def _all_at_once(tensors: Sequence[Any], *, size: tuple[int, int], least: float) -> tuple[Tensor, ...]:
    """Return masks (N, h, w), the same for references (1, N, h/8, w/8), and the rest as bytes.

    These are the label map, then each object's confidence in 255 steps, then the cells of all planes, then those in
    which each object wins.
    """
    logits, named = tensors
    followed = logits[: len(named)]
    masks = followed.sigmoid()
    small = partition(F.avg_pool2d(masks[None], 8))
    highest = functools.reduce(torch.maximum, followed.unbind())  # there, quicker than amax over a few
    won = followed.masked_fill(followed < highest, -math.inf)
    cells = F.max_pool2d(torch.cat([logits, won]), CELL) > least
    labels = labels_everywhere(followed, named, size, least)
    scores = (_confidence(followed, masks, least) * 255).round().to(torch.uint8)
    return masks, small, torch.cat([labels.flatten(), scores, cells.flatten().to(torch.uint8)])


def _confidence(logits: Tensor, masks: Tensor, least: float) -> Tensor:
    """Return the mean (N,) of masks (N, h, w) where the logits say that there is an object; 0 where there is none."""
    there = logits > least
    return (masks * there).sum(dim=(1, 2), dtype=torch.float32) / there.sum(dim=(1, 2)).clamp(min=1)


@lru_cache(maxsize=64)
def _named(ids: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(ids, dtype=torch.uint8, device=device)
