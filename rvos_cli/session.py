"""One video's recurrence: frames enter in order, label maps leave; here objects get, keep and lose their ids.

Stands between preprocess and postprocess, once per frame. Its memory does not grow: the recurrent state and a few
reference frames are all that is carried on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.config import MAX_OBJECT_ID, InferenceOptions
from rvos_cli.model import RVOS, RecurrentState, References
from rvos_cli.model.rvos import StepOutput
from rvos_cli.postprocess import label_map
from rvos_cli.preprocess import frame_tensor, mask_tensor, network_size

Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class MemoryRules:
    """Which frames are remembered as references: the first always, then one in *every*, the newest *recent* of them."""

    every: int = 5
    recent: int = 3


@dataclass(frozen=True, kw_only=True)
class DiscoveryRules:
    """When something found counts as an object.

    Args:
        confidence: least mean probability inside its mask on the first frame, 0..1.
        late_confidence: the same for what appears later.
        area: least share of the picture, 0..1.
        overlap: most share of it that earlier objects may have already, 0..1.
        patience: frames out of sight after which an object may give its slot to a new one.
    """

    confidence: float = 0.75
    late_confidence: float = 0.85
    area: float = 0.002
    overlap: float = 0.5
    patience: int = 30


class Session:
    """Follows the objects of one video; ``step`` takes its frames one after the other."""

    def __init__(
        self,
        model: RVOS,
        *,
        options: InferenceOptions | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        first_mask: Labels | None = None,
    ) -> None:
        """Start a video.

        Args:
            model: the network, in eval mode, on *device*.
            options: size, threshold and number of objects.
            device: where the network is; None is the CPU.
            dtype: float32, or a 16-bit type for autocast.
            first_mask: (H, W) uint8 labels of the first frame; None discovers the objects.
        """
        self.options = options or InferenceOptions()
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self._first_mask = first_mask
        self._tracker: _Tracker = (_Matching if model.config.matching else _Published)(
            model, self.options, self.device, discover=first_mask is None
        )

    @property
    def objects(self) -> tuple[int, ...]:
        """The ids that are followed now, in the order of their slots."""
        return self._tracker.ids

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8], mask: Labels | None = None) -> Labels:
        """Advance one frame.

        Args:
            image: (H, W, 3) uint8 RGB; the same size in every frame.
            mask: (H, W) uint8 labels of objects to follow from this frame on, known or new.

        Returns:
            (H, W) uint8, 0 = background, k = object k.
        """
        if self._first_mask is not None:
            mask, self._first_mask = self._first_mask, None
        size = (image.shape[0], image.shape[1])
        short_side = self.options.size or self._tracker.model.config.size
        grid = network_size(size, short_side)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            frame = frame_tensor(image, grid, self._tracker.model.config, self.device, torch.float32)
            logits = self._tracker.step(frame, mask)
        labels = label_map(logits, self._tracker.ids, size, self.options.threshold)
        return labels if mask is None else np.where(mask > 0, mask, labels)


class _Tracker:
    """What both kinds of network share: slots and their ids, and the state between frames."""

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        self.model = model
        self.options = options
        self.device = device
        self.discover = discover
        self.ids: tuple[int, ...] = ()
        self.state: RecurrentState | None = None
        self.masks: Tensor | None = None  # (1, N, h, w), the last probabilities

    def step(self, frame: Tensor, mask: Labels | None) -> Tensor:
        """Advance one frame (1, 3, h, w) and return the logits (N, h, w) of ``ids``."""
        raise NotImplementedError

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


class _Published(_Tracker):
    """The published behaviour: a fixed number of slots, or one per given object; no later discovery."""

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        super().__init__(model, options, device, discover=discover)
        if discover:
            self.ids = tuple(range(1, min(model.config.slots, options.max_objects) + 1))
        self._given = 0  # frames since a mask was given; the first two see it, as published

    def step(self, frame: Tensor, mask: Labels | None) -> Tensor:
        if mask is not None:
            self._take(mask, (frame.shape[-2], frame.shape[-1]))
            self._given = 0
        out = self.model.step(frame, self.state, slots=len(self.ids), masks=self.masks)
        self.state = out.state
        self._given += 1
        if self.model.config.mask_input and self._given > 1:
            self.masks = out.logits.sigmoid()
        return out.logits[0]


class _Matching(_Tracker):
    """The lite behaviour: known objects are followed by the memory of reference frames, new ones are looked for."""

    memory = MemoryRules()
    rules = DiscoveryRules()

    def __init__(self, model: RVOS, options: InferenceOptions, device: torch.device, *, discover: bool) -> None:
        super().__init__(model, options, device, discover=discover)
        self.index = -1
        self.kept: References | None = None
        self.last: References | None = None
        self._unseen: dict[int, int] = {}  # id -> frames out of sight
        self._newest_id = 0

    def step(self, frame: Tensor, mask: Labels | None) -> Tensor:
        self.index += 1
        self._make_room()
        if mask is not None:
            self._take(mask, (frame.shape[-2], frame.shape[-1]))
            self._newest_id = max(self._newest_id, *self.ids)
        known = len(self.ids)
        slots = known + self._free_slots()
        if slots == 0:
            return frame.new_zeros(0, *frame.shape[-2:])
        out = self._decode(frame, slots, known)
        probabilities = out.logits.sigmoid()
        chosen = list(range(known)) + self._found(probabilities, known)
        self._admit(len(chosen) - known)
        logits, masks = out.logits[:, chosen], probabilities[:, chosen]
        if mask is not None and self.masks is not None:
            masks = torch.cat([self._as_given(mask, masks), masks[:, known:]], dim=1)
        self._count_unseen(masks)
        self.state, self.masks = out.state.select(chosen), masks
        self._remember(out, masks, changed=mask is not None or len(chosen) > known)
        return logits[0]

    def _free_slots(self) -> int:
        """Return how many slots look for objects in this frame."""
        if not self.discover:
            return 0
        room = min(self.options.max_objects - len(self.ids), MAX_OBJECT_ID - self._newest_id)
        return max(0, room) if self.index == 0 else max(0, min(1, room))

    def _decode(self, frame: Tensor, slots: int, known: int) -> StepOutput:
        flags = torch.zeros(1, slots, device=self.device)
        flags[:, :known] = 1
        masks = frame.new_zeros(1, slots, *frame.shape[-2:])
        if self.masks is not None:
            masks[:, :known] = self.masks
        first = self.kept is None or known == 0
        return self.model.step(
            frame,
            self.state,
            slots=slots,
            masks=masks,
            known=flags,
            kept=None if first else self.kept,
            last=None if first else self.last,
        )

    def _found(self, probabilities: Tensor, known: int) -> list[int]:
        """Return the slots behind the *known* ones that found an object; the first that finds none ends the search."""
        confidence = self.rules.confidence if self.index == 0 else self.rules.late_confidence
        inside = probabilities[0] > self.options.threshold
        taken = inside[:known].any(dim=0)
        found = []
        for slot in range(known, probabilities.shape[1]):
            area = int(inside[slot].sum())
            if area < self.rules.area * taken.numel():
                break
            if float(probabilities[0, slot][inside[slot]].mean()) < confidence:
                break
            if int((inside[slot] & taken).sum()) > self.rules.overlap * area:
                continue
            found.append(slot)
            taken = taken | inside[slot]
        return found

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
        self.kept = self.kept.select(rest) if self.kept is not None else None
        self.last = self.last.select(rest) if self.last is not None else None

    def _as_given(self, mask: Labels, masks: Tensor) -> Tensor:
        """Return the known objects' masks, those named in *mask* as given."""
        known = self.masks.shape[1] if self.masks is not None else 0
        given = self.masks if self.masks is not None else masks
        named = {int(identity) for identity in np.unique(mask)}
        planes = [given[:, s] if self.ids[s] in named else masks[:, s] for s in range(known)]
        return torch.stack(planes, dim=1)

    def _count_unseen(self, masks: Tensor) -> None:
        seen = (masks[0] > self.options.threshold).flatten(1).any(dim=1).tolist()
        for identity, visible in zip(self.ids, seen, strict=True):
            self._unseen[identity] = 0 if visible else self._unseen.get(identity, 0) + 1

    def _remember(self, out: StepOutput, masks: Tensor, *, changed: bool) -> None:
        if out.keys is None or not self.ids:
            return
        newest = References.of(out.keys, masks)
        self.last = newest
        if self.kept is None:
            self.kept = newest
        elif changed or self.index % self.memory.every == 0:
            recent = self.kept.frames(1) + newest
            self.kept = self.kept.frames(0, 1) + recent.frames(-self.memory.recent)
