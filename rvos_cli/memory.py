"""Which frames of a video are remembered: each one's keys and masks enter, references to read masks from leave.

Used by ``matching_tracker.py``. Does not grow with the video.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rvos_cli.model import References
from rvos_cli.reframing import Reframing


@dataclass(frozen=True, kw_only=True)
class MemoryRules:
    """Which frames are remembered as references, and how they are read.

    The first frame is kept (where it is looked at closely, all of it as well), the newest one in which a mask was given
    or an object found, such between them as show an object that neither does, and some others, which are read from the
    next but one frame on: so it is mostly known before a frame's step what the next one reads. The newest before it
    whose mask corrects somebody is kept, too, and then the next frame with a whole mask is read before its turn.

    Args:
        between: so many of those between them, the newest.
        every: of the others, one in so many,
        recent: and of these the newest so many.
        sharpness: see ``References``.
        favour: of the first and of those in which something was given or found, see ``References``.
        agreement: a mask that has less of it (IoU) with what was expected of an object says that it was mistaken for
            something else until then;
        doubt: what was given of it before counts so much less, as a logit.
    """

    between: int = 2
    every: int = 5
    recent: int = 3
    sharpness: float = 2.0
    favour: float = 3.0
    agreement: float = 0.7
    doubt: float = 4.5


class Memory:
    """The references of one video; all None before its first frame.

    Args:
        kept: what is read in this frame,
        next: in the next one, unless something changes,
        later: and from then on.
        last: the frame before this one.
    """

    rules = MemoryRules()

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.kept: References | None = None
        self.next: References | None = None
        self.later: References | None = None
        self.last: References | None = None
        # Of each trusted frame that has come, the objects that are not to be doubted.
        self._sure: tuple[frozenset[int], ...] = ()
        self._first = 1  # so many frames are the first one

    @property
    def far(self) -> References | None:
        """The whole first frame, where a part of it was looked at closely."""
        return self.later.frames(1, 2) if self.later is not None and self._first == 2 else None

    def trusted(self) -> Memory:
        """Return a memory of the frames alone that are trusted most."""
        memory = Memory()
        memory._sure, memory._first = self._sure, self._first
        memory.later = None if self.later is None else self.later.frames(0, self.later.trusted)
        return memory

    def behind_cut(self) -> Memory:
        """Return a memory of the same, to which the frame before is the one that is trusted most."""
        memory = Memory()
        memory._sure, memory._first = self._sure, self._first
        if self.later is not None:
            memory.kept = memory.next = memory.later = self.later
            believed = [n for n, row in enumerate(self.later.shares) if min(row, default=1.0) == 1] or [0]
            whole = self._first - 1  # behind a cut nothing is looked at closely
            believed = [whole] if whole in believed else believed
            frame = self.later.frames(believed[0], believed[0] + 1)
            memory.last = References(frame.keys, frame.masks)
        return memory

    def advance(self) -> None:
        """Go on to the next frame."""
        self.kept, self.next = self.next, self.later

    def select(self, objects: Sequence[int]) -> None:
        """Forget all but some of the objects, in their order."""
        if self.later is not None and self.last is not None:
            self._sure = tuple(frozenset(n for n, one in enumerate(objects) if one in sure) for sure in self._sure)
            self.kept = self.next = self.later = self.later.select(objects)
            self.last = self.last.select(objects)

    def doubt(self, objects: Sequence[int], *, gone: bool = False) -> None:
        """Believe little of frames that are trusted, and nothing of the others, where some objects are concerned.

        Which of it was right nobody says: what was given may have been wrong, or right until the object was lost. Of
        those who are *gone* it was right, and so is what somebody gave to correct it.
        """
        if self.later is None or not objects:
            return
        rows = [list(row) for row in self.later.shares]
        for place, row in enumerate(rows):
            for one in objects:
                if one < len(row):
                    row[one] = self._believed(row[one], place, one, gone=gone)
        self.later = replace(self.later, known=tuple(map(tuple, rows)))

    def _believed(self, share: float, place: int, one: int, *, gone: bool) -> float:
        """Return how much the frame at *place*, which had this *share*, counts for an object that is doubted."""
        if self.later is None or place >= self.later.trusted:
            return 0.0
        to_come = place >= len(self._sure)
        return share if gone or to_come or one in self._sure[place] else math.exp(-self.rules.doubt)

    def add(
        self, newest: References, index: int, *, changed: bool, sure: Collection[int] = (), keep: bool = False
    ) -> None:
        """Remember this frame.

        Args:
            newest: the frame itself.
            index: its number in the video.
            changed: whether a mask was given or an object found in it.
            sure: the objects of which its mask is not to be doubted.
            keep: whether it is one of the others that are kept in any case, and read from the next frame on.
        """
        self.last, rules = newest, self.rules
        if self.later is None or changed:
            trusted = self._given(newest, frozenset(sure))
            trusted = replace(trusted, sharpness=rules.sharpness, favour=rules.favour)
            recent = [] if self.later is None else [self.later.frames(self.later.trusted)]
            self.next = self.later = replace(sum(recent, trusted), trusted=len(trusted))
        elif keep or index % rules.every == 0:
            count = self.later.trusted
            some = self.later.frames(count) + newest
            self.later = self.later.frames(0, count) + some.frames(-rules.recent)
            self.next = self.later if keep else self.next

    def add_first(self, frame: References) -> None:
        """Keep the first frame, which has just been added, in another form as well."""
        if self.later is not None:
            both = self.later + frame
            self.next = self.later = replace(both, trusted=len(both))
            self._sure, self._first = (*self._sure, self._sure[0]), 2

    def reframe(self, reframing: Reframing) -> None:
        """Remember the last frame as another part of it shows it; where things were says nothing in the others."""
        if self.last is not None:
            keys = reframing.planes(self.last.keys[:, :, 0], "nearest")
            masks = reframing.planes(self.last.masks[:, :, 0])
            self.last = replace(self.last, keys=keys.unsqueeze(2), masks=masks.unsqueeze(2))

    def expect(self, frame: References | None) -> None:
        """Trust a frame that is yet to come in place of the one that was expected before, from the next one on."""
        if self.later is None:
            return
        given, recent = self.later.frames(0, len(self._sure)), self.later.frames(self.later.trusted)
        trusted = given if frame is None else given + frame
        self.next = self.later = replace(trusted + recent, trusted=len(trusted))

    def forget_expected(self) -> None:
        """Expect nobody, from this frame on: it is the one, and would be read with its own mask."""
        self.expect(None)
        self.kept = self.later

    def _given(self, newest: References, sure: frozenset[int]) -> References:
        """Return the frames to be trusted from now on, of those before and the newest, in their order."""
        if self.later is None:
            self._sure = (sure,)
            return newest
        frames = [self.later.frames(place, place + 1) for place in range(len(self._sure))]
        places = {*range(self._first), *[place for place, objects in enumerate(self._sure) if objects][-1:]}
        others = sum((frames[place] for place in places), newest)
        between = _only_shown_in(frames, set(range(len(frames))) - places, others)[-self.rules.between :]
        chosen = sorted(places | set(between))
        self._sure = (*(self._sure[place] for place in chosen), sure)
        return sum((frames[place] for place in chosen[1:]), frames[0]) + newest


def _only_shown_in(frames: Sequence[References], places: Collection[int], others: References) -> list[int]:
    """Return those *places* of frames that show an object better than any newer of them and than *others* do."""
    chosen: list[int] = []
    for place in sorted(places, reverse=True):
        frame = frames[place]
        shown, elsewhere = (_most_of(references, frame.masks.shape[1]) for references in (frame, others))
        if bool((shown > 2 * elsewhere).any()):
            chosen.insert(0, place)
            others = others + frame
    return chosen


def _most_of(references: References, objects: int) -> Tensor:
    """Return the largest share of a place that each object takes in the frames, (N,) of 0..1."""
    masks = references.widen(objects).masks[0, :objects].flatten(2).amax(dim=2)
    shares = masks.new_tensor([references.shares_of(place) for place in range(objects)]).view(masks.shape)
    return (masks * shares).amax(dim=1)
