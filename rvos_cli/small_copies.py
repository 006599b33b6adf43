"""Small copies of frames, by which shots are told apart: a picture enters, a copy of 18 x 32 means leaves.

Used by ``shots.py`` and ``fades.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rvos_cli.exposure import ExposureRules
from rvos_cli.picture_area import BarRules

Small = NDArray[np.float32]
SIZE = 18, 32  # height and width
BARS, EXPOSURE = BarRules(), ExposureRules()  # what is told of frames of full size is asked of their copies
GAIN = 4.0  # the most that their levels are spread by: what is darker still is noise


def small_copy(image: NDArray[np.uint8]) -> Small:
    """Return (18, 32, 3) float32 of an (H, W, 3) uint8 RGB frame: each the mean of 16 of its pixels."""
    height, width = image.shape[:2]
    rows = np.arange(4 * SIZE[0]) * height // (4 * SIZE[0])
    columns = np.arange(4 * SIZE[1]) * width // (4 * SIZE[1])
    some = image[rows][:, columns].reshape(SIZE[0], 4, SIZE[1], 4 * 3)
    small: Small = some.sum(axis=1, dtype=np.float32).reshape(*SIZE, 4, 3).sum(axis=2) / 16
    return small


def comparable(frames: Sequence[Small]) -> list[Small]:
    """Return the same frames as if they had no black bars and were neither dark nor hazy, as the network sees them.

    Differences of levels, which are what shots are told by, mean the same in all then.
    """
    parts = _between_bars(frames)
    if _well_exposed(parts[-1:]) or _well_exposed(parts):  # one is asked first, since it mostly is
        return parts
    low, high = float(np.min(parts)), float(np.max(parts))
    gain = np.float32(np.clip(EXPOSURE.dark / max(high - low, 1.0), 1.0, GAIN))
    return [frame * gain for frame in parts]


def _well_exposed(frames: Sequence[Small]) -> bool:
    return float(np.min(frames)) <= EXPOSURE.hazy and float(np.max(frames)) >= EXPOSURE.dark


def _between_bars(frames: Sequence[Small]) -> list[Small]:
    """Return the same frames without black bars, which are as wide on two opposite sides, and the same in all of them.

    What is between them has to be lit along the bars, or whatever moves before the dark would seem to fill a frame.
    """
    parts = list(frames)
    dark = [axis for axis in (0, 1) if parts[-1].take((0, -1), axis=axis).max() <= BARS.black]
    if not dark:
        return parts  # as nearly always, and at once
    brightest: NDArray[np.float32] = np.max(parts, axis=0).max(axis=-1)
    lit = brightest > BARS.black
    if not lit.any():
        return parts
    for axis in dark:
        (places,) = np.nonzero(lit.any(axis=1 - axis))
        wide = min(int(places[0]), lit.shape[axis] - 1 - int(places[-1]))
        within = (slice(None),) * axis + (slice(wide, lit.shape[axis] - wide),)
        lines = np.moveaxis(lit[within], axis, 0)  # the first and the last may be half of a bar
        if min(lines[:2].any(axis=0).mean(), lines[-2:].any(axis=0).mean()) >= BARS.lit:
            lit, parts = lit[within], [frame[within] for frame in parts]
    return parts


def contrast(frame: Small) -> float:
    """Return how much the places of a frame differ from its mean colour, as a standard deviation in levels."""
    return float((frame - frame.mean(axis=(0, 1))).std())


def likeness(one: Small, other: Small) -> float:
    """Return the correlation of two frames, -1..1; 0 where one of them is of a single colour."""
    a, b = (frame - frame.mean(axis=(0, 1)) for frame in (one, other))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1.0 else 0.0


def mixture(before: Small, between: Small, here: Small) -> tuple[float, float]:
    """Return which share of *here* a frame has that is nearest to it as a mixture with *before*, and how near it is.

    The latter is the mean difference of the two as a share of the change from *before* to *here*.
    """
    way, passed = here - before, between - before
    share = float((passed * way).sum()) / max(float((way * way).sum()), 1.0)
    return share, float(np.abs(passed - share * way).mean()) / max(float(np.abs(way).mean()), 1e-6)
