"""Who is who: network input of one frame enters, the logits of every object leave; here objects get and keep their ids.

Driven by ``session.py``. One tracker per kind of network; both carry a recurrent state, the matching one also a few
reference frames, and neither grows with the video.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.config import MAX_OBJECT_ID, InferenceOptions
from rvos_cli.continuity import Cells, clusters, far_pieces, strays
from rvos_cli.discovery import NOWHERE, DiscoveryRules, seen_twice
from rvos_cli.model import RVOS, RecurrentState, References
from rvos_cli.model.encoder import Features
from rvos_cli.model.reading import BegunReading
from rvos_cli.model.rvos import StepOutput
from rvos_cli.preprocess import mask_tensor

Labels = NDArray[np.uint8]
CELL = 4  # pixels of the network's frame per cell of the grid on which pieces of masks are told apart


@dataclass(frozen=True, kw_only=True)
class MemoryRules:
    """Which frames are remembered as references, and how they are read.

    The first frame is kept, the newest one in which a mask was given or an object found, and some in between. These
    are read from the next but one frame on: what the next frame reads is known before this one's step.

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


@dataclass(frozen=True, kw_only=True)
class ContinuityRules:
    """How far an object may move, and what it may lose to another. Lengths are in short sides of the frame.

    Args:
        reach: the most from one frame to the next.
        growth: so much more for each frame out of sight.
        share: a piece smaller than this share of its object's largest goes to another object that it touches,
        gap: if it is farther than this from the rest of its own.
    """

    reach: float = 0.15
    growth: float = 0.05
    share: float = 0.15
    gap: float = 0.05


@dataclass
class EncodedFrame:
    """A frame as a tracker gets it.

    Args:
        pixels: (1, 3, h, w), the network's input.
        features: what the network's encoder says of it.
        begun: for which kept frames and how many slots its decoding has begun, and what has.
    """

    pixels: Tensor
    features: Features
    begun: tuple[References, int, BegunReading] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.features.size


class Tracker(ABC):
    """What both kinds of network share: slots and their ids, and the state between frames."""

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        """Start a video; *discover* says whether objects are looked for or only followed."""
        self.model = model
        self.options = options
        self.device = device
        self.discover = discover
        self.ids: tuple[int, ...] = ()
        self.state: RecurrentState | None = None
        self.masks: Tensor | None = None  # (1, N, h, w), the last probabilities

    @abstractmethod
    def step(self, frame: EncodedFrame, mask: Labels | None) -> Tensor:
        """Advance one frame and return the logits (N, h, w) of ``ids``."""

    def _take(self, mask: Labels, size: tuple[int, int]) -> None:
        """Give every object of *mask* a slot and make the mask its last one."""
        named = tuple(int(identity) for identity in np.unique(mask) if identity)
        fresh = tuple(identity for identity in named if identity not in self.ids)
        self.ids += fresh
        if not self.ids:
            return
        given = mask_tensor(mask, self.ids, size, self.device)
        if self.masks is None:
            self.masks = given
            return
        masks = torch.cat([self.masks, given[:, self.masks.shape[1] :]], dim=1)
        for slot, identity in enumerate(self.ids):
            if identity in named:
                masks[:, slot] = given[:, slot]
        self.masks = masks


class PublishedTracker(Tracker):
    """The published behaviour: a fixed number of slots, or one per given object; no later discovery."""

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        """Start a video."""
        super().__init__(model, options, device, discover=discover)
        if discover:
            self.ids = tuple(range(1, min(model.config.slots, options.max_objects) + 1))
        self._given = 0  # frames since a mask was given; the first two see it, as published

    def step(self, frame: EncodedFrame, mask: Labels | None) -> Tensor:
        """Advance one frame; see ``Tracker.step``."""
        if mask is not None:
            self._take(mask, frame.size)
            self._given = 0
        out = self.model.decode(frame.features, self.state, slots=len(self.ids), masks=self.masks)
        self.state = out.state
        self._given += 1
        if self.model.config.mask_input and self._given > 1:
            self.masks = out.logits.sigmoid()
        return out.logits[0]


class MatchingTracker(Tracker):
    """The lite behaviour: known objects are followed by the memory of reference frames, new ones are looked for."""

    memory = MemoryRules()
    continuity = ContinuityRules()
    rules = DiscoveryRules()

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        """Start a video."""
        super().__init__(model, options, device, discover=discover)
        self.index = -1
        self.kept: References | None = None
        self.next: References | None = None  # what is read in the next frame,
        self.later: References | None = None  # and from then on
        self.last: References | None = None
        self._newest_id = 0
        self._least = math.log(options.threshold / (1 - options.threshold))  # the threshold, as a logit
        self._where: dict[int, Cells] = {}  # id -> where it was when last seen
        self._unseen: dict[int, int] = {}  # id -> frames out of sight

    def step(self, frame: EncodedFrame, mask: Labels | None) -> Tensor:
        """Advance one frame; see ``Tracker.step``."""
        self.index += 1
        self.kept, self.next = self.next, self.later
        self._make_room()
        if mask is not None:
            self._take(mask, frame.size)
            self._newest_id = max(self._newest_id, *self.ids)
        known = len(self.ids)
        searching = self._free_slots()
        if known + searching[0] == 0:
            return frame.pixels.new_zeros(0, *frame.size)
        for free in searching:
            out = self._decode(frame, known + free, known)
            followed = self._give_back(*self._stay_near(out.logits[0, :known]))
            searched = out.logits[0, known:]
            if known == 0 and self.index == 0:
                searched = self._seen_mirrored_too(searched, frame.pixels)
            sources, found = self._found(searched, followed)
            if free - 1 not in sources:
                break  # the last slot found nothing, and no slot behind it would have
        self._admit(len(sources))
        logits = torch.cat([followed, found]) if len(found) else followed
        masks = logits.sigmoid()
        if mask is not None and self.masks is not None:
            masks[:known] = self._as_given(mask, masks[:known])
        self._note_sightings(masks)
        self.state = out.state.select([*range(known), *(known + slot for slot in sources)])
        self.masks = masks[None]
        self._remember(out, changed=mask is not None or len(sources) > 0)
        return logits

    def begin(self, frame: EncodedFrame) -> bool:
        """Do a bit of what the frame that comes next needs, in another thread than ``step`` is in.

        Of use if the step leaves the kept frames and the number of slots as they are, which it mostly does.

        Returns:
            Whether there may be more to do.
        """
        if frame.begun is not None:
            return frame.begun[2].take()
        kept, slots = self.next, len(self.ids) + (min(1, self._room()) if self.discover else 0)
        if kept is None:
            return False
        frame.begun = kept, slots, self.model.begin(frame.features, kept, slots)
        return True

    def _free_slots(self) -> tuple[int, ...]:
        """Return how many slots look for objects in this frame: at first, and if that was not enough."""
        room = self._room() if self.discover else 0
        if self.index > 0:
            return (min(1, room),)
        return (self.rules.slots, room) if room > self.rules.slots else (room,)

    def _room(self) -> int:
        return max(0, min(self.options.max_objects - len(self.ids), MAX_OBJECT_ID - self._newest_id))

    def _decode(self, frame: EncodedFrame, slots: int, known: int) -> StepOutput:
        flags = torch.zeros(1, slots, device=self.device)
        flags[:, :known] = 1
        masks = self.masks if self.masks is not None else frame.pixels.new_zeros(1, 0, *frame.size)
        if slots > known:
            masks = torch.cat([masks, masks.new_zeros(1, slots - known, *frame.size)], dim=1)
        first = self.kept is None or known == 0
        kept, slots_begun, begun = frame.begun or (None, 0, None)
        return self.model.decode(
            frame.features,
            self.state,
            slots=slots,
            masks=masks,
            known=flags,
            kept=None if first else self.kept,
            last=None if first else self.last,
            begun=begun if kept is self.kept and slots_begun == slots else None,
        )

    def _seen_mirrored_too(self, logits: Tensor, pixels: Tensor) -> Tensor:
        """Take from the logits (S, h, w) of a first frame's slots what is not found in its mirror image, too."""
        mirrored = self.model.step(pixels.flip(-1), slots=len(logits)).logits[0].flip(-1)
        return seen_twice(logits, mirrored, self.rules, threshold=self.options.threshold)

    def _stay_near(self, logits: Tensor) -> tuple[Tensor, list[Cells]]:
        """Take from every followed object (N, h, w) the pieces that are too far from where it was last seen.

        Returns:
            The logits, and the cells that each object is left with.
        """
        drops, cells = [], self._cells(logits, self._least)
        for identity, inside in zip(self.ids, cells, strict=True):
            reach = self.continuity.reach + self.continuity.growth * self._unseen.get(identity, 0)
            before = self._where.get(identity, np.zeros_like(inside))
            drops.append(far_pieces(inside, before, reach * min(inside.shape)))
        return _without(logits, drops), [inside & ~drop for inside, drop in zip(cells, drops, strict=True)]

    def _give_back(self, logits: Tensor, cells: list[Cells]) -> Tensor:
        """Give small pieces that have come off their object (N, h, w) to the one that they hang on.

        No object is anywhere but in its *cells*.
        """
        box = _around(cells)
        if len(logits) < 2 or box is None:
            return logits
        here = logits[:, box[0], box[1]]
        losing = here < here.amax(dim=0)  # many times as fast as argmax, on a CPU
        masks = self._cells(here.masked_fill(losing, -math.inf), self._least)
        for stray in strays(masks, share=self.continuity.share, gap=self.continuity.gap * min(cells[0].shape)):
            place = _pixels(stray.piece, logits.device)
            loser, winner = here[stray.owner], here[stray.neighbour]
            logits = logits.clone()
            here = logits[:, box[0], box[1]]
            here[stray.neighbour] = torch.where(place, torch.maximum(loser, winner), winner)
            here[stray.owner] = torch.where(place, loser.clamp(max=NOWHERE), loser)
        return logits

    def _found(self, logits: Tensor, followed: Tensor) -> tuple[list[int], Tensor]:
        """Say what the search slots found, (S, h, w) logits.

        Slots have learned to answer in the order of what stands out. So the first one with nothing but doubtful finds
        ends the search: what comes later is rather scenery than a thing.

        Returns:
            The slot that each new object came from, and the new objects' logits (M, h, w).
        """
        if not len(logits):
            return [], logits
        confidence = self.rules.confidence if self.index == 0 else self.rules.late_confidence
        taken = (followed.sigmoid() > self.options.threshold).any(dim=0)
        sources: list[int] = []
        planes: list[Tensor] = []
        for slot, cells in enumerate(self._cells(logits, self._least)):
            if not cells.any():
                continue
            groups = clusters(cells, self.rules.gap * min(cells.shape))
            large = [group for group in groups if group.sum() >= self.rules.splinter * groups[0].sum()]
            before = len(sources)
            for group in large[: self._room() - len(sources)]:
                plane = _without(logits[slot : slot + 1], [cells & ~group])[0]
                inside = plane.sigmoid() > self.options.threshold
                area = int(inside.sum())
                if area < self.rules.area * taken.numel() or float(plane.sigmoid()[inside].mean()) < confidence:
                    continue
                if int((inside & taken).sum()) <= self.rules.overlap * area:
                    sources.append(slot)
                    planes.append(plane)
                    taken = taken | inside
            if len(sources) == before:
                break
        return sources, torch.stack(planes) if planes else logits[:0]

    def _admit(self, count: int) -> None:
        """Give new ids to *count* objects; ids are never used twice."""
        for _ in range(count):
            self._newest_id += 1
            self.ids += (self._newest_id,)

    def _make_room(self) -> None:
        """Where every slot is in use, drop the object that has been out of sight longest, if that is long enough."""
        if not self.discover or self.masks is None or len(self.ids) < self.options.max_objects:
            return
        slot = max(range(len(self.ids)), key=lambda slot: self._unseen[self.ids[slot]])
        if self._unseen[self.ids[slot]] < self.rules.patience:
            return
        rest = [other for other in range(len(self.ids)) if other != slot]
        self.ids = tuple(self.ids[other] for other in rest)
        self.masks = self.masks[:, rest]
        self.state = self.state.select(rest) if self.state is not None else None
        self.kept = self.next = self.later = self.later.select(rest) if self.later is not None else None
        self.last = self.last.select(rest) if self.last is not None else None

    def _as_given(self, mask: Labels, masks: Tensor) -> Tensor:
        """Return the known objects' masks (N, h, w), those named in *mask* as given."""
        named = {int(identity) for identity in np.unique(mask)}
        given = masks if self.masks is None else self.masks[0]
        chosen = [given[slot] if self.ids[slot] in named else masks[slot] for slot in range(len(masks))]
        return torch.stack(chosen)

    def _note_sightings(self, masks: Tensor) -> None:
        for identity, cells in zip(self.ids, self._cells(masks, self.options.threshold), strict=True):
            if cells.any():
                self._where[identity], self._unseen[identity] = cells, 0
            else:
                self._unseen[identity] = self._unseen.get(identity, 0) + 1

    def _cells(self, planes: Tensor, least: float) -> list[Cells]:
        """Return for each plane (N, h, w) the cells in which a pixel is above *least*."""
        if not len(planes):
            return []
        # One axis after the other, a processor has it many times as fast as by max_pool2d.
        objects, height, width = planes.shape
        rows = planes.reshape(objects, height // CELL, CELL, width).amax(dim=2)
        cells = rows.reshape(objects, height // CELL, width // CELL, CELL).amax(dim=3)
        return list(cells.float().cpu().numpy() > least)

    def _remember(self, out: StepOutput, *, changed: bool) -> None:
        if out.keys is None or self.masks is None or not self.ids:
            return
        newest = References.of(out.keys, self.masks)
        self.last = newest
        if self.later is None:
            self.next = self.later = replace(newest, sharpness=self.memory.sharpness, favour=self.memory.favour)
        elif changed:
            recent = self.later.frames(self.later.trusted)
            self.next = self.later = replace(self.later.frames(0, 1) + newest + recent, trusted=2)
        elif self.index % self.memory.every == 0:
            trusted = self.later.trusted
            recent = self.later.frames(trusted) + newest
            self.later = self.later.frames(0, trusted) + recent.frames(-self.memory.recent)


def _without(logits: Tensor, drops: list[Cells]) -> Tensor:
    """Return logits (N, h, w) with some cells of each plane emptied."""
    if not any(drop.any() for drop in drops):
        return logits
    return torch.where(_pixels(np.stack(drops), logits.device), logits.clamp(max=NOWHERE), logits)


def _pixels(cells: Cells, device: torch.device) -> Tensor:
    """Enlarge cells (..., h/c, w/c) to pixels (..., h, w)."""
    wide = torch.from_numpy(cells).to(device).repeat_interleave(CELL, dim=-1)
    return wide.repeat_interleave(CELL, dim=-2)


def _around(cells: list[Cells]) -> tuple[slice, slice] | None:
    """Return the smallest box, rows and columns of pixels, around all planes' cells; None if there are none."""
    anywhere = np.logical_or.reduce(cells) if cells else np.zeros((0, 0), bool)
    if not anywhere.any():
        return None
    lines = (np.flatnonzero(anywhere.any(axis=1 - axis)) for axis in (0, 1))
    rows, columns = (slice(CELL * int(line[0]), CELL * int(line[-1] + 1)) for line in lines)
    return rows, columns
