"""From coded pixels to displayed ones: square pixels, turned upright.

Enters: a file's display matrix and sample aspect ratio. Leaves: the displayed size and the turn of the pixels.
Beside ``sources/video.py``; knows numpy only.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

WIDEST_PIXEL = 10  # a sample aspect ratio beyond 10:1 or 1:10 is a damaged header, not a wish
# Closer to 1 than any camera's or broadcast's pixel (16:15): what a scaler writes to make up for a rounded width, or
# GIF for counting in 64ths. Editors show such a video as it is coded, and its masks have to fit that picture.
NEARLY_SQUARE = Fraction(1, 40)

HD = 1280  # pixels of the longer side from which on players take colours without a tag for BT.709, not for BT.601


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a picture down: first exchange the axes, then mirror the result."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn (H, W, 3) uint8; C-contiguous."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_y:
            image = image[::-1]
        if self.flip_x:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)


UPRIGHT = Turn()


def turn_of(matrix: bytes) -> Turn | None:
    """Read an ffmpeg display matrix (nine 32-bit integers, row-major); None where it is no multiple of 90 degrees.

    A pixel at (x, y) is displayed at (a x + c y, b x + d y), y downwards, for the rows (a, b, .), (c, d, .).
    """
    if len(matrix) != 36:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    along, across = math.hypot(a, b), math.hypot(c, d)
    if not along or not across:
        return UPRIGHT
    a, b, c, d = (round(value, 2) for value in (a / along, b / along, c / across, d / across))
    if abs(a) == abs(d) == 1:
        return Turn(transpose=False, flip_x=a < 0, flip_y=d < 0)
    if abs(b) == abs(c) == 1:
        return Turn(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return None


def displayed_size(height: int, width: int, aspect: Fraction, turn: Turn) -> tuple[int, int]:
    """Return the displayed (height, width) of coded ones; *aspect* is a pixel's width over its height."""
    width = max(1, round(width * aspect))
    return (width, height) if turn.transpose else (height, width)


def is_hd(height: int, width: int) -> bool:
    """Tell whether a video of this size has the colour matrix of HD (BT.709) where nothing says which it has."""
    return max(height, width) >= HD


def pixel_aspect(stated: Fraction | None) -> Fraction:
    """Return the sample aspect ratio that a file states, 1 where it states none, nonsense or a rounding error."""
    if not stated or stated < 0 or not Fraction(1, WIDEST_PIXEL) <= stated <= WIDEST_PIXEL:
        return Fraction(1)
    if abs(stated - 1) < NEARLY_SQUARE:
        return Fraction(1)
    return Fraction(stated)
