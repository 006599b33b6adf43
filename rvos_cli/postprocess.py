"""Network output to label maps: logits of every object enter, one uint8 label map of the source's size leaves."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def label_map(logits: Tensor, ids: tuple[int, ...], size: tuple[int, int], threshold: float) -> NDArray[np.uint8]:
    """Turn logits (N, h, w) into labels (H, W) uint8.

    A pixel belongs to the most probable object if that is more probable than *threshold* (0..1), otherwise to the
    background; *ids* are the N objects' ids.
    """
    if not ids:
        return np.zeros(size, np.uint8)
    full = F.interpolate(logits[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    best, index = full.max(dim=0)
    names = torch.tensor(ids, dtype=torch.uint8, device=logits.device)
    least = math.log(threshold / (1 - threshold))
    labels: NDArray[np.uint8] = torch.where(best > least, names[index], names.new_zeros(())).cpu().numpy()
    return labels
