"""How well two masks agree: region J, boundary F, and what a curve of them says in three numbers.

Enters: binary masks. Leaves: numbers between 0 and 1. The first step of every protocol (``protocols.py``).
A mask is packed into one integer, a pixel a bit: dilating it with a disk is then some dozen shifts of a few kilobytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

BOUNDARY_TOLERANCE = 0.008
RECALL_THRESHOLD = 0.5
DECAY_BINS = 4


def boundary_radius(height: int, width: int) -> int:
    """Return how many pixels two boundaries may lie apart and still match: 0.8% of the diagonal, rounded up."""
    return math.ceil(BOUNDARY_TOLERANCE * math.hypot(height, width))


class Shape:
    """One binary mask, packed, with its boundary and the dilated boundary computed when first asked for.

    Args:
        mask: (H, W) bool or uint8, where all but 0 belongs to it, or a window of a larger image as ``window`` cuts it.
        radius: of the disk, in pixels; shapes that are compared need the same radius and size.
    """

    def __init__(self, mask: NDArray[np.bool_] | NDArray[np.uint8], *, radius: int) -> None:
        """Pack *mask*."""
        height, width = int(mask.shape[0]), int(mask.shape[1])
        self._size = height, width
        self._radius = radius
        # Empty columns on the right keep a horizontal shift from reaching the next row; a row is whole bytes.
        row_bytes = (width + radius + 7) // 8
        self._stride = 8 * row_bytes
        packed = np.zeros((height, row_bytes), dtype=np.uint8)
        packed[:, : (width + 7) // 8] = np.packbits(mask, axis=1, bitorder="little")
        self.bits = int.from_bytes(packed.tobytes(), "little")

    @cached_property
    def boundary(self) -> int:
        """Pixels that differ from the right, lower or lower right one (last row: right; last column: lower)."""
        if not self.bits:
            return 0
        (height, width), stride = self._size, self._stride
        # Beyond the right and the lower edge all is as it is at the edge, so that nothing differs there.
        bits = self.bits | (self.bits & _every_row(1 << (width - 1), stride, height)) << 1
        bits |= bits >> ((height - 1) * stride) << (height * stride)
        below = bits >> stride
        edge = (bits ^ (bits >> 1)) | (bits ^ below) | (bits ^ (below >> 1))
        return edge & _every_row((1 << width) - 1, stride, height)

    @cached_property
    def dilated_boundary(self) -> int:
        """The boundary dilated with a disk; bits outside the image are not cleared."""
        run, radius, stride = self.boundary, self._radius, self._stride
        # Empty rows above cost as much as any others: leave out all that the disk does not reach.
        skipped = max((run & -run).bit_length() - radius * (stride + 1) - 1, 0)
        run >>= skipped
        length, dilated = 1, 0
        for row in range(radius, -1, -1):
            half_width = math.isqrt(radius**2 - row**2)
            while length < 2 * half_width + 1:  # a run to one side doubles with every shift
                step = min(length, 2 * half_width + 1 - length)
                run |= run << step
                length += step
            dilated |= run >> (row * stride + half_width)
            if row:
                dilated |= run << (row * stride - half_width)
        return dilated << skipped

    def jaccard(self, other: Shape) -> float:
        """Return intersection over union, 1 if both are empty."""
        union = (self.bits | other.bits).bit_count()
        return (self.bits & other.bits).bit_count() / union if union else 1.0

    def boundary_f(self, other: Shape) -> float:
        """Return the harmonic mean of both boundaries' matched shares; 1 if both are empty, 0 if one is."""
        mine, theirs = self.boundary.bit_count(), other.boundary.bit_count()
        if not mine or not theirs:
            return float(mine == theirs)
        precision = (self.boundary & other.dilated_boundary).bit_count() / mine
        recall = (other.boundary & self.dilated_boundary).bit_count() / theirs
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@lru_cache(maxsize=8)
def _every_row(pattern: int, stride: int, height: int) -> int:
    """Return *height* rows of *stride* bits with *pattern* in each."""
    return int.from_bytes(pattern.to_bytes(stride // 8, "little") * height, "little")


def window(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the rows and columns that hold everything but 0 in either (H, W) map, and one pixel around it.

    Within this window every boundary pixel lies, and J and F are what they are on the whole image.
    """
    occupied = first | second
    rows = _span(np.bitwise_or.reduce(occupied, axis=1))
    return rows, _span(np.bitwise_or.reduce(occupied[rows], axis=0))


def _span(occupied: NDArray[np.uint8]) -> slice:
    places = np.flatnonzero(occupied)
    if not len(places):
        return slice(0, 1)
    return slice(max(int(places[0]) - 1, 0), min(int(places[-1]) + 2, len(occupied)))


def compare(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], void: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return J and F of one frame.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
        void: (H, W) bool, pixels that count for nothing; both masks are emptied there first.

    Raises:
        ValueError: the sizes differ.
    """
    if prediction.shape != truth.shape or (void is not None and void.shape != truth.shape):
        raise ValueError(f"masks of different sizes: {prediction.shape} and {truth.shape}")
    if void is not None:
        prediction, truth = prediction & ~void, truth & ~void
    cut = window(prediction.view(np.uint8), truth.view(np.uint8))
    radius = boundary_radius(*truth.shape)
    first, second = Shape(prediction[cut], radius=radius), Shape(truth[cut], radius=radius)
    return first.jaccard(second), first.boundary_f(second)


def jaccard(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], void: NDArray[np.bool_] | None = None) -> float:
    """Return region similarity J of (H, W) bool masks: intersection over union, 1 if the union is empty."""
    return compare(prediction, truth, void)[0]


def boundary_f(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], void: NDArray[np.bool_] | None = None) -> float:
    """Return contour accuracy F of (H, W) bool masks: boundaries matched within ``boundary_radius``."""
    return compare(prediction, truth, void)[1]


@dataclass(frozen=True)
class Measure:
    """One curve (J or F of one object, a value a frame) and what the DAVIS benchmark says about it."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the frames."""
        return float(np.mean(self.values))

    @property
    def recall(self) -> float:
        """Share of the frames above 0.5."""
        return float(np.mean(np.asarray(self.values) > RECALL_THRESHOLD))

    @property
    def decay(self) -> float:
        """Mean of the first quarter minus mean of the last.

        The official toolkit stores the quarters' ends in 8 bits, so it is wrong for more than 256 frames; this is not.
        """
        values = np.asarray(self.values)
        ends = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
        return float(np.mean(values[ends[0] : ends[1] + 1]) - np.mean(values[ends[-2] : ends[-1] + 1]))
