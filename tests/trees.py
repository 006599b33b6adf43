"""Small data sets in the official layouts, and a network that knows what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_cli.masks import write_indexed_png
from rvos_cli.results import FrameMasks

Labels = NDArray[np.uint8]
HEIGHT, WIDTH, FRAMES = 48, 64, 5


def labels(index: int, ids: Iterable[int] = (1, 2)) -> Labels:
    """Return frame *index* of a clip in which each object is a square of its own row, moving right."""
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    for identity in ids:
        canvas[14 * (identity - 1) : 14 * (identity - 1) + 12, 5 + 2 * index : 25 + 2 * index] = identity
    return canvas


def write_frame(path: Path, shown: Labels) -> None:
    """Write a picture from which ``Oracle`` reads the labels again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([shown * 40] * 3, axis=-1)).save(path, quality=98)


def write_mask(path: Path, shown: Labels) -> None:
    """Write a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_indexed_png(path, shown)


def davis2017(root: Path, *, names: tuple[str, ...] = ("bear", "cows"), split: str = "val") -> Path:
    """Build DAVIS 2017; in the unsupervised annotations a corner is void."""
    for name in names:
        for index in range(FRAMES):
            shown = labels(index)
            write_frame(root / "JPEGImages" / "480p" / name / f"{index:05d}.jpg", shown)
            write_mask(root / "Annotations" / "480p" / name / f"{index:05d}.png", shown)
            void = shown.copy()
            void[-3:, -3:] = 255
            write_mask(root / "Annotations_unsupervised" / "480p" / name / f"{index:05d}.png", void)
    (root / "ImageSets" / "2017").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "2017" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def davis2016(root: Path) -> Path:
    """Build DAVIS 2016: black and white masks, one of them in colour, and a list of pairs of paths."""
    lines = []
    for index in range(FRAMES):
        shown = labels(index)
        image, mask = f"/JPEGImages/480p/bear/{index:05d}.jpg", f"/Annotations/480p/bear/{index:05d}.png"
        write_frame(root / image[1:], shown)
        white = (shown > 0).astype(np.uint8) * 255
        path = root / mask[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([white] * 3, axis=-1) if index == 2 else white).save(path)
        lines.append(f"{image} {mask}")
    (root / "ImageSets" / "480p").mkdir(parents=True)
    (root / "ImageSets" / "480p" / "val.txt").write_text("\r\n".join(lines) + "\r\n")
    return root


def youtube(root: Path, *, split: str = "valid", full: bool = False) -> Path:
    """Build YouTube-VOS: frames 00000 to 00040, of which 00005 to 00035 are listed; object 2 enters at 00015.

    With *full* every listed frame has a mask, otherwise only the frames in which an object enters.
    """
    home, video = root / split, "003234408d"
    for index in range(9):
        ids = (1, 2) if index >= 3 else (1,)
        write_frame(home / "JPEGImages" / video / f"{5 * index:05d}.jpg", labels(index, ids))
        if index == 1 or (full and 1 <= index <= 7):
            write_mask(home / "Annotations" / video / f"{5 * index:05d}.png", labels(index, ids))
        elif index == 3:
            write_mask(home / "Annotations" / video / f"{5 * index:05d}.png", labels(index, (2,)))
    frames = [f"{5 * index:05d}" for index in range(1, 8)]
    objects = {"1": {"category": "ape", "frames": frames}, "2": {"category": "owl", "frames": frames[2:]}}
    (home / "meta.json").write_text(json.dumps({"videos": {video: {"objects": objects}}}))
    return root


class Oracle:
    """Streams what the pictures show: under the ids of the given masks, or where none are given under ids of its own.

    *swapped* confuses objects 1 and 2. Where nothing is given, *extra* single pixels are found in each frame, too.
    """

    def __init__(self, *, swapped: bool = False, extra: int = 0) -> None:
        self.swapped, self.extra = swapped, extra
        self.given: dict[int, list[int]] = {}
        self.options: dict[str, Any] = {}

    def stream(
        self, input: Iterable[NDArray[np.uint8]], *, masks: Iterable[Labels | None] | None = None, **options: Any
    ) -> Iterator[FrameMasks]:
        self.options = options
        self.given = {}
        return self._frames(input, None if masks is None else iter(masks))

    def _frames(
        self, images: Iterable[NDArray[np.uint8]], masks: Iterator[Labels | None] | None
    ) -> Iterator[FrameMasks]:
        renumber = np.zeros(256, np.uint8)
        for index, image in enumerate(images):
            shown = np.rint(image[..., 0] / 40).astype(np.uint8)
            if masks is None:
                found = shown + 40 * (shown > 0).astype(np.uint8)
                found[-1, : 2 * self.extra : 2] = np.arange(1, self.extra + 1)
            else:
                mask = next(masks)
                if mask is not None:
                    self.given[index] = np.unique(mask[mask > 0]).tolist()
                    renumber[shown[mask > 0]] = mask[mask > 0]
                found = renumber[shown]
                if self.swapped:
                    found = np.array([0, 2, 1], np.uint8)[found]
            yield FrameMasks(index=index, time=Fraction(index, 25), name=f"{index:05d}", image=image, labels=found)
