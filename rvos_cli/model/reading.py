"""How masks are read by attention: queries, keys and values enter, for each query the mean of the values leaves.

Two forms give the same answer, one for gradients, 16 bits and GPUs, the other for processors; and on a processor only
the positions are read that their neighbours do not tell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.model.shares import Shares

BLOCK = (1024, 256)  # keys, positions of the frame: their similarities stay in a core's own cache
AGREEMENT = 0.03  # by how much readings around a position may differ for it to be filled in
REACH = 2  # so many positions to each side are looked at; with 1, thin things differ from a full reading
PART = BLOCK[1]  # positions that are read at a time

# Reads at some positions of a frame: (P,) indices of rows * columns -> (B, N, P), 0..1.
Reading = Callable[[Tensor], Tensor]
# Fills (keys, queries) with the exponentials of a block of logits and returns it.
Weighing = Callable[[slice, slice, Tensor], Tensor]


def read_fused(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Attend with (B, D, L) to (B, D, M) and read (B, N, M): (B, N, L)."""
    objects = values.shape[1]
    # The kernel that never writes the matrix of similarities wants keys and values of one length: the extra
    # work is a quarter of what it saves.
    length = 8 * math.ceil(max(q.shape[1], objects) / 8)
    q, k, values = (_lengthen(x.transpose(1, 2), length)[:, None] for x in (q, k, values.to(q.dtype)))
    return attend(q, k, values)[:, 0, :, :objects].transpose(1, 2)


def attend(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Attend with queries (B, H, L, E) to keys (B, H, M, E) and read values (B, H, M, E): (B, H, L, E).

    E is a multiple of 8.
    """
    if q.is_cuda and q.dtype != torch.float32 and not torch.is_grad_enabled() and _has_flash(q.device):
        # Of the kernels that torch chooses from the fastest for one head, but not torch's first choice.
        answer: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(q, k, values, scale=1.0)[0]
        return answer
    return F.scaled_dot_product_attention(q, k, values, scale=1.0)


@functools.cache
def _has_flash(device: torch.device) -> bool:
    built = getattr(torch.backends.cuda, "is_flash_attention_available", None)  # from torch 2.5 on
    capable = torch.cuda.get_device_capability(device) >= (8, 0) and torch.version.hip is None
    return capable and built is not None and bool(built())


def read_in_blocks(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Do the same with (D, L), (D, M) and (N, M), without gradients: (N, L).

    A few planes of values are far fewer than the key's channels, to which the fused kernel would lengthen them. No
    logit may be beyond what exp can bear.
    """
    q = q * math.log2(math.e)  # torch has powers of two in half of the time that those of e take

    def weigh(keys: slice, queries: slice, out: Tensor) -> Tensor:
        return torch.mm(k[:, keys].t(), q[:, queries], out=out).exp2_()

    return read_blockwise(weigh, values.to(q.dtype), q.shape[1])


def read_blockwise(weigh: Weighing, values: Tensor, length: int) -> Tensor:
    """Read (N, M) for *length* queries, block by block: (N, L).

    The softmax needs no maximum where no exponential is too large: its divisor is read as one more plane, of ones.
    """
    read = values.new_zeros(values.shape[0] + 1, length)
    values = torch.cat([values, torch.ones_like(values[:1])])
    buffer = values.new_empty(BLOCK[0] * BLOCK[1])
    for first in range(0, values.shape[1], BLOCK[0]):
        block = values[:, first : first + BLOCK[0]]
        keys = slice(first, first + block.shape[1])
        for start in range(0, length, BLOCK[1]):
            queries = slice(start, min(start + BLOCK[1], length))
            here = read[:, queries]
            out = buffer[: block.shape[1] * here.shape[1]].view(block.shape[1], here.shape[1])
            here.addmm_(block, weigh(keys, queries, out))
    return read[:-1] / read[-1:].clamp(min=torch.finfo(read.dtype).tiny)


class BegunReading:
    """A frame's reading in three rounds, of which the first two need nothing but the frame itself.

    At first every second position of every second row is read, then those between them that these leave in doubt, in
    the end what else is asked for; everything else is filled in. ``take`` does parts of the first two, in any thread.
    """

    def __init__(self, reading: Reading, size: tuple[int, int]) -> None:
        """Prepare to read a frame of *size* (h, w)."""
        self._reading = reading
        self._grid = torch.arange(size[0] * size[1]).view(size)
        self._first = self._shares(_first(self._grid).flatten())
        self._known: _FirstRound | None = None
        self._one_at_a_time = Lock()

    def take(self) -> bool:
        """Read a part; return whether there was one left that waits for nothing in other hands."""
        return self._first.take() or (self._first.done and self._first_round().second.take())

    @property
    def doubtful(self) -> Tensor:
        """Where (h, w) positions that were not read at first have to be."""
        return self._first_round().doubtful

    def at(self, positions: Tensor) -> Tensor:
        """Return the reading (B, N, h, w), 0..1, read at *positions* (h, w), among which are all the doubtful ones."""
        known = self._first_round()
        planes, rest = known.planes.clone(), positions & ~known.doubtful
        planes[:, :, known.doubtful] = torch.cat(known.second.results(), dim=2)
        planes[:, :, rest] = self._reading(self._grid[rest])
        return planes

    def _first_round(self) -> _FirstRound:
        with self._one_at_a_time:
            if self._known is None:
                read = torch.cat(self._first.results(), dim=2)
                planes = F.interpolate(
                    read.view(*read.shape[:2], *_first(self._grid).shape), size=self._grid.shape, mode="nearest"
                )
                doubtful = _differ(planes.flatten(0, 1))
                self._known = _FirstRound(planes, doubtful, self._shares(self._grid[doubtful]))
            return self._known

    def _shares(self, positions: Tensor) -> Shares[Tensor]:
        return Shares([partial(self._reading, part) for part in torch.split(positions, PART)])


@dataclass(frozen=True)
class _FirstRound:
    """What a first round leaves: planes (B, N, h, w), where they are doubtful, and what reads them there."""

    planes: Tensor
    doubtful: Tensor
    second: Shares[Tensor]


def read_where_needed(readings: Sequence[BegunReading], before: Tensor) -> Tensor:
    """Read wherever one of the readings is in doubt, and around the outlines of masks.

    Most of a frame is far from every outline, and what is between positions that read the same reads like them.

    Args:
        readings: K ways to read a position.
        before: (B, N', h, w), 0..1, masks of the frame before, around whose outlines everything is read: there may be
            something so thin that it lies between the positions of the first round.

    Returns:
        (B, K, N, h, w), 0..1.
    """
    positions = _differ(before.flatten(0, 1))
    for begun in readings:
        positions = positions | begun.doubtful
    return torch.stack([begun.at(positions) for begun in readings], dim=1)


def _differ(planes: Tensor) -> Tensor:
    """Say where (h, w) planes (P, h, w), 0..1, differ within ``REACH``; never at the positions of the first round."""
    there = _differences(planes) > AGREEMENT
    _first(there).zero_()
    return there


def _first(grid: Tensor) -> Tensor:
    return grid[::2, ::2]


def _differences(planes: Tensor) -> Tensor:
    """Return by how much planes (P, h, w) differ up to ``REACH`` positions away, the largest of all: (h, w)."""
    highest, lowest = (_highest_around(x) for x in (planes, -planes))
    return (highest + lowest).amax(dim=0)


def _highest_around(planes: Tensor) -> Tensor:
    # One axis after the other, a processor has it many times as fast as by max_pool2d.
    for axis in (1, 2):
        length = planes.shape[axis]
        padding = (0, 0, REACH, REACH) if axis == 1 else (REACH, REACH)
        padded = F.pad(planes, padding, value=-math.inf)
        shifted = [padded.narrow(axis, start, length) for start in range(2 * REACH + 1)]
        planes = functools.reduce(torch.maximum, shifted)
    return planes


def _lengthen(x: Tensor, length: int) -> Tensor:
    return F.pad(x, (0, length - x.shape[-1]))
