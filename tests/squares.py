"""A clip of two squares on grey, and a stand-in for the network that knows them by their colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import media
import numpy as np

from rvos_cli.foresight import Foresight
from rvos_cli.sources import Frame

FRAMES, HEIGHT, WIDTH = 6, 96, 128
LEFT_COLOUR, RIGHT_COLOUR = (220, 40, 40), (30, 60, 220)


def squares(index: int, *, right: bool = True) -> media.Image:
    """Return frame *index* of the clip: a red square that moves right, and a blue one that stands still."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[20:60, 10 + 3 * index : 50 + 3 * index] = LEFT_COLOUR
    if right:
        image[50:90, 76:116] = RIGHT_COLOUR
    return image


def square_labels(index: int = 0, *, right: bool = True) -> media.Image:
    """Return the true labels of ``squares``: 1 the moving one, 2 the other."""
    image = squares(index, right=right).astype(int)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[(image == LEFT_COLOUR).all(axis=2)] = 1
    labels[(image == RIGHT_COLOUR).all(axis=2)] = 2
    return labels


class ColourSession:
    """Stands in for the network where only what is around it is tested: it knows the squares by their colours."""

    confidence: ClassVar[dict[int, float]] = {1: 0.5}  # it does not know how good it is

    def __init__(self, *_: object, discover: bool, **__: object) -> None:
        self.ids: set[int] | None = None if discover else set()

    def close(self) -> None:
        """There is nothing to end."""

    def looking_ahead(self, frames: Iterator[Frame], foresight: Foresight | None = None) -> Iterator[Frame]:
        """It needs no second opinion."""
        return frames

    def back(self, images: Sequence[media.Image]) -> Iterator[tuple[media.Image, dict[int, float]]]:
        """It sees on the way back what it saw on the way there."""
        return ((self.step(image), self.confidence) for image in images)

    def step(self, image: media.Image, mask: media.Image | None = None, *, whole: bool = False) -> media.Image:
        if mask is not None and self.ids is not None:
            self.ids |= set(np.unique(mask).tolist()) - {0}
        nearest = np.stack(
            [np.abs(image.astype(int) - colour).sum(axis=2) for colour in ((90, 90, 90), LEFT_COLOUR, RIGHT_COLOUR)]
        ).argmin(axis=0)
        if self.ids is not None:
            nearest = np.where(np.isin(nearest, sorted(self.ids)), nearest, 0)
        return nearest.astype(np.uint8) if mask is None or not whole else mask
