"""Some frames of a clip side by side, to look at masks: on their pictures, or alone against the true ones.

Enters: the frames of ``Segmenter.stream`` with their true masks. Leaves: a PNG. Stands beside ``accuracy.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import rvos_cli as rvos
from rvos_cli.overlay import blend, bright
from rvos_cli.png import DAVIS_PALETTE

PAPER, MISSED = (244, 244, 244), (70, 70, 70)
VOID = 255

Pixels = NDArray[np.uint8]
Drawing = Callable[[rvos.FrameMasks, Pixels], Pixels]


def over_picture(frame: rvos.FrameMasks, truth: Pixels) -> Pixels:
    """Return the frame with its masks laid over it, (H, W, 3)."""
    return blend(frame.image, frame.labels)


def against_truth(frame: rvos.FrameMasks, truth: Pixels) -> Pixels:
    """Return the masks alone, (H, W, 3): right in full colour, too much pale, and dark grey what is missing."""
    colours = bright(DAVIS_PALETTE)[frame.labels]
    drawn = np.full_like(colours, PAPER[0])
    found, there = frame.labels > 0, (truth > 0) & (truth != VOID)
    drawn[there & ~found] = MISSED
    drawn[there & found] = colours[there & found]
    surplus = found & ~there
    drawn[surplus] = colours[surplus] // 4 + np.uint8(3 * PAPER[0] // 4)
    return drawn


class ContactSheet:
    """Frames of a clip, spread over its length."""

    def __init__(
        self, frames: int, drawing: Drawing = over_picture, *, tiles: int = 12, columns: int = 4, width: int = 427
    ) -> None:
        """Choose *tiles* of a clip's *frames*; each is at most *width* pixels wide or high."""
        self._wanted = set(np.linspace(0, frames - 1, tiles).round().astype(int).tolist())
        self._drawing, self._columns, self._width = drawing, columns, width
        self._tiles: list[Image.Image] = []

    def add(self, frame: rvos.FrameMasks, truth: Pixels) -> None:
        """Keep *frame* if it is one of those chosen."""
        if frame.index not in self._wanted:
            return
        tile = Image.fromarray(self._drawing(frame, truth))
        tile.thumbnail((self._width, self._width), Image.Resampling.LANCZOS)
        ids = np.flatnonzero(np.bincount(frame.labels.ravel()))
        caption = f" {frame.index}: {' '.join(str(k) for k in ids if k) or 'nothing'} "
        draw = ImageDraw.Draw(tile)
        draw.rectangle(draw.textbbox((2, 2), caption), fill="black")
        draw.text((2, 2), caption, fill="white")
        self._tiles.append(tile)

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG."""
        width, height = self._tiles[0].size
        rows = -(-len(self._tiles) // self._columns)
        sheet = Image.new("RGB", (self._columns * width, rows * height), "white")
        for place, tile in enumerate(self._tiles):
            sheet.paste(tile, (place % self._columns * width, place // self._columns * height))
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, optimize=True)
