"""A clip of an orange and a blue thing that share one label, their true labels, and outlines of the blue one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rvos_cli.masks import write_indexed_png
from rvos_cli.training.outlines import Outline

NAME = "davis2016/bmx-bumps"
SIZE = WIDTH, HEIGHT = 160, 96
FRAMES = 7


def left(index: int) -> int:
    return 20 + 8 * index


def truth(index: int) -> np.ndarray:
    """Object 2, a blue box, touches object 1, an orange one; both move to the right."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[30:70, left(index) : left(index) + 30] = 2
    labels[30:70, left(index) + 30 : left(index) + 60] = 1
    return labels


def stem(index: int) -> str:
    return f"{2 * index:05d}"


def outline(identity: int, index: int, start: int = 0, end: int = 29) -> Outline:
    x = left(index)
    return Outline(identity, ((x + start, 25), (x + end, 25), (x + end, 75), (x + start, 75)))


def add_clip(root: Path, name: str = NAME) -> None:
    folder = root / "train/clips" / name
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(90, 140, (HEIGHT, WIDTH, 1)).repeat(3, axis=2).astype(np.uint8)
    for index in range(FRAMES):
        labels, image = truth(index), noise.copy()
        image[labels == 1], image[labels == 2] = (230, 120, 20), (20, 60, 220)
        Image.fromarray(image).save(folder / f"{stem(index)}.jpg", quality=95)
        write_indexed_png(folder / f"{stem(index)}.png", (labels > 0).astype(np.uint8))
