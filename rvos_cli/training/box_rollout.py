"""Pictures with boxes through the box decoder: frames and true labels enter, the loss of what it outlines leaves.

Of each clip's first frame one object is chosen, and what is around its box is looked at, as ``outliner.py`` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.boxes import Box, window
from rvos_cli.model import RVOS
from rvos_cli.model.box_decoder import LOOKS
from rvos_cli.model.convlstm import ConvLSTMCell
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.rvos import CUE_PLANES, KNOWN_PLANE, OWN_PLANES
from rvos_cli.preprocess import box_plane, network_size_of_part
from rvos_cli.training.losses import mask_loss
from rvos_cli.training.pieces import bounding_box
from rvos_cli.training.rollout import IGNORED_LABEL, Losses

NARROWEST = 6.0  # pixels


@dataclass(frozen=True, kw_only=True)
class BoxRollout:
    """How boxes are drawn.

    Args:
        slots: the largest number of objects of a clip, of which one is chosen.
        contexts: between these, how much of the picture is looked at, see ``window``.
        sides: between these, that of the square that has as many pixels as the network's picture.
        least: pixels that an object has at least.
        care: standard deviation of a side's place, in heights or widths of the box.
    """

    slots: int = 4
    contexts: tuple[float, float] = (1.2, 2.2)
    sides: tuple[float, float] = (256, 384)
    least: int = 150
    care: float = 0.02

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
        """Outline an object of each clip and return the loss.

        Args:
            model: a network with a box decoder.
            frames: (B, T, 3, h, w), normalised, of which the first is looked at.
            labels: (B, T, h, w) uint8: 0 background, 1..K objects, 255 unknown.
            complete: (B,) bool: everything that stands out is labelled, each thing by itself.
            draws: on the CPU, one for each clip: they choose object, box and part.
            teacher: not looked at: no frame follows.
            separate: (B,) bool: at least each label is one thing by itself, which has to be so; None for as *complete*.
        """
        losses = Losses(frames.new_zeros(()))
        each = frames.new_zeros(len(frames), LOOKS)
        there = torch.zeros_like(each)
        usable = (complete if separate is None else separate).tolist()
        for clip, (frame, known, draw) in enumerate(zip(frames[:, 0], labels[:, 0], draws, strict=True)):
            chosen = self._choose(known, draw) if usable[clip] else None
            if chosen is not None:
                each[clip], there[clip] = self._outlined(model, frame, known, *chosen, draw), 1.0
        losses.add("outline", each, there, 1.0, 1)
        return losses

    def _choose(self, labels: Tensor, draw: torch.Generator) -> tuple[int, Box] | None:
        """Choose an object of labels (h, w) and a box that is drawn around it; None if there is no large one."""
        counts = torch.bincount(labels.flatten().cpu(), minlength=256)
        ids = (counts[1:IGNORED_LABEL] >= self.least).nonzero().flatten() + 1
        if not len(ids):
            return None
        identity = int(ids[torch.randint(len(ids), (), generator=draw)])
        above, first, below, last = bounding_box((labels == identity).cpu().numpy())
        true = torch.tensor([first, above, last, below], dtype=torch.float32)
        spans = (true[2:] - true[:2]).repeat(2)
        box = true + self.care * spans * torch.randn(4, generator=draw)
        most = torch.tensor([labels.shape[1], labels.shape[0]], dtype=torch.float32).repeat(2)
        left, top, right, bottom = torch.minimum(box.clamp(min=0), most).tolist()
        if min(right - left, bottom - top) < NARROWEST:
            return None  # as one beside the border may be; that clip teaches nothing
        return identity, (left, top, right, bottom)

    def _outlined(
        self, model: RVOS, frame: Tensor, labels: Tensor, identity: int, box: Box, draw: torch.Generator
    ) -> Tensor:
        """Return the loss of each look (LOOKS,) at what is around a box in a frame (3, h, w) with labels (h, w)."""
        context, side = (_between(*bounds, draw) for bounds in (self.contexts, self.sides))
        rows, columns = window(box, (labels.shape[0], labels.shape[1]), context)
        part, known = frame[None, :, rows, columns], labels[None, None, rows, columns]
        size = network_size_of_part((known.shape[2], known.shape[3]), side)
        picture = F.interpolate(part, size=size, mode="bilinear", align_corners=False, antialias=True)
        truth, unknown = (
            F.interpolate(plane.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
            for plane in (known == identity, known == IGNORED_LABEL)
        )
        inside = box_plane(box, rows, columns, size, frame.device)
        counts = ((inside > 0) & (unknown < 0.01)).float()
        looks = [mask_loss(look.float(), truth, counts) for look in model.outline(picture, inside)]
        return torch.cat(looks).flatten()


def _between(low: float, high: float, draw: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


@torch.no_grad()
def begin_box_decoder(model: RVOS, *, like: Decoder) -> None:
    """Let the box decoder of *model* begin as a decoder of slots."""
    for own, cell in zip(like.clstm_list, model.box_decoder.clstm_list, strict=True):
        assert isinstance(own, ConvLSTMCell) and isinstance(cell, ConvLSTMCell)
        weight, hidden = own.Gates.weight, 2 * own.hidden_channels
        sizes = [weight.shape[1] - CUE_PLANES - hidden, CUE_PLANES, hidden]
        features, planes, states = torch.split(weight, sizes, dim=1)
        half = planes[:, list(OWN_PLANES)].sum(dim=1, keepdim=True) / 2
        cell.Gates.weight.copy_(torch.cat([features, half, half, states], dim=1))
        cell.Gates.bias.copy_(own.Gates.bias + planes[:, KNOWN_PLANE].sum(dim=(1, 2)))  # type: ignore[union-attr,operator]
    model.box_decoder.conv_out.load_state_dict(like.conv_out.state_dict())
