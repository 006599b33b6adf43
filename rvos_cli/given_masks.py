"""The masks that a caller gives with the frames of a stream: any form of them enters, the mask of each frame leaves.

Used by ``segmenter.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import MaskError
from rvos_cli.mask_colours import OPAQUE, Colours
from rvos_cli.masks import FirstMask, read_first_mask
from rvos_cli.sources import SourceInfo

Mask: TypeAlias = str | Path | NDArray[np.uint8]
Masks: TypeAlias = Mapping[int, Mask] | Iterable[Mask | None]


def fitting(mask: Mask, info: SourceInfo, index: int = 0, colours: Colours | None = None) -> FirstMask:
    """Read a mask as that of frame *index* of the source; *colours* tells those of earlier masks, and then of this."""
    what = f"the mask of frame {index}" if index else "the first mask"
    size = info.height, info.width
    return read_first_mask(mask, size, unscaled=info.unscaled, what=what, colours=colours)


def per_frame(masks: Masks | None) -> Callable[[int], Mask | None]:
    """Return the function that gives the mask of frame 0, 1, 2, ... when it is called in this order."""
    if masks is None:
        return lambda index: None
    if isinstance(masks, Mapping):
        return masks.get
    some = (None if _says_nothing(mask) else mask for mask in masks)
    return lambda index: next(some, None)


def is_one(masks: NDArray[np.uint8]) -> bool:
    """Whether an array is a single mask, (H, W) or of colours (H, W, 3 or 4), and not one for each frame."""
    return masks.ndim == 2 or (masks.ndim == 3 and masks.shape[2] in (3, 4) and masks.dtype == np.uint8)


def _says_nothing(mask: Mask | None) -> bool:
    if not isinstance(mask, np.ndarray):
        return mask is None
    if mask.ndim == 3 and mask.shape[2] == 4 and mask.dtype == np.uint8:
        opaque = mask[..., 3] >= OPAQUE  # black paint on a transparent ground is an object
        return not (mask[..., :3] if opaque.all() else opaque).any()
    return not mask.any()


def require_used(masks: Masks | None, frames: int, name: str) -> None:
    """Refuse masks of other frames than the first *frames*, as far as it is known beforehand which there are."""
    if isinstance(masks, Mapping):
        given: Iterable[tuple[int, Mask | None]] = masks.items()
    else:
        given = enumerate(masks) if isinstance(masks, Sized) else ()
    for index, mask in given:
        if index not in range(frames) and not _says_nothing(mask):
            raise MaskError(f"masks= has one of frame {index!r}, and {name} has frames 0 to {frames - 1}")
