"""Pictures of scenes that nothing moves in, for tests of shots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from boxes import SIZE
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """A frame (H, W, 3) uint8."""

    image: NDArray[np.uint8]


def scene(seed: int, *, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Return a picture of large soft blobs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def noisy(frame: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """Return a frame so many times, each with noise of its own."""
    draw = np.random.default_rng(0)
    return [np.clip(frame + draw.normal(0, 4, frame.shape), 0, 255).astype(np.uint8) for _ in range(count)]
