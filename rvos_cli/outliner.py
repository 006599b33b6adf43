"""From prompts to masks: a picture and a box or points of each object enter, its labels leave, for a session to follow.

Stands before ``session.py``, where boxes or points are given instead of a first mask; looks at each object closely, by
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rvos_cli.boxes import Pixels, pixels_of, window
from rvos_cli.errors import MaskError
from rvos_cli.extents import Bounds, Place, box_of, ends_in, part_around, pieces_at
from rvos_cli.model import RVOS
from rvos_cli.picture_area import PictureArea
from rvos_cli.points import Point
from rvos_cli.preprocess import box_plane, frame_tensor, network_size_of_part, point_plane
from rvos_cli.prompts import Prompt
from rvos_cli.views import ViewRules, view_of

Labels = NDArray[np.uint8]
Seen: TypeAlias = tuple[Place, NDArray[np.float32]]  # how probable an object is in a place


@dataclass(frozen=True)
class OutlineRules:
    """How objects are looked at, and who has what two of them hold.

    Args:
        contexts: how much of the picture is shown around a box, see ``window``; the answers to all of these count
            alike.
        side: of the square that has as many pixels as the network's picture.
        scales: heights and widths of what is shown around points to find out how large their object is, in those of the
            picture, of which the last is 1. Of the outlines that come of it, the surest counts.
        narrowest: least side of what is taken for such an object's box, in pixels.
        same: share of the larger outline of two from which on they have in common what makes them one object: two
            boxes around it are refused, points share it out.
        nested: share of the smaller outline that lies within the larger one if it is before that, as somebody before a
            bus.
        left: least share of an outline that others leave to it.
        view: what makes black bars, and what is too dark or hazy.
    """

    contexts: tuple[float, ...] = (1.3, 1.8)
    side: int = 320
    scales: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1)
    narrowest: int = 6
    same: float = 0.8
    nested: float = 0.8
    left: float = 0.1
    view: ViewRules = field(default_factory=ViewRules)


@dataclass(frozen=True, eq=False)
class Outlines:
    """What stands in boxes, or at points.

    Args:
        labels: (H, W) uint8, 0 = background, k = object k.
        confidence: by id, how probable the network holds each object to be where it sees it, on average, 0..1.
    """

    labels: Labels
    confidence: dict[int, float]


@dataclass(frozen=True, eq=False)
class _Outline:
    """One object, by itself: how probable it is (h, w) in some place, and where it is above the threshold."""

    place: Place
    probable: NDArray[np.float32]
    over: NDArray[np.bool_]

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.over))

    def within(self, place: Place) -> NDArray[np.bool_]:
        """Return where it is above the threshold in another place."""
        there = np.zeros(_shape(place), bool)
        here, own = _common(place, self.place)
        there[here] = self.over[own]
        return there


class Outliner:
    """Outlines the objects in boxes, and at points, with one network."""

    def __init__(
        self, model: RVOS, device: torch.device, dtype: torch.dtype, rules: OutlineRules | None = None
    ) -> None:
        """Use a *model* that has ``boxes``, in eval mode on *device*; a 16-bit *dtype* is for autocast.

        Points are for one that has ``points``.
        """
        self._model, self._device, self._dtype = model, device, dtype
        self._rules = rules or OutlineRules()

    def outline(self, image: NDArray[np.uint8], prompts: Mapping[int, Prompt], threshold: float) -> Outlines:
        """Return the objects of *prompts*, by id, in a picture (H, W, 3) uint8 RGB.

        A pixel of a box is the object's where that is more probable than the *threshold*, 0..1, or, where it nowhere
        is, than half of its highest probability. Where there are points alone, pieces far from them are not its own. Of
        two objects the one that lies within the other has the pixels that both claim, otherwise the one that is more
        probable there.

        Raises:
            MaskError: a box or point lies outside of the picture, two boxes are around the same thing, or others hold
                all of one object.
        """
        for prompt in prompts.values():
            prompt.require_within((image.shape[0], image.shape[1]))
        view = view_of([image], self._rules.view)
        picture = view.in_whole().of(image)
        found = {
            identity: self._outlined(picture, prompt, view.area, threshold) for identity, prompt in prompts.items()
        }
        labels = self._shared_out(found, prompts, (image.shape[0], image.shape[1]))
        own = {one: each.probable[labels[each.place] == one] for one, each in found.items()}
        return Outlines(labels, {one: float(some.mean()) if some.size else 0.0 for one, some in own.items()})

    def _shared_out(
        self, found: Mapping[int, _Outline], prompts: Mapping[int, Prompt], size: tuple[int, int]
    ) -> Labels:
        """Return labels (H, W): the largest outlines come first, so that what lies within another one is before it."""
        labels, best = np.zeros(size, np.uint8), np.zeros(size, np.float32)
        order = sorted(found, key=lambda one: (-found[one].area, str(prompts[one])))
        for rank, identity in enumerate(order):
            each = found[identity]
            here, wins = labels[each.place], each.over & (each.probable > best[each.place])
            for other in order[:rank]:
                shared = each.over & found[other].within(each.place)
                common = np.count_nonzero(shared)
                if common and common >= self._rules.same * found[other].area:
                    if prompts[other].box is not None and prompts[identity].box is not None:
                        raise MaskError(
                            f"{prompts[other]} and {prompts[identity]} are around the same thing",
                            cure="give one box for each object",
                        )
                    continue  # points on either are beside the other, which so is less probable there
                if common >= self._rules.nested * each.area:
                    wins |= shared & (here == other)
            here[wins], best[each.place][wins] = identity, each.probable[wins]
        for identity, each in found.items():
            if np.count_nonzero(labels == identity) < self._rules.left * each.area:
                raise MaskError(
                    f"{prompts[identity]} names hardly anything but what others name",
                    cure="leave out this one or those of its parts",
                )
        return labels

    def _outlined(self, picture: NDArray[np.uint8], prompt: Prompt, area: PictureArea, threshold: float) -> _Outline:
        """Return one object: what is its own of its box, or of what is around its points."""
        if prompt.box is not None:
            box = _between_bars(pixels_of(prompt.box, picture.shape[:2]), area)
            place = slice(box[1], box[3]), slice(box[0], box[2])
            probable = self._closely(picture, prompt, box, place)
            return _Outline(place, probable, _over(probable, threshold))
        bounds = _bounds(prompt.on, area, picture)
        boxes = dict.fromkeys(self._boxes_around(picture, prompt, bounds, threshold))
        return max((self._at_points(picture, prompt, box, bounds, threshold) for box in boxes), key=_sureness)

    def _at_points(
        self, picture: NDArray[np.uint8], prompt: Prompt, box: Pixels, bounds: Bounds, threshold: float
    ) -> _Outline:
        """Return the object at points as it is seen when about this *box* is looked at."""
        around = window(box, (picture.shape[0], picture.shape[1]), max(self._rules.contexts))
        rows, columns = (
            slice(max(part.start, first), min(part.stop, last))
            for part, (first, last) in zip(around, bounds, strict=True)
        )
        place = rows, columns
        probable = self._closely(picture, prompt, box, place)
        return _Outline(place, probable, pieces_at(_over(probable, threshold), prompt.on, place))

    def _boxes_around(
        self, picture: NDArray[np.uint8], prompt: Prompt, bounds: Bounds, threshold: float
    ) -> list[Pixels]:
        """Return boxes around the object at points, as parts of the picture show it: those that hold it all."""
        boxes = list[Pixels]()
        for scale in self._rules.scales:
            part = part_around(prompt.on, bounds, scale)
            _, probable = self._look(picture, prompt, part, None)
            mask = pieces_at(_over(probable, threshold), prompt.on, part)
            box = box_of(mask, prompt.on, part, self._rules.narrowest)
            if ends_in(box, part, bounds):
                boxes.append(box)
        return boxes

    def _closely(self, picture: NDArray[np.uint8], prompt: Prompt, box: Pixels, place: Place) -> NDArray[np.float32]:
        """Return how probable an object is in a place of the picture (h, w), when what is around a box is looked at."""
        size, told = (picture.shape[0], picture.shape[1]), box if prompt.box is not None else None
        looks = [self._look(picture, prompt, window(box, size, context), told) for context in self._rules.contexts]
        return _mean(looks, place)

    @torch.inference_mode()
    def _look(self, picture: NDArray[np.uint8], prompt: Prompt, part: Place, box: Pixels | None) -> Seen:
        """Return the mean answer to a part of the picture and to the mirror image of that."""
        rows, columns = part
        pixels = picture[part]
        size = network_size_of_part((pixels.shape[0], pixels.shape[1]), self._rules.side)
        everywhere = columns.start, rows.start, columns.stop, rows.stop
        shown = [
            frame_tensor(pixels, size, self._model.config, self._device, torch.float32),
            box_plane(box or everywhere, rows, columns, size, self._device),
        ]
        if self._model.config.points:
            told = [point_plane(some, rows, columns, size, self._device) for some in (prompt.on, prompt.beside)]
            shown.append(torch.cat(told, dim=1))
        both = (torch.cat([x, x.flip(-1)]) for x in shown)
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
            straight, mirrored = self._model.outline(*both)[-1].float().sigmoid()
        mean = (straight + mirrored.flip(-1))[None] / 2
        # Antialiased, since a small part is shown enlarged: single places of the answer are no pixels of the picture.
        full = F.interpolate(mean, size=pixels.shape[:2], mode="bilinear", align_corners=False, antialias=True)[0, 0]
        return part, full.cpu().numpy()


def _over(probable: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return where an object is, above the threshold, or above half of its highest probability if that is less."""
    most = float(probable.max())
    over: NDArray[np.bool_] = probable > (threshold if most > threshold else most / 2)
    return over


def _sureness(outline: _Outline) -> float:
    """Return how probable an object is on average where it is seen; -1 if it is seen nowhere."""
    return float(outline.probable[outline.over].mean()) if outline.over.any() else -1.0


def _mean(looks: Sequence[Seen], place: Place) -> NDArray[np.float32]:
    """Return the mean of what looks show of a *place*, of each pixel by those that show it."""
    total, count = np.zeros(_shape(place), np.float32), np.zeros(_shape(place), np.float32)
    for part, probable in looks:
        here, own = _common(place, part)
        total[here] += probable[own]
        count[here] += 1
    np.divide(total, count, out=total, where=count > 0)
    return total


def _bounds(points: Sequence[Point], area: PictureArea, picture: NDArray[np.uint8]) -> Bounds:
    """Return what lies between black bars; all of the picture where a point lies in one."""
    (above, below), (first, last) = area.bounds
    if all(first <= x <= last and above <= y <= below for x, y in points):
        return area.bounds
    return (0, picture.shape[0]), (0, picture.shape[1])


def _between_bars(box: Pixels, area: PictureArea) -> Pixels:
    """Return the part of a box between black bars; all of it where it lies in one."""
    left, top, right, bottom = box
    (above, below), (first, last) = area.bounds
    part = max(left, first), max(top, above), min(right, last), min(bottom, below)
    return part if part[0] < part[2] and part[1] < part[3] else box


def _shape(place: Place) -> tuple[int, int]:
    rows, columns = place
    return rows.stop - rows.start, columns.stop - columns.start


def _common(place: Place, other: Place) -> tuple[Place, Place]:
    """Return what two places have in common as a part of one and of the other."""
    firsts = [max(a.start, b.start) for a, b in zip(place, other, strict=True)]
    lasts = [max(first, min(a.stop, b.stop)) for first, a, b in zip(firsts, place, other, strict=True)]
    here, there = (
        tuple(
            slice(first - side.start, last - side.start) for first, last, side in zip(firsts, lasts, whole, strict=True)
        )
        for whole in (place, other)
    )
    return here, there  # type: ignore[return-value]
