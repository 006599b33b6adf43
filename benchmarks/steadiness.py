"""How steady the masks of a video are: label maps enter with the true ones, one number leaves for ``accuracy.py``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]


class Steadiness:
    """How far the mask of one frame is that of the next, where the truth stands still."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._before: tuple[Labels, Labels] | None = None
        self._values: list[float] = []

    def feed(self, labels: Labels, truth: Labels) -> None:
        """Compare the labels (H, W) of a frame with those of the one before."""
        if self._before is not None:
            still = truth == self._before[1]
            now, before = (labels > 0) & still, (self._before[0] > 0) & still
            either = int((now | before).sum())
            if either:
                self._values.append(int((now & before).sum()) / either)
        self._before = labels.copy(), truth

    @property
    def mean(self) -> float:
        """The mean IoU, 0..1; 1 where there was never a mask."""
        return float(np.mean(self._values)) if self._values else 1.0
