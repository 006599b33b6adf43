"""The decoder of one object: features and states enter, its mask logits and new states leave.

Four ConvLSTMs from stride 32 to stride 4; each one's hidden state is enlarged and joined by the next finer features
(paper, figure 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.model.convlstm import ConvLSTMCell, SpatialState


class Decoder(nn.Module):
    """Parameter names are the published ones (``clstm_list.0.Gates``, ``conv_out``)."""

    def __init__(self, config: ModelConfig, extra_channels: int) -> None:
        """Build the decoder; *extra_channels* is the number of mask and cue planes at every scale."""
        super().__init__()
        self.skip_mode = config.skip_mode
        hidden = [config.hidden_size // divisor for divisor in (1, 2, 4, 8)]
        widening = 2 if config.skip_mode == "concat" else 1
        inputs = [config.hidden_size, *(channels * widening for channels in hidden[:-1])]
        self.clstm_list = nn.ModuleList(
            ConvLSTMCell(c_in, extra_channels, c_hidden, config.kernel_size)
            for c_in, c_hidden in zip(inputs, hidden, strict=True)
        )
        self.conv_out = nn.Conv2d(hidden[-1], 1, config.kernel_size, padding=config.kernel_size // 2)

    def forward(
        self,
        skips: Sequence[Tensor],
        extras: Sequence[Tensor] | None,
        spatial: Sequence[SpatialState] | None,
        temporal: Sequence[Tensor] | None,
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
        """Decode one object; every sequence goes from stride 32 to stride 4.

        Returns:
            Logits (B, 1, h/2, w/2) and the four states.
        """
        states: list[SpatialState] = []
        x = skips[0]
        for scale, cell in enumerate(self.clstm_list):
            if scale:
                x = self._join(states[-1][0], skips[scale])
            states.append(
                cell(
                    x,
                    None if extras is None else extras[scale],
                    None if spatial is None else spatial[scale],
                    None if temporal is None else temporal[scale],
                )
            )
        hidden = states[-1][0]
        enlarged = resize(hidden, (2 * hidden.shape[-2], 2 * hidden.shape[-1]))
        return self.conv_out(enlarged), tuple(states)

    def _join(self, hidden: Tensor, skip: Tensor) -> Tensor:
        hidden = resize(hidden, (skip.shape[-2], skip.shape[-1]))
        if self.skip_mode == "concat":
            return torch.cat([hidden, skip], dim=1)
        if self.skip_mode == "sum":
            return hidden + skip
        if self.skip_mode == "mul":
            return hidden * skip
        return hidden


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly with aligned corners, which the published weights expect."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
