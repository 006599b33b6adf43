"""Points on an object, and beside it, as somebody would choose them: true labels enter, points leave.

Drawn for :mod:`rvos_cli.training.box_rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.training.rollout import IGNORED_LABEL

Point = tuple[float, float]  # x, y


@dataclass(frozen=True, kw_only=True)
class PointDraws:
    """How points are drawn.

    Args:
        on: how probable it is to have one, two, ... points on the object.
        beside: the same for none, one, ... on something else.
        rim: points keep so many pixels away from what is not the object, or not the ground, where there is room.
    """

    on: Sequence[float] = (0.7, 0.2, 0.1)
    beside: Sequence[float] = (0.6, 0.3, 0.1)
    rim: int = 3

    def draw(self, labels: Tensor, identity: int, draw: torch.Generator) -> tuple[list[Point], list[Point]]:
        """Return points on an object of *labels* (h, w) and beside it: on another one, if there is, in half of cases.

        Labels are on the CPU.
        """
        mine = labels == identity
        others = (labels > 0) & (labels != IGNORED_LABEL) & ~mine
        ground = others if others.any() and float(torch.rand((), generator=draw)) < 0.5 else ~mine
        ground = ground & (labels != IGNORED_LABEL)
        on = [self._point(mine, draw) for _ in range(1 + _draw_from(self.on, draw))]
        beside = [self._point(ground, draw) for _ in range(_draw_from(self.beside, draw) if ground.any() else 0)]
        return on, beside

    def _point(self, mask: Tensor, draw: torch.Generator) -> Point:
        """Return the middle of a random pixel of a mask (h, w), away from its rim if it is so wide anywhere."""
        side = 2 * self.rim + 1
        inner = F.max_pool2d((~mask)[None].float(), side, stride=1, padding=self.rim)[0] == 0
        rows, columns = torch.nonzero(inner if inner.any() else mask, as_tuple=True)
        chosen = int(torch.randint(len(rows), (), generator=draw))
        return float(columns[chosen]) + 0.5, float(rows[chosen]) + 0.5


def _draw_from(shares: Sequence[float], draw: torch.Generator) -> int:
    return int(torch.multinomial(torch.tensor(shares), 1, generator=draw))
