"""What was seen of one part of a frame, laid out as another part shows it: planes enter, the same leave.

For ``matching_tracker.py``, where the camera moves: what it remembers of the last frame lies where it was there.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.continuity import Cells
from rvos_cli.picture_area import PictureArea

SOME = 0.01  # a cell is set from this share of it on


class Reframing:
    """From one part of a frame to another, both of which the network sees at one size."""

    def __init__(self, before: PictureArea, after: PictureArea) -> None:
        """Lay out what *before* shows as *after* shows it; where it shows nothing there is 0."""
        sides = list(zip(before.bounds, after.bounds, strict=True))
        spans = [(old[1] - old[0], new[1] - new[0]) for old, new in sides]
        self._scales = [new / old for old, new in spans]
        self._shifts = [(sum(new) - sum(old)) / span for (old, new), (span, _) in zip(sides, spans, strict=True)]
        self.growth = 1 / (self._scales[0] * self._scales[1])  # of whatever is seen, in area

    def planes(self, planes: Tensor, mode: str = "bilinear") -> Tensor:
        """Return planes (B, C, h, w) of any resolution."""
        grid = _grid(tuple(self._scales), tuple(self._shifts), tuple(planes.shape[-2:]), planes.device)
        grid = grid.expand(len(planes), -1, -1, -1)
        moved = F.grid_sample(planes.float(), grid, mode=mode, padding_mode="zeros", align_corners=False)
        return moved.to(planes.dtype)

    def cells(self, cells: Cells) -> Cells:
        """Return cells (h/4, w/4)."""
        moved: Cells = self.planes(torch.from_numpy(cells)[None, None].float())[0, 0].numpy() > SOME
        return moved


@functools.lru_cache(maxsize=8)
def _grid(scales: tuple[float, ...], shifts: tuple[float, ...], size: tuple[int, ...], device: torch.device) -> Tensor:
    """Return where each pixel lies in the other frame, (1, h, w, 2) of x and y, -1..1."""
    with torch.inference_mode(False):
        y, x = (
            np.linspace(-1 + 1 / count, 1 - 1 / count, count) * scale + shift
            for count, scale, shift in zip(size, scales, shifts, strict=True)
        )
        return torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32))[None].to(device)
