"""What comes out of rvos: one ``FrameMasks`` a frame, one ``RunSummary`` a video.

Enters: a frame and its label map. Leaves: values that sinks write and Python callers read. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW = 16  # ids up to here are counted one by one
DOUBTFUL = 0.9  # a confidence below which a mask is mostly wrong in part
TOGETHER, FEWEST = 5, 3  # doubtful frames that are so close are one stretch, and so many of them count


@dataclass(frozen=True, kw_only=True, eq=False)  # no two arrays are simply equal
class FrameMasks:
    """One frame with its objects.

    Args:
        index: 0, 1, 2, ... in display order.
        time: seconds since the video's first frame.
        name: stem of the mask files: the frame's own stem for a folder, five digits for a video.
        image: (H, W, 3) uint8 RGB, as displayed.
        labels: (H, W) uint8, 0 = background, k = object k.
        duration: for how many seconds the source shows the frame, as far as it says; None where it does not.
        origin: where time 0 stands on the clock of the source's file, in seconds, as of this frame; None without one.
        confidence: by id, how probable the network holds an object to be where it sees it, on average, 0..1; 1 where a
            mask was given. Below 0.9 the mask is mostly wrong in part (``DOUBTFUL``).
    """

    index: int
    time: Fraction
    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    duration: Fraction | None = None
    origin: Fraction | None = None
    confidence: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def areas(self) -> dict[int, int]:
        """Pixels of each object that is seen, in the order of the ids."""
        areas: dict[int, int] = {}
        rest = int(np.count_nonzero(self.labels))
        for identity in range(
            1, FEW + 1
        ):  # a tenth of the time of bincount(), which makes 64-bit numbers of the labels
            if rest and (area := int(np.count_nonzero(self.labels == identity))):
                areas[identity], rest = area, rest - area
        if rest:
            counts = np.bincount(self.labels.ravel())
            areas |= {identity: int(counts[identity]) for identity in np.flatnonzero(counts).tolist() if identity > FEW}
        return areas


@dataclass(frozen=True, kw_only=True)
class ObjectSummary:
    """One object over the video: frames are indices, ``mean_area`` is pixels over the frames in which it is seen."""

    id: int
    first_frame: int | None
    last_frame: int | None
    frames_seen: int
    mean_area: float


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A stretch of frames, by their indices, in which an object's mask is doubtful, and its mean confidence there."""

    id: int
    first_frame: int
    last_frame: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What one run did; ``summary.json`` holds what ``to_dict`` makes of it (``size`` is height, width in pixels).

    ``options`` are those of the run; ``digest`` names input, first mask, options and weights together, so that two
    runs with the same digest do the same work (empty where input or mask is an array). ``input`` is the input as it was
    named, ``path`` where it lay, without links (empty for arrays). ``doubts`` are where it may be worth a look.
    """

    input: str
    frames: int
    fps: float | None
    size: tuple[int, int]
    objects: tuple[ObjectSummary, ...]
    outputs: dict[str, str]
    seconds: float
    frames_per_second: float
    device: str
    weights: str
    weights_sha256: str
    version: str
    mode: str
    warnings: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    path: str = ""
    doubts: tuple[Doubt, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; ``weights`` holds name and sha256."""
        values = asdict(self)
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        values["weights"] = {"name": self.weights, "sha256": values.pop("weights_sha256")}
        return values


@dataclass
class _Stretch:
    """Doubtful frames from *first* to *last*: how many, and their confidence in all."""

    first: int
    last: int
    frames: int = 0
    confidence: float = 0.0


@dataclass
class ObjectTally:
    """Counts, frame by frame, what ``ObjectSummary`` tells, in memory that does not grow with the frames.

    ``expected`` ids (those of a first mask) are reported even if they are never seen. A mask is doubtful from a
    confidence below ``doubtful`` on.
    """

    expected: tuple[int, ...] = ()
    doubtful: float = DOUBTFUL
    _seen: dict[int, list[int]] = field(default_factory=dict)  # id -> [first, last, frames, area]
    _doubts: dict[int, list[_Stretch]] = field(default_factory=dict)

    def add(self, frame: FrameMasks) -> None:
        """Count the objects of *frame*."""
        for identity, area in frame.areas.items():
            entry = self._seen.setdefault(identity, [frame.index, frame.index, 0, 0])
            entry[1] = frame.index
            entry[2] += 1
            entry[3] += area
        for identity, confidence in frame.confidence.items():
            if confidence < self.doubtful:
                self._doubt(identity, frame.index, confidence)

    def _doubt(self, identity: int, index: int, confidence: float) -> None:
        stretches = self._doubts.setdefault(identity, [])
        if not stretches or index - stretches[-1].last > TOGETHER:
            if stretches and stretches[-1].frames < FEWEST:
                stretches.pop()
            stretches.append(_Stretch(index, index))
        stretches[-1].last = index
        stretches[-1].frames += 1
        stretches[-1].confidence += confidence

    def doubts(self) -> tuple[Doubt, ...]:
        """Return where masks are doubtful, in the order of the frames."""
        doubts = [
            Doubt(id=one, first_frame=x.first, last_frame=x.last, confidence=round(x.confidence / x.frames, 3))
            for one, stretches in self._doubts.items()
            for x in stretches
            if x.frames >= FEWEST
        ]
        return tuple(sorted(doubts, key=lambda doubt: (doubt.first_frame, doubt.id)))

    def objects(self) -> tuple[ObjectSummary, ...]:
        """Return one summary per object, in the order of the ids."""
        summaries = []
        for identity in sorted({*self.expected, *self._seen}):
            first, last, frames, area = self._seen.get(identity, (None, None, 0, 0))
            summaries.append(
                ObjectSummary(
                    id=identity,
                    first_frame=first,
                    last_frame=last,
                    frames_seen=frames,
                    mean_area=round(area / frames, 1) if frames else 0.0,
                )
            )
        return tuple(summaries)
