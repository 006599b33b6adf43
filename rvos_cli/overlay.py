"""Paint the objects of one frame over its picture.

Enters: an RGB frame and its label map. Leaves: a new RGB frame. Stands between the masks and ``sinks``; pure numpy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import OutputError
from rvos_cli.png import DAVIS_PALETTE

# A contour of this many pixels per pixel of the short side is as thin in 4K as it is in 480p.
CONTOUR_SHARE = 1 / 320
# White in the outlines of the first, second, ... object of one hue, in the order in which they differ most from each
# other and, of DAVIS' palette, from those of other hues.
PALER = (0.0, 0.45, 0.85, 0.25, 0.65)
_PIXEL = np.dtype("V3")


def blend(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    *,
    palette: NDArray[np.uint8] = DAVIS_PALETTE,
    alpha: float = 0.5,
    contour: int | None = None,
) -> NDArray[np.uint8]:
    """Colour every object and draw its contour; the background stays as it is.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        labels: (H, W) uint8, 0 = background, k = object k.
        palette: (256, 3) uint8 RGB, row k for object k.
        alpha: share of the object's colour in its filling, 0..1.
        contour: width in pixels of the line inside each object's border, 0 for none; None scales it to the image.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous, a new array.

    Raises:
        OutputError: *image* and *labels* differ in size.
    """
    if image.shape != (*labels.shape, 3):
        raise OutputError(f"a label map of shape {labels.shape} does not fit an image of shape {image.shape}")
    painted = np.array(image, dtype=np.uint8, order="C")
    flat = np.ascontiguousarray(labels).reshape(-1)
    touched = np.flatnonzero(flat != 0)
    if touched.size == 0:
        return painted
    palette = np.ascontiguousarray(palette, dtype=np.uint8)
    dimmed, tint, outline = _tables(palette.tobytes(), float(alpha))
    # Whole pixels as 3-byte items: scattering them is three times as fast as scattering rows of an (n, 3) array.
    pixels = painted.reshape(-1).view(_PIXEL)
    filling = dimmed.take(pixels.take(touched).view(np.uint8)).reshape(-1, 3)
    filling += tint.take(flat.take(touched), axis=0)
    pixels[touched] = filling.reshape(-1).view(_PIXEL)
    width = contour_width(*labels.shape) if contour is None else contour
    if width > 0:
        line = np.flatnonzero(contours(labels, width))
        pixels[line] = outline.take(flat.take(line), axis=0).reshape(-1).view(_PIXEL)
    return painted


def contour_width(height: int, width: int) -> int:
    """Return the width in pixels of the contour for a frame of this size."""
    return max(1, round(min(height, width) * CONTOUR_SHARE))


def contours(labels: NDArray[np.uint8], width: int = 1) -> NDArray[np.bool_]:
    """Return the (H, W) bool map of object pixels nearer than *width* pixels to another label.

    The frame's own edge is no border: an object that leaves the picture is not closed there.
    """
    edge = np.zeros(labels.shape, dtype=np.bool_)
    beside = labels[:, 1:] != labels[:, :-1]
    below = labels[1:] != labels[:-1]
    edge[:, 1:] |= beside
    edge[:, :-1] |= beside
    edge[1:] |= below
    edge[:-1] |= below
    for _ in range(width - 1):
        grown = edge.copy()
        grown[:, 1:] |= edge[:, :-1]
        grown[:, :-1] |= edge[:, 1:]
        grown[1:] |= edge[:-1]
        grown[:-1] |= edge[1:]
        edge = grown
    edge &= labels > 0
    return edge


def bright(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the palette at full strength: each (256, 3) row scaled until its largest channel is 255.

    Rows that differ in strength only, as those of objects 1, 8 and 9 in DAVIS' palette, are mixed with white, each with
    another share of it.
    """
    peak = np.maximum(palette.max(axis=1, keepdims=True), 1).astype(np.float32)
    full = np.round(palette * (255 / peak))
    strengths: dict[bytes, list[float]] = {}
    for row, strength in zip(full, peak[:, 0].tolist(), strict=True):
        known = strengths.setdefault(row.tobytes(), [])
        if strength not in known:
            known.append(strength)
        row += (255 - row) * PALER[known.index(strength) % len(PALER)]
    paler: NDArray[np.uint8] = np.round(full).astype(np.uint8)
    return paler


@lru_cache(maxsize=8)
def _tables(palette: bytes, alpha: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (256,) dimmed pixel values, (256, 3) tints and (256, 3) outlines.

    The uint8 sum of the first two is the blended value and never overflows.
    """
    dimmed = np.floor(np.arange(256) * (1 - alpha)).astype(np.uint8)
    colours = np.frombuffer(palette, dtype=np.uint8).reshape(256, 3)
    room = 255 - int(dimmed[255])
    tint = np.minimum(np.floor(colours * alpha + 0.5), room).astype(np.uint8)
    return dimmed, tint, bright(colours)
