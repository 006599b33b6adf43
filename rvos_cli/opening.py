"""With which of a video's first frames to begin, where objects are to be found.

What is found in a single frame hangs on luck: blur, a passer-by, a fade from black. So a few of the first frames are
looked at, each as if it were the first, and the one is chosen that found most surely what the others found as well.
What each look found enters, the chosen one's number leaves. Stands between ``trackers.py`` and ``session.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

GRID = 4  # pixels of the network's frame per cell of the masks that are compared
SURE, DOUBTFUL = 0.9, 0.1  # probabilities from which on a pixel is nearly certain, or perhaps of an object


@dataclass(frozen=True, kw_only=True)
class OpeningRules:
    """Which frames are looked at, and how one is chosen.

    Args:
        every: one in so many frames is looked at,
        looks: and so many in all, the first frame among them.
        sureness: weight of the share of nearly certain pixels, against likeness to what the others found.
        favour: what the first frame has ahead of the others.
        motion: the most that an object is moved to match another look's, in short sides of the frame.
    """

    every: int = 3
    looks: int = 5
    sureness: float = 0.75
    favour: float = 0.1
    motion: float = 0.12

    @property
    def frames(self) -> int:
        """How many frames have to be there for all looks."""
        return (self.looks - 1) * self.every + 1


class Look:
    """What was found in one frame, small enough to be compared.

    Attributes:
        masks: (N, h/4, w/4) bool, one plane an object.
        sureness: share of nearly certain pixels among those that may be of an object, 0..1; 0 where nothing is.
    """

    def __init__(self, logits: Tensor, threshold: float) -> None:
        """Take the logits (N, h, w) of what was found; *threshold* is the least probability inside a mask, 0..1."""
        height, width = logits.shape[-2] // GRID, logits.shape[-1] // GRID
        small = F.interpolate(logits[None].float(), size=(height, width), mode="area")[0] if len(logits) else logits
        likely = small.sigmoid()
        planes = likely.cpu().numpy() > threshold
        self.masks: NDArray[np.bool_] = planes[planes.any(axis=(1, 2))] if len(planes) else np.zeros((0, 1, 1), bool)
        perhaps = int((likely > DOUBTFUL).any(dim=0).sum()) if len(planes) else 0
        self.sureness = int((likely > SURE).any(dim=0).sum()) / perhaps if perhaps else 0.0


def choose(looks: Sequence[Look], rules: OpeningRules) -> int:
    """Return the number of the look to begin with; the first is that of the first frame.

    A look's score is its mean likeness to the others, plus its weighted sureness, plus the favour of the first.
    """
    scores = []
    for place, look in enumerate(looks):
        others = [*looks[:place], *looks[place + 1 :]]
        alike = np.mean([likeness(look, other, rules.motion) for other in others]) if others else 0.0
        scores.append(alike + rules.sureness * look.sureness + rules.favour * (place == 0))
    return int(np.argmax(scores))


def likeness(one: Look, other: Look, motion: float) -> float:
    """Say how much of the same two looks found, 0..1.

    The IoU of the objects that belong together, by the Hungarian method, each counted by the root of its area; what
    belongs to none counts as 0. Objects may have moved by up to *motion* short sides.
    """
    from scipy.optimize import linear_sum_assignment  # here: following a mask has no use for it

    if not len(one.masks) or not len(other.masks):
        return float(len(one.masks) == len(other.masks))
    reach = motion * min(one.masks.shape[1:])
    overlaps = np.array([[_overlap(mask, theirs, reach) for theirs in other.masks] for mask in one.masks])
    first, second = (np.sqrt(look.masks.sum(axis=(1, 2))) for look in (one, other))
    rows, columns = linear_sum_assignment(-overlaps)
    return float((overlaps[rows, columns] * (first[rows] + second[columns])).sum() / (first.sum() + second.sum()))


def _overlap(mask: NDArray[np.bool_], other: NDArray[np.bool_], reach: float) -> float:
    """Return the IoU of two masks, as they are or with *other* moved towards *mask*, whichever is more."""
    step = np.argwhere(mask).mean(axis=0) - np.argwhere(other).mean(axis=0)
    down, right = np.rint(np.clip(step, -reach, reach)).astype(int)
    return max(_iou(mask, other), _iou(mask, _moved(other, down, right)))


def _iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((mask & other).sum() / max(1, (mask | other).sum()))


def _moved(mask: NDArray[np.bool_], down: int, right: int) -> NDArray[np.bool_]:
    """Return the mask moved by whole cells; what leaves the picture is lost."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    target = moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    target[:] = mask[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    return moved
