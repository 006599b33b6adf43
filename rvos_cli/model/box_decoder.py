"""Objects in boxes, and at points: features of a picture and where to look enter, the logits of the object leave.

The decoder of one object, which looks at the picture more than once, as if it were a video that stands still: with the
box, and from the second time on with its last answer and its own states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rvos_cli.config import ModelConfig
from rvos_cli.model.decoder import FINEST, Decoder, mean_pyramid, resize, shrink
from rvos_cli.model.encoder import Features

LOOKS = 2
BOX_PLANES = 2  # the box, and the last answer in it
POINT_PLANES = 2  # what is around points on the object, and around others


class BoxDecoder(Decoder):
    """A decoder with weights of its own, on the encoder of the network that follows."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the decoder without weights."""
        planes = BOX_PLANES + (POINT_PLANES if config.points else 0)
        super().__init__(config, planes)
        self.planes = planes

    def outline(self, features: Features, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
        """Return the logits (B, 1, h, w) of each look; *boxes* (B, 1, h, w) and *points* (B, 2, h, w) are 0..1."""
        size = features.size[0] // FINEST, features.size[1] // FINEST
        box = shrink(boxes, size).to(features.like.dtype)
        told = [] if points is None else [shrink(points, size).to(box.dtype)]
        answer, hidden = torch.zeros_like(box), None
        looks: list[Tensor] = []
        for _ in range(LOOKS):
            out, states = self(features.skips, mean_pyramid(torch.cat([box, answer, *told], dim=1)), None, hidden)
            looks.append(resize(out, features.size))
            hidden = [state for state, _ in states]
            answer = shrink(looks[-1].sigmoid(), (box.shape[-2], box.shape[-1])).to(box.dtype) * box
        return looks
