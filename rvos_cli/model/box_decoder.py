"""Objects in boxes: features of a picture and a box in it enter, the logits of what stands in it leave.

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


class BoxDecoder(Decoder):
    """A decoder with weights of its own, on the encoder of the network that follows."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the decoder without weights."""
        super().__init__(config, BOX_PLANES)

    def outline(self, features: Features, boxes: Tensor) -> list[Tensor]:
        """Return the logits (B, 1, h, w) of each look; *boxes* are (B, 1, h, w), 0..1."""
        box = shrink(boxes, (features.size[0] // FINEST, features.size[1] // FINEST)).to(features.like.dtype)
        answer, hidden = torch.zeros_like(box), None
        looks: list[Tensor] = []
        for _ in range(LOOKS):
            out, states = self(features.skips, mean_pyramid(torch.cat([box, answer], dim=1)), None, hidden)
            looks.append(resize(out, features.size))
            hidden = [state for state, _ in states]
            answer = shrink(looks[-1].sigmoid(), (box.shape[-2], box.shape[-1])).to(box.dtype) * box
        return looks
