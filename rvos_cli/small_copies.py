"""Small copies of frames, by which shots are told apart: a picture enters, a copy of 18 x 32 means leaves.

Used by ``shots.py`` and ``fades.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Small = NDArray[np.float32]
SIZE = 18, 32  # height and width


def small_copy(image: NDArray[np.uint8]) -> Small:
    """Return (18, 32, 3) float32 of an (H, W, 3) uint8 RGB frame: each the mean of 16 of its pixels."""
    height, width = image.shape[:2]
    rows = np.arange(4 * SIZE[0]) * height // (4 * SIZE[0])
    columns = np.arange(4 * SIZE[1]) * width // (4 * SIZE[1])
    some = image[rows][:, columns].reshape(SIZE[0], 4, SIZE[1], 4 * 3)
    small: Small = some.sum(axis=1, dtype=np.float32).reshape(*SIZE, 4, 3).sum(axis=2) / 16
    return small


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
