"""Pictures of what a network does: frames with their masks enter, one PNG leaves, a row for each run of a sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rvos_cli.overlay import blend
from rvos_cli.whole_files import writing_beside

TILES, TILE = 4, (240, 160)  # of a row; width and height that a tile fits into
CAPTION = 14


class Row:
    """Some frames of one sequence, spread over its length, and a line about them."""

    def __init__(self, frames: int) -> None:
        """Choose among *frames* frames; the first is left out, because its masks may be given."""
        self.caption = ""
        self.tiles: list[Image.Image] = []
        self._wanted = set(np.linspace(0, frames - 1, TILES + 1).round().astype(int).tolist()[1:])
        self._next = 0

    def add(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Take the next frame, (H, W, 3) RGB with its (H, W) labels; keep it if it is one of the chosen."""
        if self._next in self._wanted:
            tile = Image.fromarray(blend(image, labels))
            tile.thumbnail(TILE, Image.Resampling.LANCZOS)
            self.tiles.append(tile)
        self._next += 1


class ContactSheet:
    """Rows of tiles, each under its caption."""

    def __init__(self) -> None:
        """Start without rows."""
        self._rows: list[Row] = []

    def row(self, frames: int) -> Row:
        """Add a row for a sequence of *frames* frames and return it, to be filled."""
        self._rows.append(Row(frames))
        return self._rows[-1]

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG.

        Raises:
            OutputError: it cannot be written.
        """
        heights = [CAPTION + max((tile.height for tile in row.tiles), default=0) for row in self._rows]
        sheet = Image.new("RGB", (TILES * TILE[0], sum(heights)))
        draw = ImageDraw.Draw(sheet)
        top = 0
        for row, height in zip(self._rows, heights, strict=True):
            draw.text((3, top + 1), row.caption, fill="white")
            for place, tile in enumerate(row.tiles):
                sheet.paste(tile, (place * TILE[0], top + CAPTION))
            top += height
        with writing_beside(path) as beside:
            sheet.save(beside, "PNG")
