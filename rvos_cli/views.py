"""What a network is shown of a shot's frames: frames enter, the view of them leaves, and through it what is looked at.

A view is what is between black bars (``picture_area.py``), or a part of that which is looked at closely, well exposed
where the shot is dark or hazy (``exposure.py``). Used by ``session.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rvos_cli.exposure import ExposureRules, is_poor, well_exposed
from rvos_cli.picture_area import BarRules, PictureArea, picture_area, whole_area

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ViewRules:
    """What makes black bars, and what is too dark or hazy."""

    bars: BarRules = field(default_factory=BarRules)
    exposure: ExposureRules = field(default_factory=ExposureRules)


@dataclass(frozen=True, eq=False)
class View:
    """How the frames of a shot are looked at.

    Args:
        area: the part of them,
        poor: whether that is too dark or hazy.
        rules: by which this was told.
        window: the part of the area that is looked at; None for all of it.
    """

    area: PictureArea
    poor: bool = False
    rules: ViewRules = field(default_factory=ViewRules)
    window: PictureArea | None = None

    @property
    def looked_at(self) -> PictureArea:
        """The part of a frame that ``of`` returns."""
        return self.window or self.area

    def of(self, frame: Picture) -> Picture:
        """Return what is looked at of a frame (H, W, 3): (h, w, 3)."""
        part = self.looked_at.of(frame)
        return well_exposed(part, self.rules.exposure) if self.poor else part

    def holds(self, frame: Picture, mask: Picture | None) -> bool:
        """Say whether a frame (H, W, 3) has its bars still, and a mask (H, W) names nothing in them."""
        return self.area.holds(frame, mask, self.rules.bars)

    def part(self, rows: tuple[int, int], columns: tuple[int, int]) -> View:
        """Return the same of these rows and columns of a frame, each with its first and last, exclusive."""
        return replace(self, window=PictureArea(self.area.size, slice(*rows), slice(*columns)))

    def in_whole(self) -> View:
        """Return the same of whole frames."""
        return View(whole_area(self.area.size), self.poor, self.rules)


def view_of(frames: Sequence[Picture], rules: ViewRules) -> View:
    """Return the view of *frames*, (H, W, 3) uint8 RGB of one shot and at least one."""
    area = picture_area(frames, rules.bars)
    return View(area, is_poor([area.of(frame) for frame in frames], rules.exposure), rules)


def plain_view(frame: Picture) -> View:
    """Return the view of frames (H, W, 3) as they are."""
    return View(whole_area((frame.shape[0], frame.shape[1])))
