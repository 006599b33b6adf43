"""What a whole mask says of the frames before it: followed frames enter, the same leave, put right on the way back.

A mask that somebody has put right shows an object as it was not followed. Where that went wrong nobody says; so the
object is followed from there back as well, to the frame in which both ways see the same. Stands between the recurrence
(``session.py``) and the sinks; only frames that a whole mask is yet to come for wait here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rvos_cli.given_masks import VideoMasks
from rvos_cli.results import FrameMasks

Picture = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Back = Callable[[Sequence[Picture]], Iterator[tuple[Labels, Mapping[int, float]]]]


@dataclass(frozen=True, kw_only=True)
class HindsightRules:
    """How far a mask says anything of the frames before it.

    Args:
        frames: so many of them at most,
        size: and no more than take so many bytes.
        agreement: both ways see the same where they have as much of an object in common (IoU);
        return_: where the mask says that it is gone, as much is enough.
        patience: nobody is looked for any further behind so many frames in which neither way sees anything.
    """

    frames: int = 100
    size: int = 512 * 2**20
    agreement: float = 0.8
    return_: float = 0.3
    patience: int = 10

    def room(self, image: Picture) -> int:
        """Return how many frames with a picture such as this one, and labels, may wait."""
        return min(self.frames, max(1, self.size // (image.nbytes + image[..., 0].nbytes)))


def with_hindsight(
    followed: Iterator[FrameMasks], masks: VideoMasks, back: Back, rules: HindsightRules | None = None
) -> Iterator[FrameMasks]:
    """Yield followed frames, those before a whole mask as it lets see them.

    Args:
        followed: the frames of a video, in order; those with a mask have its labels.
        masks: tells which frames have a whole mask.
        back: from pictures (H, W, 3), the newest first, to their labels (H, W) and the objects' confidence, as they are
            seen on the way back from the frame that was followed last; fewer, where they are not of its shot.
        rules: how far back.
    """
    rules, waiting = rules or HindsightRules(), deque[FrameMasks]()
    failure: Exception | None = None
    try:
        for frame in followed:
            waiting.append(frame)
            coming, room, whole = masks.next_whole(frame.index), rules.room(frame.image), masks.is_whole(frame.index)
            if whole:
                _put_right(waiting, back, rules)
            del frame  # it must not stay alive while the next one is awaited
            while waiting and (whole or coming is None or coming - waiting[0].index > room):
                yield waiting.popleft()
    except Exception as error:
        failure = error
    yield from waiting  # for a mask whose frame did not come
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # which holds this frame, and so what waited


def _put_right(frames: deque[FrameMasks], back: Back, rules: HindsightRules) -> None:
    """Put right what was followed to the last of the frames, which has a whole mask, by the way back from it."""
    before = [frames[place].image for place in range(len(frames) - 2, -1, -1)]
    if not before:
        return
    given = _ids(frames[-1].labels)
    open_, nowhere = given | _ids(frames[-2].labels), 0
    least = {one: rules.agreement if one in given else rules.return_ for one in open_}
    for place, (labels, confidence) in zip(range(len(frames) - 2, -1, -1), back(before), strict=False):
        frame, there = frames[place], frames[place].labels
        open_ = {one for one in open_ if not _agree(there == one, labels == one, least[one])}
        labels = np.where(np.isin(labels, list(open_ - given)), 0, labels)  # who is gone is not put elsewhere
        differing = np.isin(there, list(open_)) | np.isin(labels, list(open_))
        nowhere = 0 if differing.any() else nowhere + 1
        if not open_ or nowhere > rules.patience:
            return
        rest = {one: score for one, score in frame.confidence.items() if one not in open_}
        mended = {one: score for one, score in confidence.items() if one in open_ & given}
        frames[place] = replace(frame, labels=np.where(differing, labels, there), confidence=rest | mended)


def _ids(labels: Labels) -> set[int]:
    return {int(identity) for identity in np.unique(labels) if identity}


def _agree(one: NDArray[np.bool_], other: NDArray[np.bool_], least: float) -> bool:
    """Say whether both see an object, at the same place; where neither does, nothing is known."""
    either = int(np.count_nonzero(one | other))
    return either > 0 and int(np.count_nonzero(one & other)) >= least * either
