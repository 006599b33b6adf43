"""What every source gives: ``SourceInfo`` once, then one ``Frame`` per displayed frame.

Enters: nothing. Leaves: the values and the protocol that the rest of the package reads sources by.
First station of the flow; knows numpy only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

NOMINAL_RATE = Fraction(25)  # frames per second where the source itself has no clock: folders, arrays


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before it is read.

    Args:
        name: the input as it was given.
        stem: what outputs are named after; see ``stem_of``.
        kind: where the frames come from.
        height, width: pixels, as displayed: turned upright, pixels square.
        frames: their number, exact or the best estimate; None if unknown.
        rate: average frames per second; None for a folder, an image and arrays.
        audio: whether there is sound to keep.
        path: the file or folder; None for arrays.
        unscaled: (height, width) of a frame turned upright whose pixels were not made square, as editors show it.
    """

    name: str
    stem: str
    kind: Literal["video", "folder", "image", "arrays"]
    height: int
    width: int
    frames: int | None
    rate: Fraction | None
    audio: bool
    path: Path | None
    unscaled: tuple[int, int] | None = None


def stem_of(path: Path) -> str:
    """Return what outputs are named after: the name of a folder, or of a file without its last suffix.

    A file that is dots without it, as ``...mp4``, gives its whole name; its outputs would lie elsewhere. A link keeps
    its own name.
    """
    if os.path.isdir(path):
        return Path(os.path.abspath(path)).name
    return path.stem if path.stem.strip(".") else path.name


def number_of(name: str) -> int | None:
    """Return the number that the name of a frame is, as those of videos are numbered from 00000; None if it is none."""
    return int(name) if name.isascii() and name.isdecimal() else None


@dataclass(frozen=True)
class Frame:
    """One displayed frame.

    Args:
        index: 0, 1, 2, ... in display order.
        name: stem for this frame's output files.
        time: seconds since the first frame, exact, strictly increasing.
        image: (H, W, 3) uint8 RGB, C-contiguous, of the size in ``SourceInfo``; the reader's own to keep.
        duration: for how many seconds it is shown, as far as the source says; None where it does not.
        origin: where time 0 stands on the source's own clock, in seconds, as of this frame: elsewhere once that clock
            was reset; None where there is no such clock.
    """

    index: int
    name: str
    time: Fraction
    image: NDArray[np.uint8]
    duration: Fraction | None = None
    origin: Fraction | None = None


class FrameSource(Protocol):
    """Frames in display order; every iteration starts at the first frame, in memory that does not grow.

    ``warnings`` holds one line for everything that was not as it should be; it is complete when an iteration ends.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known before reading."""

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that is not as it should be."""

    def index_of(self, name: str) -> int | None:
        """Return the index of the frame of this ``Frame.name``; None if no frame can have it."""

    def __iter__(self) -> Iterator[Frame]:
        """Read from the first frame on; raises InputError where a frame cannot be read and the rest is useless."""

    def close(self) -> None:
        """End an iteration that still runs; a closed source is not read again."""

    def __enter__(self) -> FrameSource:
        """Return the source itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


class ClosingSource:
    """The part that sources share: warnings without repetition, names, ``close`` and the context manager."""

    def __init__(self) -> None:
        """Start open and without warnings."""
        self.warnings: list[str] = []
        self.closed = False

    def warn(self, line: str) -> None:
        """Add *line* once, however often the source is read."""
        if line not in self.warnings:
            self.warnings.append(line)

    def index_of(self, name: str) -> int | None:
        """Return the number that *name* is: these frames have no names of their own."""
        return number_of(name)

    def close(self) -> None:
        """End an iteration that still runs at its next frame."""
        self.closed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
