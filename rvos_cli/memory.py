"""Which frames of a video are remembered: each one's keys and masks enter, references to read masks from leave.

Used by ``trackers.py``. Does not grow with the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rvos_cli.model import References


@dataclass(frozen=True, kw_only=True)
class MemoryRules:
    """Which frames are remembered as references, and how they are read.

    The first frame is kept, the newest one in which a mask was given or an object found, and some in between, which are
    read from the next but one frame on: so it is mostly known before a frame's step what the next one reads.

    Args:
        every: of the others, one in so many,
        recent: and of these the newest so many.
        sharpness: see ``References``.
        favour: of the first two, see ``References``.
    """

    every: int = 5
    recent: int = 3
    sharpness: float = 2.0
    favour: float = 3.0


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

    def behind_cut(self) -> Memory:
        """Return a memory of the same, to which the frame before is the one that is trusted most."""
        memory = Memory()
        if self.later is not None:
            memory.kept = memory.next = memory.later = self.later
            first = self.later.frames(0, 1)
            memory.last = References(first.keys, first.masks)
        return memory

    def advance(self) -> None:
        """Go on to the next frame."""
        self.kept, self.next = self.next, self.later

    def select(self, objects: Sequence[int]) -> None:
        """Forget all but some of the objects, in the order given."""
        if self.later is not None and self.last is not None:
            self.kept = self.next = self.later = self.later.select(objects)
            self.last = self.last.select(objects)

    def add(self, newest: References, index: int, *, changed: bool) -> None:
        """Remember this frame, number *index* of the video; *changed* if a mask was given or an object found in it."""
        self.last, rules = newest, self.rules
        if self.later is None:
            self.next = self.later = replace(newest, sharpness=rules.sharpness, favour=rules.favour)
        elif changed:
            recent = self.later.frames(self.later.trusted)
            self.next = self.later = replace(self.later.frames(0, 1) + newest + recent, trusted=2)
        elif index % rules.every == 0:
            trusted = self.later.trusted
            recent = self.later.frames(trusted) + newest
            self.later = self.later.frames(0, trusted) + recent.frames(-rules.recent)
