"""How masks are read by attention: queries, keys and values enter, for each query the mean of the values leaves.

Two forms give the same answer, one for gradients, 16 bits and GPUs, the other for processors; and on a processor only
the positions are read that their neighbours do not tell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.model.shares import Shares

BLOCK = (1024, 256)  # keys, positions of the frame: their similarities stay in a core's own cache
AGREEMENT = 0.03  # by how much readings around a position may differ for it to be filled in
REACH = 2  # so many positions to each side are looked at; with 1, thin things differ from a full reading
SHARES = 4  # parts of a first round

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
    return F.scaled_dot_product_attention(q, k, values, scale=1.0)[:, 0, :, :objects].transpose(1, 2)


def read_in_blocks(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Do the same with (D, L), (D, M) and (N, M), without gradients: (N, L).

    A few planes of values are far fewer than the key's channels, to which the fused kernel would lengthen them. No
    logit may be beyond what exp can bear.
    """

    def weigh(keys: slice, queries: slice, out: Tensor) -> Tensor:
        return torch.mm(k[:, keys].t(), q[:, queries], out=out).exp_()

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
    """A reading and its first round: every second position of every second row."""

    def __init__(self, reading: Reading, size: tuple[int, int]) -> None:
        """Prepare the first round over a frame of *size* (h, w); ``take`` and ``first`` do it."""
        self.reading = reading
        self._shares = Shares([partial(reading, part) for part in _first(_grid(size)).flatten().chunk(SHARES)])

    def take(self) -> bool:
        """Read a part, in any thread; return whether there was one left."""
        return self._shares.take()

    def first(self) -> Tensor:
        """Return the first round, (B, N, P)."""
        return torch.cat(self._shares.results(), dim=2)


def read_where_needed(readings: Sequence[BegunReading], before: Tensor) -> Tensor:
    """Read the positions of the first round, then those between them that are near an outline; fill the rest.

    Most of a frame is far from every outline, and what is between positions that read the same reads like them.

    Args:
        readings: K ways to read a position.
        before: (B, N', h, w), 0..1, masks of the frame before, around whose outlines everything is read: there may be
            something so thin that it lies between the positions of the first round.

    Returns:
        (B, K, N, h, w), 0..1.
    """
    h, w = before.shape[-2:]
    grid = _grid((h, w))
    read = torch.stack([begun.first() for begun in readings], dim=1)
    planes = F.interpolate(read.view(1, -1, *_first(grid).shape), size=(h, w), mode="nearest")[0]
    doubt = torch.maximum(_differences(planes), _differences(before.flatten(0, 1)))
    _first(doubt).zero_()  # those are read
    missing = doubt > AGREEMENT
    planes[:, missing] = torch.stack([begun.reading(grid[missing]) for begun in readings], dim=1).flatten(0, 2)
    return planes.view(*read.shape[:3], h, w)


def _grid(size: tuple[int, int]) -> Tensor:
    return torch.arange(size[0] * size[1]).view(size)


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
