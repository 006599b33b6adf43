"""One training clip through the network: frames and true labels enter, the loss leaves.

Objects that are given keep a slot each, the way ``track`` works; the slots behind them look for the others, the way
``segment`` works, and the Hungarian method says which one answers for which object from then on (paper, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rvos_cli.model import RVOS, RecurrentState, References
from rvos_cli.model.rvos import StepOutput
from rvos_cli.training import processes
from rvos_cli.training.losses import assignment_cost, cue_loss, mask_loss

VISIBLE = 0.002  # share of the picture from which on an object must be found
IGNORED_LABEL = 255


@dataclass(frozen=True, kw_only=True)
class RolloutOptions:
    """Weights of the losses, how often the truth stands in for the network's own last mask, and what is given.

    Attributes:
        slots: the largest number of objects of a clip.
        teacher: how often the truth stands in for the network's own last mask, 0..1.
        discover: share of the clips with something to find in which nothing is given, 0..1.
        partial: share of them in which half of the objects are given, 0..1.
        partly_labelled: there is something to find also where some things have no label. Any free slot may find one of
            those that have, and the others are free to show anything.
        cue_weight: of the loss of the matching cue.
        empty_weight: of the loss of masks that should be empty.
    """

    slots: int = 3
    teacher: float = 0.3
    discover: float = 0.45
    partial: float = 0.15
    partly_labelled: bool = False
    cue_weight: float = 0.5
    empty_weight: float = 0.5

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
        """Run a batch of clips with *teacher* in place of the option's own; arguments as in ``rollout``."""
        return rollout(model, frames, labels, complete, replace(self, teacher=teacher), draws, separate)


@dataclass
class Losses:
    """The loss of a batch, of which each process has a share of the clips.

    The numbers stay on the network's device until they are asked for, since a GPU would be waited for.

    Attributes:
        total: this process's share, with its gradient; the shares add up to the loss of the whole batch.
        value: (), the loss of the whole batch.
        counts: how many slots each part counts, in the whole batch, () each.
        sums: what they sum up to, () each.
    """

    total: Tensor
    value: Tensor | float = 0.0
    counts: dict[str, Tensor | float] = field(default_factory=dict)
    sums: dict[str, Tensor | float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, weights: Tensor, factor: float, frames: int) -> None:
        """Add the weighted mean of *values* (B, N), as part *name*, to the total of a clip of *frames* frames."""
        own = (values * weights).sum()
        counted, summed = processes.total(torch.stack([weights.sum(), own.detach()])).unbind()
        count = counted.clamp(min=1)
        self.total = self.total + factor * own / count / frames
        self.value = self.value + factor * summed / count / frames
        self.counts[name] = self.counts.get(name, 0.0) + counted
        self.sums[name] = self.sums.get(name, 0.0) + summed

    @property
    def finite(self) -> bool:
        """Whether the loss of the whole batch is a number."""
        return math.isfinite(self.value)

    def include(self, other: Losses) -> None:
        """Take in value, counts and sums of *other*, another batch of the same step; the total stays."""
        self.value = self.value + other.value
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0.0) + count
            self.sums[name] = self.sums.get(name, 0.0) + other.sums[name]

    def means(self) -> dict[str, float]:
        """Return the mean of each part over the slots that had it."""
        return {name: float(self.sums[name] / count) for name, count in self.counts.items() if count}


def rollout(
    model: RVOS,
    frames: Tensor,
    labels: Tensor,
    complete: Tensor,
    options: RolloutOptions,
    draws: Sequence[torch.Generator],
    separate: Tensor | None = None,
) -> Losses:
    """Run a batch of clips and return their loss.

    Args:
        model: a network with matching.
        frames: (B, T, 3, h, w), normalised.
        labels: (B, T, h, w) uint8: 0 background, 1..K objects, 255 unknown.
        complete: (B,) bool: whether everything that counts as an object is labelled, each thing by itself.
        options: what is given, and the weights of the losses.
        draws: on the CPU, one for each clip: they decide what is given and where the truth is shown.
        separate: (B,) bool: whether at least each label is one thing by itself; None for as in *complete*.
    """
    truth = object_masks(labels, options.slots)
    valid = (labels != IGNORED_LABEL)[:, :, None].float()
    # Who is where is asked for once: from here on a GPU is only waited for where a slot has found something.
    areas = truth.flatten(3).mean(dim=3).cpu()
    slots = _slots_needed(areas, options.slots)
    searched = complete if separate is None or not options.partly_labelled else complete | separate
    targets = _given_objects(areas[:, 0], searched, slots, options, draws)
    losses = Losses(frames.new_zeros(()))
    state: RecurrentState | None = None
    kept: References | None = None
    last: References | None = None
    given = masks = masks_by_slot(truth[:, 0], sent(targets, truth.device))
    for t, features in enumerate(model.encode_clips(frames)):
        free = targets < 0
        known = sent((~free).float(), truth.device)
        out = model.decode(features, state, slots=slots, masks=masks, known=known, kept=kept, last=last)
        empty = _discover(out.logits.detach(), truth[:, t], valid[:, t], areas[:, t], targets, searched, complete)
        found = sent(((targets >= 0) & free).float(), truth.device)
        there = sent(targets, truth.device)
        wanted = masks_by_slot(truth[:, t], there)
        parts = known, found, sent(empty.float(), truth.device)
        _count(losses, out, wanted, valid[:, t], *parts, options, t, frames.shape[1])
        masks = _next_masks(out.logits.detach().sigmoid(), wanted, there, options.teacher, draws)
        if t == 0:
            masks = torch.where((known > 0)[..., None, None], given, masks)
        state, (kept, last) = out.state, _remember(out, masks, kept, last)
    return losses


def object_masks(labels: Tensor, objects: int) -> Tensor:
    """Turn labels (B, T, h, w) uint8 into float masks (B, T, *objects*, h, w)."""
    identities = torch.arange(1, objects + 1, device=labels.device)
    return (labels[:, :, None] == identities[None, None, :, None, None]).float()


def sent(small: Tensor, device: torch.device) -> Tensor:
    """Return *small*, of the CPU, on *device*, without waiting for what that is doing."""
    return small.to(device, non_blocking=True)


def _slots_needed(areas: Tensor, limit: int) -> int:
    # One slot more than objects, so that some slot learns to stay empty; never more than pay their way.
    present = int((areas > 0).any(dim=1).sum(dim=1).max())
    return max(1, min(limit, processes.largest(present) + 1))


def _given_objects(
    first: Tensor, searched: Tensor, slots: int, options: RolloutOptions, draws: Sequence[torch.Generator]
) -> Tensor:
    """Choose which object each slot is given: (B, N), -1 for a slot that gets none, from areas (B, O); on the CPU."""
    targets = torch.full((first.shape[0], slots), -1, dtype=torch.long)
    for b in range(first.shape[0]):
        objects = (first[b] > 0).nonzero().flatten()
        order = objects[torch.randperm(len(objects), generator=draws[b])]
        draw = float(torch.rand((), generator=draws[b]))
        if bool(searched[b]) and draw < options.discover:
            order = order[:0]
        elif bool(searched[b]) and draw < options.discover + options.partial:
            order = order[: len(order) // 2]
        count = min(slots, len(order))
        targets[b, :count] = order[:count]
    return targets


def masks_by_slot(truth: Tensor, targets: Tensor) -> Tensor:
    """Return the true mask of each slot's object, (B, N, h, w); zeros for a slot without one."""
    index = targets.clamp(min=0)[..., None, None].expand(-1, -1, *truth.shape[-2:])
    return torch.gather(truth, 1, index) * (targets >= 0)[..., None, None]


def _discover(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor,
    areas: Tensor,
    targets: Tensor,
    searched: Tensor,
    complete: Tensor,
) -> Tensor:
    """Give the objects that nobody has to free slots, in place; return which slots must stay empty (B, N).

    They are the first free slots; where some things have no label, any of them, for the first may show such a thing.
    What says who is where, *areas* (B, O), *targets* (B, N) and both flags (B,), is on the CPU.
    """
    empty = torch.zeros_like(targets, dtype=torch.bool)
    asked: list[tuple[int, list[int], list[int]]] = []
    for b in range(len(targets)):
        if not bool(searched[b]):
            continue
        free = (targets[b] < 0).nonzero().flatten().tolist()
        taken = set(targets[b].tolist())
        waiting = [o for o in (areas[b] > VISIBLE).nonzero().flatten().tolist() if o not in taken]
        finders = free[: len(waiting)] if bool(complete[b]) else free
        if finders and waiting:
            asked.append((b, finders, waiting))
        empty[b, free[len(finders) :]] = True  # none of a clip that is partly labelled
    for (b, finders, waiting), cost in zip(asked, _costs(logits, truth, valid, asked), strict=True):
        rows, columns = linear_sum_assignment(cost)
        for row, column in zip(rows, columns, strict=True):
            targets[b, finders[row]] = waiting[column]
    return empty


def _costs(
    logits: Tensor, truth: Tensor, valid: Tensor, asked: Sequence[tuple[int, list[int], list[int]]]
) -> list[NDArray[np.float32]]:
    """Return for each clip *asked* for, with its slots and objects, what each pair would cost; all at once."""
    if not asked:
        return []
    costs = [
        assignment_cost(
            torch.stack([logits[b, slot] for slot in slots]).float(),
            torch.stack([truth[b, o] for o in objects]),
            valid[b],
        )
        for b, slots, objects in asked
    ]
    # A loss that is no number is found later, and said so; here it must not end the step.
    numbers = torch.nan_to_num(torch.cat([cost.flatten() for cost in costs]), nan=1.0).cpu()
    pieces = torch.split(numbers, [cost.numel() for cost in costs])
    return [piece.view(cost.shape).numpy() for piece, cost in zip(pieces, costs, strict=True)]


def _count(
    losses: Losses,
    out: StepOutput,
    wanted: Tensor,
    valid: Tensor,
    known: Tensor,
    found: Tensor,
    empty: Tensor,
    options: RolloutOptions,
    t: int,
    frames: int,
) -> None:
    each = mask_loss(out.logits.float(), wanted, valid)
    if t > 0:  # a first frame's given masks are no question
        losses.add("track", each, known, 1.0, frames)
    losses.add("discover", each, found, 1.0, frames)
    losses.add("empty", each, empty, options.empty_weight, frames)
    if out.cue is not None:
        losses.add("cue", cue_loss(out.cue, wanted, valid), known, options.cue_weight, frames)


def _next_masks(
    own: Tensor, wanted: Tensor, targets: Tensor, teacher: float, draws: Sequence[torch.Generator]
) -> Tensor:
    """Return what the next frame sees as the last masks: the network's own, or now and then the truth."""
    return shown_masks(own, wanted, teacher, draws) * (targets >= 0)[..., None, None]


def shown_masks(own: Tensor, truth: Tensor, teacher: float, draws: Sequence[torch.Generator]) -> Tensor:
    """Return of each clip the network's *own* masks (B, N, h, w), or, as often as *teacher* says, the true ones."""
    taught = torch.tensor([float(torch.rand((), generator=draw)) < teacher for draw in draws])
    return torch.where(sent(taught, own.device)[:, None, None, None], truth, own)


def _remember(
    out: StepOutput, masks: Tensor, kept: References | None, last: References | None
) -> tuple[References, References]:
    if out.keys is None:
        raise ValueError("training needs a network with matching")
    newest = References.of(out.keys, masks)
    if kept is None or last is None:
        return newest, newest
    # The frame that was last until now is kept, as a session keeps some frames on its way.
    return (kept + last if len(kept) < 3 and kept.keys is not last.keys else kept), newest
