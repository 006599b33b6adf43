"""The frames with whole masks that are yet to come: read and encoded before their turn, a few at a time.

Enters: their pictures and labels, in order. Leaves: what other frames are compared with. Between ``following.py``,
which knows the masks, and ``matching_tracker.py``, which remembers; driven by ``session.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Picture: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.uint8]
AnnotatedFrame: TypeAlias = tuple[int, Picture, Labels]  # index in the video, (H, W, 3) and (H, W)


@dataclass(frozen=True)
class Coming:
    """A frame that is yet to come, with its whole mask.

    Args:
        keys: (1, D, h/8, w/8), as ``Features`` has them.
        labels: (H, W) uint8, of the part of the frame that is looked at.
    """

    keys: Tensor
    labels: Labels


class Foresight:
    """Knows the next frames with whole masks of one video."""

    def __init__(self, annotated: Iterator[AnnotatedFrame], most: int) -> None:
        """Read from *annotated*, and nothing before it is asked for; know *most* frames at a time."""
        self._annotated, self._most = annotated, most
        self._coming: deque[tuple[int, Coming | None]] = deque()

    def behind(self, place: int, encode: Callable[[Picture, Labels], Coming | None]) -> Sequence[Coming]:
        """Return the next ones behind the frame number *place*; *encode* gives None for one that is of no use."""
        while self._coming and self._coming[0][0] <= place:
            self._coming.popleft()
        while len(self._coming) < self._most:
            with torch.inference_mode(False):
                frame = next(self._annotated, None)  # which may be anybody's code
            if frame is None:
                break
            index, image, labels = frame
            if index > place:
                self._coming.append((index, encode(image, labels)))
        return [coming for _, coming in self._coming if coming is not None]
