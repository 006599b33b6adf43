"""From boxes to masks: a picture and the box of each object enter, its labels leave, for a session to follow.

Stands before ``session.py``, where boxes are given instead of a first mask; looks at each box closely, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rvos_cli.boxes import Box, grid, inside_of, share_inside, shown, window
from rvos_cli.errors import MaskError
from rvos_cli.model import RVOS
from rvos_cli.preprocess import frame_tensor
from rvos_cli.views import ViewRules, view_of

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class OutlineRules:
    """How boxes are looked at.

    Args:
        contexts: how much of the picture around a box, one look for each: so many times its size.
        side: of the square that has as many pixels as the network's picture.
        view: what makes a picture too dark or hazy.
    """

    contexts: tuple[float, ...] = (1.3, 1.8)
    side: int = 320
    view: ViewRules = field(default_factory=ViewRules)


@dataclass(frozen=True, eq=False)
class Outlines:
    """What stands in boxes.

    Args:
        labels: (H, W) uint8, 0 = background, k = object k.
        confidence: by id, how probable the network holds each object to be where it sees it, on average, 0..1.
    """

    labels: Labels
    confidence: dict[int, float]


class Outliner:
    """Outlines the objects in boxes with one network."""

    def __init__(
        self, model: RVOS, device: torch.device, dtype: torch.dtype, rules: OutlineRules | None = None
    ) -> None:
        """Use a *model* that has ``boxes``, in eval mode on *device*; a 16-bit *dtype* is for autocast."""
        self._model, self._device, self._dtype = model, device, dtype
        self._rules = rules or OutlineRules()

    def outline(self, image: NDArray[np.uint8], boxes: Mapping[int, Box], threshold: float) -> Outlines:
        """Return the objects of *boxes*, by id, in a picture (H, W, 3) uint8 RGB.

        A pixel belongs to the object that is most probable there, if that is more probable than the *threshold*, 0..1.
        Where nothing in a box is, half of the highest probability there takes its place.

        Raises:
            MaskError: a box lies outside of the picture, or nothing is left of one beside the others.
        """
        size = (image.shape[0], image.shape[1])
        picture = view_of([image], self._rules.view).in_whole().of(image)
        labels, best = np.zeros(size, np.uint8), np.zeros(size, np.float32)
        confidence: dict[int, float] = {}
        for identity, box in boxes.items():
            inside = inside_of(box, size)
            rows, columns = window(inside, size, 1)
            probable = self._probabilities(picture, inside, rows, columns)
            over = probable > min(threshold, probable.max() / 2)
            confidence[identity] = float(probable[over].mean())
            wins = over & (probable > best[rows, columns])
            labels[rows, columns][wins], best[rows, columns][wins] = identity, probable[wins]
        for identity, box in boxes.items():
            if not (labels == identity).any():
                raise MaskError(
                    f"nothing is left of the object in the box {shown(box)} beside the others",
                    cure="give one box for each object",
                )
        return Outlines(labels, confidence)

    def _probabilities(self, picture: NDArray[np.uint8], box: Box, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return how probable the box's object is in these rows and columns, which hold the box; 0 outside of it."""
        size = picture.shape[0], picture.shape[1]
        looks = [
            self._look(picture, box, window(box, size, context), rows, columns) for context in self._rules.contexts
        ]
        part = rows.stop - rows.start, columns.stop - columns.start
        answer: NDArray[np.float32] = np.mean(looks, axis=0) * (share_inside(box, rows, columns, part) >= 0.5)
        return answer

    @torch.inference_mode()
    def _look(
        self, picture: NDArray[np.uint8], box: Box, around: tuple[slice, slice], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Return the mean answer to what is *around* the box and to its mirror image, in these rows and columns."""
        part = picture[around]
        size = grid((part.shape[0], part.shape[1]), self._rules.side)
        pixels = frame_tensor(part, size, self._model.config, self._device, torch.float32)
        inside = torch.from_numpy(share_inside(box, *around, size)).to(self._device)[None, None]
        both = (torch.cat([x, x.flip(-1)]) for x in (pixels, inside))
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
            straight, mirrored = self._model.outline(*both)[-1].float().sigmoid()
        mean = (straight + mirrored.flip(-1))[None] / 2
        full = F.interpolate(mean, size=part.shape[:2], mode="bilinear", align_corners=False)[0, 0]
        answer: NDArray[np.float32] = full[_within(rows, around[0]), _within(columns, around[1])].cpu().numpy()
        return answer


def _within(part: slice, whole: slice) -> slice:
    """Return where a part of a *whole* stretch lies in it."""
    return slice(part.start - whole.start, part.stop - whole.start)
