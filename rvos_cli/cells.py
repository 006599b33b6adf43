"""A coarse grid over the network's frame: planes of logits enter, cells leave, and the other way round.

Whether two pieces of a mask touch, and how far they are apart, is asked on this grid (``continuity.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rvos_cli.continuity import Cells

CELL = 4  # pixels of the network's frame along the side of a cell
NOWHERE = -8.0  # the logit of what is no part of its object


def cells_above(planes: Tensor, least: float) -> list[Cells]:
    """Return for each plane (N, h, w) the cells (h/4, w/4) in which a pixel is above *least*."""
    if not len(planes):
        return []
    # One axis after the other, a processor has it many times as fast as by max_pool2d.
    objects, height, width = planes.shape
    rows = planes.reshape(objects, height // CELL, CELL, width).amax(dim=2)
    cells = rows.reshape(objects, height // CELL, width // CELL, CELL).amax(dim=3)
    return list(cells.float().cpu().numpy() > least)


def winning(planes: Tensor) -> Tensor:
    """Return planes (N, h, w) with nothing where another one is higher."""
    return planes.masked_fill(planes < planes.amax(dim=0), -math.inf)  # many times as fast as argmax, on a CPU


def pixels_of(cells: Cells, device: torch.device) -> Tensor:
    """Enlarge cells (..., h/4, w/4) to pixels (..., h, w)."""
    wide = torch.from_numpy(cells).to(device).repeat_interleave(CELL, dim=-1)
    return wide.repeat_interleave(CELL, dim=-2)


def box_around(cells: Sequence[Cells]) -> tuple[slice, slice] | None:
    """Return the smallest box, rows and columns of pixels, around all planes' cells; None if there are none."""
    anywhere = np.logical_or.reduce(cells) if cells else np.zeros((0, 0), bool)
    if not anywhere.any():
        return None
    lines = (np.flatnonzero(anywhere.any(axis=1 - axis)) for axis in (0, 1))
    rows, columns = (slice(CELL * int(line[0]), CELL * int(line[-1] + 1)) for line in lines)
    return rows, columns


def emptied(logits: Tensor, drops: Sequence[Cells]) -> Tensor:
    """Return logits (N, h, w) with some cells of each plane emptied."""
    if not any(drop.any() for drop in drops):
        return logits
    return torch.where(pixels_of(np.stack(drops), logits.device), logits.clamp(max=NOWHERE), logits)
