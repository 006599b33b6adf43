"""Masks as the bytes of a PNG file: label maps with the palette of DAVIS, binary masks in grey.

Enters: (H, W) masks. Leaves: bytes. Stands between the masks and the files that hold them. A mask is long runs of few
values, for which neither a filter (Pillow always tries five on grey pictures) nor a search for what came before
(zlib) is worth its time: rows as they are, deflated by ISA-L, take a seventh of it and less.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from isal import isal_zlib
except ImportError:  # there is none for this processor or this Python
    isal_zlib = None  # type: ignore[assignment]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _INDEXED = 0, 3  # colour types
_NO_FILTER = 0
_LEVEL = 1  # of ISA-L, whose others take longer and save nothing here


def _davis_palette() -> NDArray[np.uint8]:
    """Build the palette of PASCAL VOC and DAVIS: the bits of an id, spread over the high bits of the three colours."""
    identities = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for position in range(8):
        for channel in range(3):
            bit = identities >> (3 * position + channel) & 1
            palette[:, channel] |= (bit << (7 - position)).astype(np.uint8)
    palette.setflags(write=False)
    return palette


DAVIS_PALETTE = _davis_palette()


def encode_indexed_png(labels: NDArray[np.uint8]) -> bytes:
    """Return (H, W) uint8 labels as the bytes of a palette PNG (mode P, DAVIS palette).

    Raises:
        ValueError: labels is not (H, W) uint8.
    """
    return _png(labels, palette=DAVIS_PALETTE.tobytes())


def encode_binary_png(mask: NDArray[Any]) -> bytes:
    """Return a (H, W) mask as the bytes of an 8-bit grey PNG, 255 where it is not 0.

    Raises:
        ValueError: mask is not (H, W).
    """
    return _png(np.asarray(mask, dtype=np.bool_).view(np.uint8), white=255)


def _png(pixels: NDArray[np.uint8], *, white: int = 1, palette: bytes | None = None) -> bytes:
    """Return a PNG of *pixels*, each of them times *white*."""
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a mask is (H, W) uint8, not {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = _NO_FILTER
    np.multiply(pixels, np.uint8(white), out=rows[:, 1:])  # no array between: new memory takes longer than deflating
    header = struct.pack(">2I5B", width, height, 8, _GREY if palette is None else _INDEXED, 0, 0, 0)
    colours = [] if palette is None else [_chunk(b"PLTE", palette)]
    return b"".join([_SIGNATURE, _chunk(b"IHDR", header), *colours, _chunk(b"IDAT", _deflated(rows)), _chunk(b"IEND")])


def _deflated(rows: NDArray[np.uint8]) -> bytes:
    if isal_zlib is not None:
        return isal_zlib.compress(rows, _LEVEL)
    runs = zlib.compressobj(strategy=zlib.Z_RLE)
    return runs.compress(rows) + runs.flush()


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
