"""Which part of its frames a video shows its picture in: frames enter, the area between black bars leaves.

A film is often wider than the video that holds it, a recording of a phone narrower. The network looks at what is
between the bars alone, and so sees it larger, or has less to do. Used by ``views.py``. The level is that of ffmpeg's
``cropdetect``; more has to be so here, since whoever stands before a black wall has no bars around him.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOME = 4  # every so many rows and columns of a bar are looked at for light


@dataclass(frozen=True, kw_only=True)
class BarRules:
    """What makes black bars; shares are 0..1.

    Args:
        black: no colour of a black pixel is above this level, 0..255.
        specks: share of a bar's line, a row or a column of pixels, that may be brighter.
        lit: least share of one of the first lines of the picture that is brighter,
        within: which are so many.
        sides: least share that is brighter of the picture's own edges between the two bars, or it has bars all around.
        even: largest difference between the two bars, and
        least: least width of each, and
        most: largest width of both together, as shares of the frame.
        ended: share of a bar that is brighter when it is none any more; writing in it is less.
    """

    black: int = 24
    specks: float = 0.01
    lit: float = 0.5
    within: int = 4
    sides: float = 0.3
    even: float = 0.01
    least: float = 0.03
    most: float = 0.75
    ended: float = 0.25


@dataclass(frozen=True, eq=False)
class PictureArea:
    """The part of a video's frames that is looked at: all of them, or what is between two bars.

    Args:
        size: (H, W) of the frames.
        rows: of the area,
        columns: and its columns.
    """

    size: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def whole(self) -> bool:
        """Whether it is all of a frame."""
        return self.rows == self.columns == slice(None)

    @property
    def bounds(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first and the last, exclusive, of its rows and of its columns."""
        rows, columns = self.rows.indices(self.size[0]), self.columns.indices(self.size[1])
        return rows[:2], columns[:2]

    def of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the area's part of (H, W, ...), in the frame's own memory."""
        return frame[self.rows, self.columns]

    def framed(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label map (H, W) of a frame whose area has *labels*; nothing is in the bars."""
        if self.whole:
            return labels
        frame = np.zeros(self.size, np.uint8)
        frame[self.rows, self.columns] = labels
        return frame

    def bars(self, frame: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the two bars of (H, W, ...); none where the area is whole."""
        if self.whole:
            return []
        if self.columns == slice(None):
            return [frame[: self.rows.start], frame[self.rows.stop :]]
        return [frame[:, : self.columns.start], frame[:, self.columns.stop :]]

    def holds(self, frame: NDArray[np.uint8], mask: NDArray[np.uint8] | None, rules: BarRules) -> bool:
        """Say whether a frame (H, W, 3) has its bars still, and a mask (H, W) names nothing in them."""
        if mask is not None and any(bar.any() for bar in self.bars(mask)):
            return False
        return all(float(_bright(bar[::SOME, ::SOME], rules).mean()) < rules.ended for bar in self.bars(frame))


def whole_area(size: tuple[int, int]) -> PictureArea:
    """Return the area of all of a frame of (H, W)."""
    return PictureArea(size, slice(None), slice(None))


def picture_area(frames: Sequence[NDArray[np.uint8]], rules: BarRules) -> PictureArea:
    """Return where *frames*, (H, W, 3) uint8 RGB of one shot and at least one, have their picture."""
    size = frames[0].shape[0], frames[0].shape[1]
    in_rows, in_columns = (_may_have_bars(frames, rules, turned=turned) for turned in (False, True))
    if not in_rows and not in_columns:
        return whole_area(size)  # as nearly always, and at once
    bright = functools.reduce(np.logical_or, (_bright(frame, rules) for frame in frames))
    rows = _between_bars(bright, rules) if in_rows else None
    if rows is not None:
        return PictureArea(size, rows, slice(None))
    columns = _between_bars(bright.T, rules) if in_columns else None
    return whole_area(size) if columns is None else PictureArea(size, slice(None), columns)


def _may_have_bars(frames: Sequence[NDArray[np.uint8]], rules: BarRules, *, turned: bool) -> bool:
    """Say whether the first and the last row of all frames are black; *turned* the columns."""
    lines = (frame[:, [0, -1]].swapaxes(0, 1) if turned else frame[[0, -1]] for frame in frames)
    return all(float(_bright(two, rules).mean(axis=1).max()) <= rules.specks for two in lines)


def _bright(pixels: NDArray[np.uint8], rules: BarRules) -> NDArray[np.bool_]:
    """Say which of (..., 3) pixels are not black."""
    brightest: NDArray[np.uint8] = functools.reduce(np.maximum, np.moveaxis(pixels, -1, 0))
    return brightest > rules.black


def _between_bars(bright: NDArray[np.bool_], rules: BarRules) -> slice | None:
    """Return the rows between two bars of rows; None where there are no such bars."""
    shares = bright.mean(axis=1)
    lines = np.flatnonzero(shares > rules.specks)
    if not len(lines):
        return None
    height, first, last = len(shares), int(lines[0]), int(lines[-1]) + 1
    above, below = first / height, 1 - last / height
    if min(above, below) < rules.least or abs(above - below) > rules.even or above + below > rules.most:
        return None
    edges = shares[first : first + rules.within], shares[max(first, last - rules.within) : last]
    sides = bright[first:last, : rules.within], bright[first:last, -rules.within :]
    if min(edge.max() for edge in edges) < rules.lit or min(side.any(axis=1).mean() for side in sides) < rules.sides:
        return None
    return slice(first, last)
