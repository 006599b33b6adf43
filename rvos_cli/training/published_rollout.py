"""One clip through the published network: frames and true labels enter, the soft IoU loss leaves (paper, section 4).

One-shot: the objects of the clip's first frame are given and followed; the network sees their true previous masks
(the first stage) or its own (the second). Zero-shot: the Hungarian method says on the first frame which slot answers
for which object, and it keeps the object for the whole clip. The gradient goes back through the whole clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rvos_cli.model import RVOS, RecurrentState
from rvos_cli.training.losses import overlap_cost, soft_iou_loss
from rvos_cli.training.rollout import IGNORED_LABEL, Losses, masks_by_slot, object_masks, shown_masks


@dataclass(frozen=True, kw_only=True)
class PublishedRollout:
    """The published training of a network; whether one-shot or zero-shot says its configuration.

    Args:
        slots: the largest number of objects of a clip; a zero-shot network always decodes so many.
    """

    slots: int = 10

    def run(
        self,
        model: RVOS,
        frames: Tensor,
        labels: Tensor,
        complete: Tensor,
        draws: Sequence[torch.Generator],
        *,
        teacher: float,
        separate: Tensor | None = None,
    ) -> Losses:
        """Run a batch of clips and return their loss.

        Args:
            model: a network without matching.
            frames: (B, T, 3, h, w), normalised.
            labels: (B, T, h, w) uint8: 0 background, 1..K objects, 255 unknown.
            complete: not looked at: a slot without an object is free to show anything, as published.
            draws: on the CPU, one for each clip: they say where the truth is shown if *teacher* is neither 0 nor 1.
            teacher: how often the true previous mask stands in for the network's own, 0..1.
            separate: not looked at either.
        """
        truth = object_masks(labels, self.slots)
        valid = (labels != IGNORED_LABEL)[:, :, None].float()
        if model.config.mask_input:
            return follow(model, frames, truth, valid, teacher, draws)
        return find(model, frames, truth, valid)


def follow(
    model: RVOS, frames: Tensor, truth: Tensor, valid: Tensor, teacher: float, draws: Sequence[torch.Generator]
) -> Losses:
    """Follow the objects of the first frame, whose answer there is no question; arguments as in ``run``.

    *truth* is (B, T, N, h, w) and *valid* (B, T, 1, h, w), both 0 or 1.
    """
    given = truth[:, 0].flatten(2).any(dim=2)
    # Slots behind the last object change nothing before them and cost as much.
    slots = 1 + max(given.any(dim=0).nonzero().flatten().tolist(), default=0)
    truth = truth[:, :, :slots] * given[:, None, :slots, None, None]
    length = frames.shape[1]
    losses = Losses(frames.new_zeros(()))
    state: RecurrentState | None = None
    masks = truth[:, 0]
    for t in range(length):
        out = model.step(frames[:, t], state, slots=slots, masks=masks)
        state, own = out.state, out.logits.float().sigmoid()
        if t == 0:
            continue  # the second frame sees the given mask again, as the published network expects it
        _add(losses, "track", own, truth[:, t], valid[:, t], length - 1)
        masks = shown_masks(own, truth[:, t], teacher, draws)
    return losses


def find(model: RVOS, frames: Tensor, truth: Tensor, valid: Tensor) -> Losses:
    """Find the objects of the first frame and keep them; shapes as in ``follow``."""
    losses = Losses(frames.new_zeros(()))
    state: RecurrentState | None = None
    targets: Tensor | None = None
    for t in range(frames.shape[1]):
        out = model.step(frames[:, t], state, slots=truth.shape[2])
        state, own = out.state, out.logits.float().sigmoid()
        if targets is None:
            targets = match(own.detach(), truth[:, 0], valid[:, 0])
        wanted = masks_by_slot(truth[:, t], targets)
        _add(losses, "track" if t else "discover", own, wanted, valid[:, t], frames.shape[1])
    return losses


def match(probabilities: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return which object each slot answers for, (B, S), -1 for none: the assignment of the largest overlap.

    All inputs are 0..1: probabilities (B, S, h, w), truth (B, N, h, w), valid (B, 1, h, w).
    """
    targets = torch.full(probabilities.shape[:2], -1, dtype=torch.long)
    present = (truth * valid).flatten(2).any(dim=2)
    for b in range(truth.shape[0]):
        objects = present[b].nonzero().flatten().cpu()
        if len(objects):
            cost = overlap_cost(probabilities[b], truth[b, objects.to(truth.device)], valid[b])
            rows, columns = linear_sum_assignment(torch.nan_to_num(cost, nan=1.0).cpu().numpy())
            targets[b, torch.from_numpy(rows)] = objects[torch.from_numpy(columns)]
    return targets.to(truth.device)


def _add(losses: Losses, part: str, own: Tensor, wanted: Tensor, valid: Tensor, frames: int) -> None:
    # Soft IoU has no gradient where an object cannot be seen; such masks must not thin out the others.
    seen = (wanted * valid).flatten(2).any(dim=2).float()
    losses.add(part, soft_iou_loss(own, wanted, valid), seen, 1.0, frames)
