"""Frames that are too dark or hazy enter, the same as if they were well exposed leave.

In a dark or pale frame the network finds less than in the same one with its levels spread. Whether a shot is so is told
by its first frames; then each frame has a curve of its own, which hardly bends where the frame is as it should be. Used
by ``views.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEW = 128  # rows and columns by which a frame is told, about


@dataclass(frozen=True, kw_only=True)
class ExposureRules:
    """What is too dark or hazy, and what becomes of it. Levels are 0..255.

    Args:
        dark: a shot is too dark if all but a few pixels are darker than this,
        hazy: and hazy if all but a few are brighter than that.
        black: a frame with nothing brighter is left alone, since there is nothing but noise.
        few: these, as a share.
        margin: so much stays free above the brightest and below the darkest pixels.
        contrast: no more levels than these are spread over all.
        middle: half of the pixels are to be brighter than this share of the brightest level,
        gamma: as far as a power that is not below this one makes them so.
    """

    dark: float = 190.0
    hazy: float = 60.0
    black: float = 24.0
    few: float = 0.005
    margin: float = 15.0
    contrast: float = 85.0
    middle: float = 0.4
    gamma: float = 0.5


def is_poor(frames: Sequence[NDArray[np.uint8]], rules: ExposureRules) -> bool:
    """Say whether *frames*, (H, W, 3) uint8 RGB of one shot and at least one, are too dark or hazy, all of them."""
    levels = [_levels(frame, rules) for frame in frames]
    return all(high < rules.dark for _, _, high in levels) or all(low > rules.hazy for low, _, _ in levels)


def well_exposed(frame: NDArray[np.uint8], rules: ExposureRules) -> NDArray[np.uint8]:
    """Return a frame (H, W, 3) with its levels spread."""
    low, middle, high = _levels(frame, rules)
    if high <= rules.black:
        return frame
    low, high = max(0.0, low - rules.margin), min(255.0, high + rules.margin)
    spread = np.clip((np.arange(256) - low) / max(high - low, rules.contrast), 0, 1)
    half = max(float(np.interp(middle, np.arange(256), spread)), 1e-3)
    gamma = max(rules.gamma, math.log(rules.middle) / math.log(half)) if half < rules.middle else 1.0
    curve = np.rint(255 * spread**gamma).astype(np.uint8)
    return np.take(curve, frame)


def _levels(frame: NDArray[np.uint8], rules: ExposureRules) -> tuple[float, float, float]:
    """Return the levels between which nearly all pixels are, and between them that of their middle one."""
    some = frame[:: max(1, frame.shape[0] // FEW), :: max(1, frame.shape[1] // FEW)]
    middle, high = np.quantile(some.max(axis=2), (0.5, 1 - rules.few))
    return float(np.quantile(some.min(axis=2), rules.few)), float(middle), float(high)
