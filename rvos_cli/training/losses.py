"""What training minimises: logits and true masks enter, one number per slot leaves.

Soft IoU is the paper's loss (section 4); cross-entropy is added because soft IoU says nothing about a mask that should
be empty.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CUE_EPSILON = 1e-3


def soft_iou_loss(probabilities: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - soft IoU per plane, (...) for inputs (..., h, w), all 0..1; *valid* is 0 where truth is unknown."""
    probabilities, truth = probabilities * valid, truth * valid
    both = (probabilities * truth).flatten(-2).sum(-1)
    either = (probabilities + truth - probabilities * truth).flatten(-2).sum(-1)
    return 1 - both / either.clamp(min=1e-6)


def cross_entropy(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of each plane, (...) for inputs (..., h, w)."""
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * valid
    return each.flatten(-2).sum(-1) / valid.expand_as(each).flatten(-2).sum(-1).clamp(min=1)


def mask_loss(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return soft IoU plus twice the cross-entropy per plane; of an empty true mask, twice the cross-entropy alone."""
    seen = (truth * valid).flatten(-2).sum(-1) > 0
    overlap = soft_iou_loss(logits.sigmoid(), truth, valid)
    return overlap * seen + 2 * cross_entropy(logits, truth, valid)


def cue_loss(cue: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean cross-entropy of the matching cue per plane.

    Args:
        cue: (B, 2, N, h/8, w/8), 0..1.
        truth: (B, N, h, w), 0..1.
        valid: (B, 1, h, w), 0 where truth is unknown: cells count by the share of them that is known.

    Returns:
        (B, N).
    """
    known = F.interpolate(valid, size=cue.shape[-2:], mode="area")
    shown = F.interpolate(truth * valid, size=cue.shape[-2:], mode="area")
    small = (shown / known.clamp(min=1e-6))[:, None].expand_as(cue)
    known = known[:, None].expand_as(cue)
    guess = cue.float().clamp(CUE_EPSILON, 1 - CUE_EPSILON)
    each = -(small * guess.log() + (1 - small) * (1 - guess).log())
    return (each * known).mean(dim=(1, 3, 4)) / known.mean(dim=(1, 3, 4)).clamp(min=1e-6)


def assignment_cost(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return what it costs to let slot s answer for object o: (S, O) for logits (S, h, w) and truth (O, h, w)."""
    pairs = logits[:, None].expand(-1, truth.shape[0], -1, -1)
    return mask_loss(pairs, truth[None].expand_as(pairs), valid).to(torch.float32)


def overlap_cost(probabilities: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - soft IoU of every pair: (S, O) for (S, h, w) and (O, h, w); *valid* broadcasts to both."""
    guess, wanted = (probabilities * valid).flatten(1), (truth * valid).flatten(1)
    with torch.autocast(guess.device.type, enabled=False):  # sums over a whole picture need their 32 bits
        both = guess.float() @ wanted.float().T
    either = guess.sum(dim=1)[:, None] + wanted.sum(dim=1)[None] - both
    return 1 - both / either.clamp(min=1e-6)
