"""Pictures through the box decoder: frames and true labels enter, the loss of what it outlines leaves.

Of each clip's first frame one object is chosen, and what is around it is looked at, as ``outliner.py`` does it: told of
its box, or of points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.boxes import Box, window
from rvos_cli.model import RVOS
from rvos_cli.model.box_decoder import LOOKS, BoxDecoder
from rvos_cli.model.convlstm import ConvLSTMCell
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.rvos import CUE_PLANES, KNOWN_PLANE, OWN_PLANES
from rvos_cli.preprocess import box_plane, network_size_of_part, point_plane
from rvos_cli.training.losses import mask_loss
from rvos_cli.training.pieces import bounding_box
from rvos_cli.training.point_draws import PointDraws
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
        pointed: share of the clips of which points are told,
        boxed: and of these, of which the box is told, too.
        points: how points are drawn.
        distances: between these is the context of what is told of points alone, small ones as often as large ones,
        everywhere: or all of the frame is looked at, in such a share of the clips.
        aside: standard deviation of a side's place there, since nobody knows where the object ends.
    """

    slots: int = 4
    contexts: tuple[float, float] = (1.2, 2.2)
    sides: tuple[float, float] = (256, 384)
    least: int = 150
    care: float = 0.02
    pointed: float = 0.0
    boxed: float = 0.2
    points: PointDraws = field(default_factory=PointDraws)
    distances: tuple[float, float] = (1.3, 8.0)
    everywhere: float = 0.25
    aside: float = 0.15

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
        box = _moved((first, above, last, below), labels, self.care, draw)
        if min(box[2] - box[0], box[3] - box[1]) < NARROWEST:
            return None  # as one beside the border may be; that clip teaches nothing
        return identity, box

    def _outlined(
        self, model: RVOS, frame: Tensor, labels: Tensor, identity: int, box: Box, draw: torch.Generator
    ) -> Tensor:
        """Return the loss of each look (LOOKS,) at an object in a frame (3, h, w) with labels (h, w)."""
        pointed = bool(self.pointed) and _chance(self.pointed, draw)
        boxed = not pointed or _chance(self.boxed, draw)
        rows, columns = self._around(box, labels == identity, draw, boxed=boxed)
        part, known = frame[None, :, rows, columns], labels[None, None, rows, columns]
        size = network_size_of_part((known.shape[2], known.shape[3]), _between(*self.sides, draw))
        picture = F.interpolate(part, size=size, mode="bilinear", align_corners=False, antialias=True)
        truth, unknown = (
            F.interpolate(plane.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
            for plane in (known == identity, known == IGNORED_LABEL)
        )
        inside = box_plane(box, rows, columns, size, frame.device) if boxed else torch.ones_like(truth)
        counts = ((inside > 0) & (unknown < 0.01)).float()
        told = {}
        if self.pointed:
            points = self.points.draw(labels[rows, columns].cpu(), identity, draw) if pointed else ([], [])
            whole = slice(0, known.shape[2]), slice(0, known.shape[3])
            told["points"] = torch.cat([point_plane(each, *whole, size, frame.device) for each in points], dim=1)
        looks = [mask_loss(look.float(), truth, counts) for look in model.outline(picture, inside, **told)]
        return torch.cat(looks).flatten()

    def _around(self, box: Box, mask: Tensor, draw: torch.Generator, *, boxed: bool) -> tuple[slice, slice]:
        """Return the rows and columns to look at for an object (h, w) with a box, or of which points alone are told."""
        frame = mask.shape[0], mask.shape[1]
        if boxed:
            return window(box, frame, _between(*self.contexts, draw))
        near, far = map(math.log, self.distances)
        rows, columns = window(_moved(box, mask, self.aside, draw), frame, math.exp(_between(near, far, draw)))
        if _chance(self.everywhere, draw) or not mask[rows, columns].any():
            return slice(0, frame[0]), slice(0, frame[1])
        return rows, columns


def _moved(box: Sequence[float], frame: Tensor, care: float, draw: torch.Generator) -> Box:
    """Return a box in a frame (h, w) with its sides elsewhere: *care* is a standard deviation, in heights or widths."""
    true = torch.tensor(box, dtype=torch.float32)
    spans = (true[2:] - true[:2]).repeat(2)
    drawn = true + care * spans * torch.randn(4, generator=draw)
    most = torch.tensor([frame.shape[1], frame.shape[0]], dtype=torch.float32).repeat(2)
    left, top, right, bottom = torch.minimum(drawn.clamp(min=0), most).tolist()
    return left, top, max(left, right), max(top, bottom)


def _between(low: float, high: float, draw: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


def _chance(share: float, draw: torch.Generator) -> bool:
    return float(torch.rand((), generator=draw)) < share


@torch.no_grad()
def begin_box_decoder(model: RVOS, *, like: Decoder) -> None:
    """Let the box decoder of *model* begin as a decoder of slots, or as a box decoder; points tell it nothing new."""
    known = like.planes if isinstance(like, BoxDecoder) else CUE_PLANES
    for own, cell in zip(like.clstm_list, model.box_decoder.clstm_list, strict=True):
        assert isinstance(own, ConvLSTMCell) and isinstance(cell, ConvLSTMCell)
        weight, hidden = own.Gates.weight, 2 * own.hidden_channels
        features, planes, states = torch.split(weight, [weight.shape[1] - known - hidden, known, hidden], dim=1)
        bias = own.Gates.bias
        assert bias is not None
        if not isinstance(like, BoxDecoder):
            half = planes[:, list(OWN_PLANES)].sum(dim=1, keepdim=True) / 2
            bias = bias + planes[:, KNOWN_PLANE].sum(dim=(1, 2))
            planes = torch.cat([half, half], dim=1)
        planes = planes[:, : model.box_decoder.planes]
        new = planes.new_zeros(len(planes), model.box_decoder.planes - planes.shape[1], *planes.shape[2:])
        cell.Gates.weight.copy_(torch.cat([features, planes, new, states], dim=1))
        cell.Gates.bias.copy_(bias)  # type: ignore[union-attr]
    model.box_decoder.conv_out.load_state_dict(like.conv_out.state_dict())
