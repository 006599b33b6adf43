"""What counts as found: the rules for new objects, and the second look at a first frame.

A first frame has no past that could say whether a find is a thing or a whim of the network, so its mirror image is
asked as well. Stands between the network and ``matching_tracker.py``; knows torch and scipy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.cells import NOWHERE, emptied
from rvos_cli.continuity import Cells, clusters

THICKENING = 3  # pixels, on all sides, before two looks are compared


@dataclass(frozen=True, kw_only=True)
class DiscoveryRules:
    """When something found counts as an object.

    Args:
        confidence: least mean probability inside its mask on the first frame, 0..1.
        doubtful: the same where nothing at all is found so, since few videos show nothing.
        standing_confidence: the same for a piece that stands still while others of its slot move.
        late_confidence: the same for what appears later.
        area: least share of the picture, 0..1.
        overlap: most share of it that earlier objects may have already, 0..1.
        gap: pieces farther apart than this share of the short side are objects of their own.
        agreement: least IoU, 0..1, of what is found in a first frame with what is found in its mirror image, see
            ``seen_twice``.
        late_agreement: the same once a slot behind a find was without agreement.
        splinter: such a piece smaller than this share of the largest one is no object, 0..1.
        slots: so many look for objects in a first frame, and as many as there may be objects if all of these find one.
        patience: frames out of sight after which an object may give its slot to a new one.
    """

    confidence: float = 0.7
    doubtful: float = 0.6
    standing_confidence: float = 0.9
    late_confidence: float = 0.85
    area: float = 0.002
    overlap: float = 0.5
    gap: float = 0.25
    agreement: float = 0.45
    late_agreement: float = 0.7
    splinter: float = 0.06
    slots: int = 4
    patience: int = 30


def seen_twice(logits: Tensor, mirrored: Tensor, rules: DiscoveryRules, *, threshold: float) -> Tensor:
    """Keep what both looks at a frame have found, as the mean of both.

    Slots have learned to answer in the order of what stands out. Once something is found, there is rather scenery than
    a thing behind a slot on which the looks differ, unless both show nearly the same.

    Args:
        logits: (S, h, w), what each slot found.
        mirrored: (S, h, w), what each slot found in the mirror image, turned back; its slots may be in another order.
        rules: what agreement is asked for. Finds are thickened before: of thin things, such as a bicycle's frame, no
            two looks agree to the pixel.
        threshold: least probability inside a mask, 0..1.

    Returns:
        (S, h, w), the slots in the order of *logits*; nothing in those without agreement.
    """
    from scipy.optimize import linear_sum_assignment  # here: following a mask has no use for it

    first, second = _thick(logits.sigmoid() > threshold), _thick(mirrored.sigmoid() > threshold)
    with torch.autocast(first.device.type, enabled=False):  # counts, which 16 bits could not hold
        both = first.flatten(1).float() @ second.flatten(1).float().T
    either = first.sum(dim=(1, 2))[:, None] + second.sum(dim=(1, 2))[None] - both
    overlap = (both / either.clamp(min=1)).cpu().numpy()
    kept = torch.full_like(logits, NOWHERE)
    found, least = False, rules.agreement
    for slot, other in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[slot, other] >= least:
            kept[slot], found = (logits[slot] + mirrored[other]) / 2, True
        elif found:
            least = rules.late_agreement
    return kept


def new_objects(
    logits: Tensor,
    places: Sequence[Cells],
    taken: Tensor,
    rules: DiscoveryRules,
    confidence: float,
    threshold: float,
    *,
    most: int,
    still: Sequence[Cells] | None = None,
) -> tuple[list[int], Tensor]:
    """Say which of what the slots found are objects.

    Slots have learned to answer in the order of what stands out. So the first one with nothing but doubtful finds
    ends the search: what comes later is rather scenery than a thing.

    Args:
        logits: (S, h, w), what each slot found.
        places: the cells of each slot in which it is above the threshold.
        taken: (h, w) bool, where known objects are.
        rules: what else is asked of an object.
        confidence: the least mean probability inside its mask, 0..1.
        threshold: least probability inside a mask, 0..1.
        most: how many objects there may be.
        still: the cells of each slot that stand still while others move: an object by itself, or scenery.

    Returns:
        The slot that each object came from, and the objects' logits (M, h, w).
    """
    sources: list[int] = []
    planes: list[Tensor] = []
    for slot, cells in enumerate(places):
        if not cells.any():
            continue
        stands = np.zeros_like(cells) if still is None else still[slot]
        before, room = len(sources), most - len(sources)
        for plane, inside in _taken_apart(logits[slot], cells, stands, rules, confidence, threshold)[:room]:
            if int((inside & taken).sum()) <= rules.overlap * int(inside.sum()):
                sources.append(slot)
                planes.append(plane)
                taken = taken | inside
        if len(sources) == before:
            break
    return sources, torch.stack(planes) if planes else logits[:0]


def _taken_apart(
    logits: Tensor, cells: Cells, stands: Cells, rules: DiscoveryRules, confidence: float, threshold: float
) -> list[tuple[Tensor, Tensor]]:
    """Return the things that one slot shows, as ``things`` does; if one moves, each by itself what *stands* beside it.

    Where nothing is left of what moves, what stands belongs to it after all.
    """
    moving = emptied(logits[None], [stands])[0]
    found = list(things(moving, cells & ~stands, rules, confidence, threshold))
    if not stands.any():
        return found
    if not found:
        return list(things(logits, cells, rules, confidence, threshold))
    least, largest = max(confidence, rules.standing_confidence), int(found[0][1].sum())
    alone = emptied(logits[None], [cells & ~stands])[0]
    others = things(alone, stands, rules, least, threshold)
    return found + [(plane, inside) for plane, inside in others if int(inside.sum()) >= rules.splinter * largest]


def things(
    logits: Tensor, cells: Cells, rules: DiscoveryRules, confidence: float, threshold: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the logits (h, w) of each thing that one slot shows, and where it is, (h, w) bool; the largest first.

    Args:
        logits: (h, w), what the slot found.
        cells: in which it is above the threshold.
        rules: what is asked of a thing.
        confidence: the least mean probability inside its mask, 0..1.
        threshold: least probability inside a mask, 0..1.
    """
    groups = clusters(cells, rules.gap * min(cells.shape))
    large = [group for group in groups if group.sum() >= rules.splinter * groups[0].sum()]
    for group in large:
        plane = emptied(logits[None], [cells & ~group])[0]
        inside = plane.sigmoid() > threshold
        enough = int(inside.sum()) >= rules.area * inside.numel()
        if enough and float(plane.sigmoid()[inside].mean()) >= confidence:
            yield plane, inside


def _thick(masks: Tensor) -> Tensor:
    """Return masks (S, h, w) with what is near them."""
    return F.max_pool2d(masks.float(), 2 * THICKENING + 1, stride=1, padding=THICKENING) > 0
