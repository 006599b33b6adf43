"""Who is who by matching, as ``lite`` does it: an encoded frame enters, what is seen of every object leaves.

Known objects are followed by a memory of reference frames, new ones are looked for, and whoever is missing is waited
for. Driven by ``session.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rvos_cli.cells import NOWHERE, cells_above
from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.continuity import Cells
from rvos_cli.discovery import DiscoveryRules, new_objects, seen_twice
from rvos_cli.foresight import Coming
from rvos_cli.memory import Memory
from rvos_cli.model import RecurrentState, References
from rvos_cli.model.rvos import StepOutput
from rvos_cli.motion import MotionRules
from rvos_cli.newcomers import Newcomers
from rvos_cli.occluders import Occluders
from rvos_cli.picture_area import PictureArea
from rvos_cli.presence import Absence, Appearance
from rvos_cli.reframing import Reframing
from rvos_cli.sight import Labels, Seen
from rvos_cli.standing import StandingRules, standing
from rvos_cli.trackers import EncodedFrame, Tracker
from rvos_cli.whereabouts import Whereabouts


@dataclass(frozen=True)
class Finds:
    """What was found in a frame: logits (M, h, w), and a state of as many slots."""

    logits: Tensor
    state: RecurrentState


class MatchingTracker(Tracker):
    """The lite behaviour: known objects are followed by the memory of reference frames, new ones are looked for."""

    rules = DiscoveryRules()
    standing_rules = StandingRules()
    motion_rules = MotionRules()

    def _start(self) -> None:
        self.index = -1
        self.memory = Memory()
        self.coming: Coming | None = None  # the next frame with a whole mask, where it says something of this one
        self._expected: Coming | None = None  # what of that is remembered
        self._corrected: frozenset[int] = frozenset()  # who has been put right by a mask
        self._absence = Absence(self.model.matching.temperature)
        self._whereabouts = Whereabouts(self.options.threshold)
        self.doubts = True  # whether masks may contradict what was followed
        self._from_before: frozenset[int] = frozenset()  # of another shot, and not given in this one
        self._found_before: list[Cells] = []  # by the last frame's search, whether it counted or not
        self._newcomers = Newcomers()
        self._occluders = Occluders(self.model.matching.temperature)
        self._area: PictureArea | None = None  # which part of the last frame was looked at

    def look_at(self, area: PictureArea) -> None:
        """Go on in another part of the frames, which are seen there at the same size as before."""
        before, self._area = self._area, area
        if before is None or before.bounds == area.bounds:
            return
        reframing = Reframing(before, area)
        self.masks = None if self.masks is None else reframing.planes(self.masks)
        self.state = None if self.state is None else self.state.map(reframing.planes)
        self.memory.reframe(reframing)
        self._whereabouts.reframe(reframing)
        self._absence = self._absence.enlarged(reframing.growth)

    def remember_first(self, frame: EncodedFrame, mask: Labels) -> None:
        """Remember the first frame, just after its step, as it looks from farther away: somebody may return there."""
        assert frame.features.keys is not None
        self.memory.add_first(References.of(frame.features.keys, self._planes(mask, self.ids, frame.size)))

    def behind_cut(self) -> MatchingTracker:
        """Return another one for the same objects, where each is missing until it is seen again."""
        other = copy.copy(self)
        other.memory, other._whereabouts = self.memory.behind_cut(), Whereabouts(self.options.threshold)
        other._shown, other._from_before = dict(self._shown), frozenset(self.ids)
        absence, sizes = self._absence_in_whole(), self._sizes_in(None)
        other._absence = absence.behind_cut(self.ids, self.memory.later, sizes)
        other.camera, other._area = None, None
        other._occluders = self._occluders.anew()
        other.state, other.masks = None, None if self.masks is None else torch.zeros_like(self.masks)
        return other

    @property
    def foresees(self) -> bool:
        """Whether a frame that is yet to come says something of this one: of those alone who have been put right.

        What others were named by may be wrong, which the next mask could not tell of frames that go by it already.
        """
        return bool(self._corrected)

    def turned(self) -> MatchingTracker:
        """Return another one that may go on from here as well, back through the frames, and looks for nobody."""
        other = copy.copy(self)
        other.memory, other._whereabouts = copy.copy(self.memory), self._whereabouts.copy()
        other._shown, other._absence, other.discover = dict(self._shown), self._absence.among(self.ids), False
        other.camera = None if self.camera is None else self.camera.copy()
        other.pause()
        return other

    def pause(self) -> None:
        """See ``Tracker.pause``; where things were in its last frames says nothing when it goes on."""
        super().pause()
        self._newcomers, self._found_before, self._occluders = Newcomers(), [], self._occluders.anew()

    def miss(self, other: MatchingTracker) -> None:
        """Miss whom *other* misses: nobody knows where they are."""
        self._absence = other._absence_in_whole().among(self.ids)
        for slot, identity in enumerate(self.ids):
            if identity in self._absence.ids and self.masks is not None:
                self.masks[:, slot] = 0
                self._whereabouts.forget(identity)

    def behind_fade(self) -> MatchingTracker:
        """Return the same behind frames that showed another scene, too: only what was given or found is believed."""
        other = copy.copy(self)
        other.memory = self.memory.trusted()
        other._absence = self._absence.among(())  # who went while it faded was seen in mixtures last
        return other.behind_cut()

    def step(self, frame: EncodedFrame, mask: Labels | None, *, whole: bool = False) -> Seen:
        """Advance one frame; see ``Tracker.step``."""
        self.index += 1
        self.memory.advance()
        self._make_room()
        sure = frozenset[int]() if mask is None else self._go_by(mask, frame, whole=whole)
        known = len(self.ids)
        searching = self._free_slots()
        if known + searching[0] == 0:
            return self._seen(self._nobody(frame), (), frame)
        fresh = self._as_if_first(frame)
        for free in searching:
            out = self._decode(frame, known + free, known)
            seen = self._seen(self._absence.without_missing(self.ids, out.logits[0], out.keys), self.ids, frame)
            followed = self._whereabouts.keep_in_place(self.ids, seen)
            sources, found = self._search(seen, followed, frame)
            if free - 1 not in sources:
                break  # the last slot found nothing, and no slot behind it would have
        finds = Finds(found, out.state.select([known + slot for slot in sources]))
        if fresh is not None:
            finds = self._with_newcomers(finds, fresh, followed)
        finds = finds if self.index == 0 else self._found_again(finds)
        self._admit(len(finds.logits))
        if followed is not seen.logits or len(finds.logits):
            seen = self._seen(torch.cat([followed, finds.logits]), self.ids, frame)
        hidden = self._hidden(self.ids if mask is not None and whole else _ids_in(mask))
        if hidden:
            seen, out = self._without(hidden, seen, frame), replace(out, state=out.state.without(hidden))
        self._remember(seen, out, finds, mask, sure, whole=whole, keep=bool(hidden))
        return seen

    def _go_by(self, mask: Labels, frame: EncodedFrame, *, whole: bool) -> frozenset[int]:
        """Take what a mask says of the objects, and a *whole* one of those who are gone.

        Returns:
            Of whom it is not to be doubted: those that it corrects.
        """
        given = _ids_in(mask)
        gone = frozenset(self.ids) - given if whole else frozenset[int]()
        corrected = (given & frozenset(self.ids)) - self._from_before
        if self._expected is not None:
            self._expected = None
            self.memory.forget_expected()
        if self.doubts:
            self._corrected |= corrected
            wrong = self._contradicted(mask, corrected | (gone - self._absence.ids), frame)
            self.memory.doubt([slot for slot in wrong if self.ids[slot] in given])
            self.memory.doubt([slot for slot in wrong if self.ids[slot] in gone], gone=True)
        self._from_before -= given
        self._take(mask, frame.size, whole=whole)
        self.newest_id = max((self.newest_id, *self.ids))
        self._absence.end(given)
        for identity in gone:
            self._whereabouts.forget(identity)
        return corrected | gone if self.doubts else frozenset()

    def _contradicted(self, mask: Labels, ids: Collection[int], frame: EncodedFrame) -> list[int]:
        """Return the slots of those of *ids* that a mask has elsewhere than where frames before let expect them."""
        named = [slot for slot, identity in enumerate(self.ids) if identity in ids]
        if not named or self.memory.kept is None:
            return []
        self._before_another()
        logits = self._decode(frame, len(self.ids), len(self.ids)).logits[0]
        expected = logits[named].sigmoid() > self.options.threshold
        inside = self._planes(mask, tuple(self.ids[slot] for slot in named), frame.size)[0] > 0.5
        both, either = (x.flatten(1).sum(dim=1).tolist() for x in (expected & inside, expected | inside))
        least = self.memory.rules.agreement
        return [slot for slot, common, all_ in zip(named, both, either, strict=True) if common < least * all_]

    def _before_another(self) -> None:
        """Make what is held its own before a frame is decoded once more: graphs' answers are good until the next."""
        if self.state is not None and self.masks is not None:
            self.state, self.masks = self.state.clone(), self.masks.clone()

    def _as_if_first(self, frame: EncodedFrame) -> StepOutput | None:
        """Decode a frame as if it were the first, where it is time to look for newcomers."""
        looking = self._room() > 0 and bool(self._found_before or self._newcomers.due(self.index))
        if not looking or not self._newcomers.ready:
            return None
        self._before_another()
        out = self.model.decode(frame.features, None, slots=self._newcomers.rules.slots)
        return replace(out, logits=out.logits.clone(), state=out.state.clone())

    def _with_newcomers(self, finds: Finds, fresh: StepOutput, followed: Tensor) -> Finds:
        """Return what was found together with what a look that knows nobody has found."""
        assert fresh.keys is not None
        slots, planes = self._newcomers.among(
            fresh.logits[0],
            fresh.keys,
            torch.cat([followed, finds.logits]),
            self.rules,
            self._whereabouts.least,
            most=self._room() - len(finds.logits),
        )
        if not planes:
            return finds
        state = RecurrentState(finds.state.slots + fresh.state.select(slots).slots)
        return Finds(torch.cat([finds.logits, torch.stack(planes)]), state)

    def _hidden(self, given: Collection[int]) -> list[int]:
        """Return the slots of those in whose place something else is followed, and miss them; not of those *given*."""
        hidden = self._occluders.instead().difference(given)
        slots = [slot for slot, identity in enumerate(self.ids) if identity in hidden]
        if slots:
            self.memory.doubt(slots, gone=True)
            self._absence.begin(hidden, self.ids, self.memory.later, self._sizes_in(self._area))
        for slot in slots:
            self._whereabouts.forget(self.ids[slot])
        return slots

    def _without(self, slots: Sequence[int], seen: Seen, frame: EncodedFrame) -> Seen:
        """Return the same with nothing of some slots."""
        logits = seen.logits.clone()
        logits[slots] = logits[slots].clamp(max=NOWHERE)
        return self._seen(logits, self.ids, frame)

    def _remember(
        self,
        seen: Seen,
        out: StepOutput,
        finds: Finds,
        mask: Labels | None,
        sure: Collection[int],
        *,
        whole: bool,
        keep: bool,
    ) -> None:
        """Keep what the next frames need; the last of ``ids`` are those of *finds*."""
        known = len(self.ids) - len(finds.logits)
        if mask is not None and self.masks is not None:
            seen = seen.corrected(self._as_given(mask, seen.masks, whole=whole))
        self._whereabouts.note(self.ids, seen.cells)
        self.state = RecurrentState(out.state.select(range(known)).slots + finds.state.slots)
        self.masks = seen.masks[None]
        keys = None if out.keys is None else out.keys.clone()  # whose memory another frame may be given
        if keys is not None and self.ids:
            changed = mask is not None or len(finds.logits) > 0
            slots = [slot for slot, identity in enumerate(self.ids) if identity in sure]
            self.memory.add(seen.references(keys), self.index, changed=changed, sure=slots, keep=keep)
            self._occluders.note(self.ids, seen.cells, keys, sure={*_ids_in(mask), *self.ids[known:]})
            if self.coming is not self._expected:
                self._expect(self.coming, (out.logits.shape[-2], out.logits.shape[-1]))
            self._miss_lost()
        if keys is not None and self.discover and self.index > 0:
            self._newcomers.note(keys)

    def _miss_lost(self) -> None:
        """Miss whoever is out of sight."""
        lost = [identity for identity in self._whereabouts.lost(self.ids) if identity not in self._absence.ids]
        if lost:
            self._absence.begin(lost, self.ids, self.memory.later, self._sizes_in(self._area))

    def _sizes_in(self, area: PictureArea | None) -> dict[int, float]:
        """Return of how many places each object of the first frame would be in a part of the frame, None for all.

        Nothing where all frames were looked at in whole: they tell themselves.
        """
        far = self.memory.far
        if far is None or self.view is None:
            return {}
        far = far.widen(len(self.ids))  # some may have been named just now
        growth = 1.0 if area is None else Reframing(self.view.area, area).growth
        sizes = {identity: growth * Appearance.of(far, slot).size for slot, identity in enumerate(self.ids)}
        return {identity: size for identity, size in sizes.items() if size > 0}

    def _absence_in_whole(self) -> Absence:
        """Return who is missing, for whole frames."""
        if self._area is None or self.view is None:
            return self._absence
        return self._absence.enlarged(Reframing(self._area, self.view.area).growth)

    def _expect(self, coming: Coming | None, size: tuple[int, int]) -> None:
        """Remember what a frame to come says of those who have been put right."""
        frame = None
        if coming is not None:
            shares = tuple(float(identity in self._corrected) for identity in self.ids)
            frame = References.of(coming.keys, self._planes(coming.labels, self.ids, size))
            frame = replace(frame, known=() if all(shares) else (shares,))
        self.memory.expect(frame)
        self._expected = coming

    def begin(self, frame: EncodedFrame) -> bool:
        """Do a bit of what the frame that comes next needs, in another thread than ``step`` is in.

        Of use if the step leaves the kept frames and the number of slots as they are, which it mostly does.

        Returns:
            Whether there may be more to do.
        """
        if frame.begun is not None:
            return frame.begun[2].take()
        kept, slots = self.memory.next, len(self.ids) + self._free_slots_later()
        if kept is None:
            return False
        frame.begun = kept, slots, self.model.begin(frame.features, kept, slots)
        return True

    def _free_slots(self) -> tuple[int, ...]:
        """Return how many slots look for objects in this frame: at first, and if that was not enough.

        Those of a first frame are not fewer where there is room for fewer objects: what one finds in it another one may
        find in its mirror image.
        """
        room = self._room()
        if self.index > 0 or not room:
            return (self._free_slots_later(),)
        return (self.rules.slots, room) if room > self.rules.slots else (self.rules.slots,)

    def _free_slots_later(self) -> int:
        """Return how many look for objects in other frames; behind known objects in sight they hardly answer."""
        return int(self._room() > 0 and not self._whereabouts.in_sight(self.ids))

    def _room(self) -> int:
        """Return how many more objects may be found."""
        if not self.discover:
            return 0
        return max(0, min(self.options.max_objects - len(self.ids), MAX_OBJECT_ID - self.newest_id))

    def _nobody(self, frame: EncodedFrame) -> Tensor:
        """Return the masks (0, h, w) of no object."""
        return torch.zeros(0, *frame.size, dtype=torch.float32, device=self.device)

    def _decode(self, frame: EncodedFrame, slots: int, known: int) -> StepOutput:
        masks = self._nobody(frame)[None] if self.masks is None else self.masks
        if slots > known:
            masks = torch.cat([masks, masks.new_zeros(1, slots - known, *frame.size)], dim=1)
        memory, first = self.memory, self.memory.kept is None or known == 0
        kept, slots_begun, begun = frame.begun or (None, 0, None)
        return self.model.decode(
            frame.features,
            self.state,
            slots=slots,
            masks=masks,
            known=_known(known, slots, self.device),
            kept=None if first else memory.kept,
            last=None if first else memory.last,
            begun=begun if kept is memory.kept and slots_begun == slots else None,
        )

    def _search(self, seen: Seen, followed: Tensor, frame: EncodedFrame) -> tuple[list[int], Tensor]:
        """Return the slots behind those of ``ids`` that found new objects, and the objects' logits (M, h, w)."""
        logits, cells, still = seen.searched, seen.searched_cells, None
        if not self.ids and frame.pixels is not None and self.index == 0:
            logits = self._seen_mirrored_too(logits, frame.pixels)
            cells = cells_above(logits, self._whereabouts.least)
            if frame.features.keys is not None:
                still = standing(cells, frame.features.keys, frame.others, self.standing_rules, self.motion_rules)
        return self._found(logits, cells, followed, still)

    def _seen_mirrored_too(self, logits: Tensor, pixels: Tensor) -> Tensor:
        """Take from the logits (S, h, w) of a first frame's slots what is not found in its mirror image, too."""
        mirrored = self.model.step(pixels.flip(-1), slots=len(logits)).logits[0].flip(-1)
        return seen_twice(logits, mirrored, self.rules, threshold=self.options.threshold)

    def _found(
        self, logits: Tensor, places: Sequence[Cells], followed: Tensor, still: Sequence[Cells] | None
    ) -> tuple[list[int], Tensor]:
        """Say what the search slots found, (S, h, w) logits, which are above the threshold in *places*, partly *still*.

        Returns:
            The slot that each new object came from, and the new objects' logits (M, h, w).
        """
        if not any(cells.any() for cells in places):
            return [], logits[:0]
        rules, threshold = self.rules, self.options.threshold
        taken = (followed.sigmoid() > threshold).any(dim=0)
        sources: list[int] = []
        found = logits[:0]
        for confidence in (rules.confidence, rules.doubtful) if self.index == 0 else (rules.late_confidence,):
            if not sources:
                sources, found = new_objects(
                    logits, places, taken, rules, confidence, threshold, most=self._room(), still=still
                )
        return sources, found

    def _found_again(self, finds: Finds) -> Finds:
        """Keep what may have been found in the frame before, too: what is seen once is mostly scenery."""
        cells, before = cells_above(finds.logits, self._whereabouts.least), self._found_before
        self._found_before = cells
        again = [place for place, one in enumerate(cells) if self._whereabouts.may_be_one_of(one, before)]
        return finds if len(again) == len(cells) else Finds(finds.logits[again], finds.state.select(again))

    def _admit(self, count: int) -> None:
        """Give new ids to *count* objects; ids are never used twice."""
        for _ in range(count):
            self.newest_id += 1
            self.ids += (self.newest_id,)

    def _make_room(self) -> None:
        """Where every slot is in use, drop the object that has been out of sight longest, if that is long enough."""
        if not self.discover or self.masks is None or len(self.ids) < self.options.max_objects:
            return
        if self.newest_id >= MAX_OBJECT_ID:  # nobody could take the room
            return
        slot = max(range(len(self.ids)), key=lambda slot: self._whereabouts.unseen(self.ids[slot]))
        if self._whereabouts.unseen(self.ids[slot]) < self.rules.patience:
            return
        rest = [other for other in range(len(self.ids)) if other != slot]
        self.ids = tuple(self.ids[other] for other in rest)
        self.masks = self.masks[:, rest]
        self.state = self.state.select(rest) if self.state is not None else None
        self.memory.select(rest)
        self._absence = self._absence.among(self.ids)


def _ids_in(mask: Labels | None) -> frozenset[int]:
    """Return the objects that a mask names; none if there is no mask."""
    return frozenset() if mask is None else frozenset(np.unique(mask[mask > 0]).tolist())


@lru_cache(maxsize=64)
def _known(known: int, slots: int, device: torch.device) -> Tensor:
    """Return (1, slots) with 1 for each of the *known* first ones."""
    with torch.inference_mode(False):
        return (torch.arange(slots, device=device) < known).float()[None]
