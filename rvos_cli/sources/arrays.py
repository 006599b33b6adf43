"""Frames from arrays that a Python caller hands over.

Enters: an iterable of (H, W, 3) uint8 RGB arrays, consumed one at a time. Leaves: ``Frame`` values.
First station of the flow; files and codecs are not involved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import InputError
from rvos_cli.sources.frames import NOMINAL_RATE, ClosingSource, Frame, SourceInfo


class ArraySource(ClosingSource):
    """Arrays as a source: the first is looked at for its size, the others when their turn comes."""

    def __init__(self, arrays: Iterable[Any]) -> None:
        """Look at the first array.

        Raises:
            InputError: there is none, or it is not (H, W, 3) uint8.
        """
        super().__init__()
        self._arrays = arrays
        self._waiting: Iterator[Any] | None = iter(arrays)
        try:
            self._first: Any = next(self._waiting)
        except StopIteration:
            raise InputError("the input has no frames", cure="give at least one (H, W, 3) uint8 array") from None
        height, width, _ = self._checked(0, self._first, None).shape
        self.info = SourceInfo(
            name="arrays",
            stem="arrays",
            kind="arrays",
            height=height,
            width=width,
            frames=_count(arrays),
            rate=None,
            audio=False,
            path=None,
        )

    def __enter__(self) -> ArraySource:
        """Return the source itself."""
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames; times are those of 25 frames a second.

        Raises:
            InputError: an array of another shape or type, or a one-pass iterator that was read before.
        """
        size = (self.info.height, self.info.width)
        for index, array in enumerate(self._from_first()):
            if self.closed:
                return
            image = self._checked(index, array, size)
            yield Frame(index, f"{index:05d}", Fraction(index) / NOMINAL_RATE, image)

    def _from_first(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            first, self._first = self._first, None
            yield first
            for array in waiting:  # noqa: UP028 - "yield from" would close the caller's generator with this one
                yield array
            return
        again = iter(self._arrays)
        if again is self._arrays:
            raise InputError("these arrays were read already and come only once", cure="give a list, or open them anew")
        yield from again

    @staticmethod
    def _checked(index: int, array: Any, size: tuple[int, int] | None) -> NDArray[np.uint8]:
        values = np.asarray(array)
        if values.ndim != 3 or values.shape[2] != 3 or not values.size:
            raise InputError(
                f"frame {index} has the shape {values.shape}, not (height, width, 3)",
                cure="give RGB arrays, one frame each",
            )
        if values.dtype != np.uint8:
            raise InputError(
                f"frame {index} is {values.dtype}, not uint8", cure="give RGB values from 0 to 255 as uint8"
            )
        if size is not None and values.shape[:2] != size:
            raise InputError(
                f"frame {index} is {values.shape[1]}x{values.shape[0]}, the first is {size[1]}x{size[0]}",
                cure="give frames of one size",
            )
        # A copy, because producers reuse their buffer while frames still wait in the pipeline's queue.
        return np.array(values, np.uint8, order="C", copy=True)


def _count(arrays: Iterable[Any]) -> int | None:
    """Return how many there are, None if nobody knows."""
    try:
        return len(arrays) if isinstance(arrays, Sized) else None
    except TypeError:  # what passes on the length of another, as progress bars and data loaders do, may have none
        return None
