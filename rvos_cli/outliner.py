"""From boxes to masks: a picture and the box of each object enter, its labels leave, for a session to follow.

Stands before ``session.py``, where boxes are given instead of a first mask; looks at each box closely, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rvos_cli.boxes import Box, Pixels, pixels_of, shown, window
from rvos_cli.errors import MaskError
from rvos_cli.model import RVOS
from rvos_cli.picture_area import PictureArea
from rvos_cli.preprocess import box_plane, frame_tensor, network_size_of_part
from rvos_cli.views import ViewRules, view_of

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class OutlineRules:
    """How boxes are looked at, and who has what two of them hold.

    Args:
        contexts: how much of the picture is shown, see ``window``; the answers to all of these count alike.
        side: of the square that has as many pixels as the network's picture.
        same: share of the larger outline of two from which on they have in common what makes them one object.
        nested: share of the smaller outline that lies within the larger one if it is before that, as somebody before a
            bus.
        left: least share of an outline that others leave to it.
        view: what makes black bars, and what is too dark or hazy.
    """

    contexts: tuple[float, ...] = (1.3, 1.8)
    side: int = 320
    same: float = 0.8
    nested: float = 0.8
    left: float = 0.1
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


@dataclass(frozen=True, eq=False)
class _Outline:
    """One object, by itself: how probable it is (h, w) in its box, and where it is above the threshold."""

    place: tuple[slice, slice]
    probable: NDArray[np.float32]
    over: NDArray[np.bool_]

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.over))

    def within(self, place: tuple[slice, slice]) -> NDArray[np.bool_]:
        """Return where it is above the threshold in another place."""
        there = np.zeros([part.stop - part.start for part in place], bool)
        common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, self.place, strict=True)]
        if all(part.start < part.stop for part in common):
            here, own = (tuple(map(_within, common, whole)) for whole in (place, self.place))
            there[here] = self.over[own]
        return there


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

        A pixel of a box is the object's where that is more probable than the *threshold*, 0..1, or, where it nowhere
        is, than half of its highest probability. Of two objects the one that lies within the other has the pixels that
        both claim, otherwise the one that is more probable there.

        Raises:
            MaskError: a box lies outside of the picture, two are around the same thing, or others hold all of one.
        """
        view = view_of([image], self._rules.view)
        picture = view.in_whole().of(image)
        found = {
            identity: self._outlined(picture, _between_bars(pixels_of(box, image.shape[:2]), view.area), threshold)
            for identity, box in boxes.items()
        }
        labels = self._shared_out(found, boxes, (image.shape[0], image.shape[1]))
        own = {one: each.probable[labels[each.place] == one] for one, each in found.items()}
        return Outlines(labels, {one: float(probable.mean()) for one, probable in own.items()})

    def _shared_out(self, found: Mapping[int, _Outline], boxes: Mapping[int, Box], size: tuple[int, int]) -> Labels:
        """Return labels (H, W): the largest outlines come first, so that what lies within another one is before it."""
        labels, best = np.zeros(size, np.uint8), np.zeros(size, np.float32)
        order = sorted(found, key=lambda one: (-found[one].area, boxes[one]))
        for rank, identity in enumerate(order):
            each = found[identity]
            here, wins = labels[each.place], each.over & (each.probable > best[each.place])
            for other in order[:rank]:
                shared = each.over & found[other].within(each.place)
                common = np.count_nonzero(shared)
                if common >= self._rules.same * found[other].area:
                    raise MaskError(
                        f"the boxes {shown(boxes[other])} and {shown(boxes[identity])} are around the same thing",
                        cure="give one box for each object",
                    )
                if common >= self._rules.nested * each.area:
                    wins |= shared & (here == other)
            here[wins], best[each.place][wins] = identity, each.probable[wins]
        for identity, each in found.items():
            if np.count_nonzero(labels == identity) < self._rules.left * each.area:
                raise MaskError(
                    f"the box {shown(boxes[identity])} holds hardly anything but what other boxes hold",
                    cure="leave out this one or those of its parts",
                )
        return labels

    def _outlined(self, picture: NDArray[np.uint8], box: Pixels, threshold: float) -> _Outline:
        left, top, right, bottom = box
        place = slice(top, bottom), slice(left, right)
        probable = np.mean([self._look(picture, box, place, context) for context in self._rules.contexts], axis=0)
        most = float(probable.max())
        return _Outline(place, probable, probable > (threshold if most > threshold else most / 2))

    @torch.inference_mode()
    def _look(
        self, picture: NDArray[np.uint8], box: Pixels, place: Sequence[slice], context: float
    ) -> NDArray[np.float32]:
        """Return the mean answer in a box to what is in and around it, and to the mirror image of that."""
        rows, columns = window(box, (picture.shape[0], picture.shape[1]), context)
        part = picture[rows, columns]
        size = network_size_of_part((part.shape[0], part.shape[1]), self._rules.side)
        pixels = frame_tensor(part, size, self._model.config, self._device, torch.float32)
        inside = box_plane(box, rows, columns, size, self._device)
        both = (torch.cat([x, x.flip(-1)]) for x in (pixels, inside))
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
            straight, mirrored = self._model.outline(*both)[-1].float().sigmoid()
        mean = (straight + mirrored.flip(-1))[None] / 2
        full = F.interpolate(mean, size=part.shape[:2], mode="bilinear", align_corners=False)[0, 0]
        answer: NDArray[np.float32] = full[_within(place[0], rows), _within(place[1], columns)].cpu().numpy()
        return answer


def _between_bars(box: Pixels, area: PictureArea) -> Pixels:
    """Return the part of a box between black bars; all of it where it lies in one."""
    left, top, right, bottom = box
    (above, below), (first, last) = area.bounds
    part = max(left, first), max(top, above), min(right, last), min(bottom, below)
    return part if part[0] < part[2] and part[1] < part[3] else box


def _within(part: slice, whole: slice) -> slice:
    """Return where a part of a *whole* stretch lies in it."""
    return slice(part.start - whole.start, part.stop - whole.start)
