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

FINEST = 4  # stride at which the slots' finest states and planes are


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
        return self.answer(states[-1][0]), tuple(states)

    def answer(self, hidden: Tensor) -> Tensor:
        """Return the logits (B, 1, h/2, w/2) of the finest hidden state (B, C, h/4, w/4)."""
        logits: Tensor = self.conv_out(resize(hidden, (2 * hidden.shape[-2], 2 * hidden.shape[-1])))
        return logits

    def enlarge(self, hidden: Tensor, skip: Tensor) -> Tensor:
        """Return what the next finer gates see of *hidden* besides the skip feature's own part (see ``divide``)."""
        hidden = resize(hidden, (skip.shape[-2], skip.shape[-1]))
        return hidden * skip if self.skip_mode == "mul" else hidden

    def divide(self, kernel: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Divide the features' part of a gate kernel (4C, channels, k, k) into the skip's and that of ``enlarge``."""
        none = kernel[:, :0]
        if scale == 0:
            return kernel, none
        if self.skip_mode == "concat":
            enlarged, skip = kernel.chunk(2, dim=1)
            return skip, enlarged
        return (kernel if self.skip_mode == "sum" else none), kernel

    def _join(self, hidden: Tensor, skip: Tensor) -> Tensor:
        enlarged = self.enlarge(hidden, skip)
        if self.skip_mode == "concat":
            return torch.cat([enlarged, skip], dim=1)
        return enlarged + skip if self.skip_mode == "sum" else enlarged


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly with aligned corners, which the published weights expect."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def shrink(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average (B, C, h, w) down to *size*, of which h and w are multiples."""
    return F.avg_pool2d(x, (x.shape[-2] // size[0], x.shape[-1] // size[1]))


def mean_pyramid(planes: Tensor) -> list[Tensor]:
    """Return planes (..., C, h, w) of stride 4 as averages at the decoder's strides, 32 first."""
    pyramid = [planes]
    for _ in range(3):
        finer = pyramid[-1]
        coarser = F.avg_pool2d(finer.flatten(0, -4), 2)
        pyramid.append(coarser.view(*finer.shape[:-2], *coarser.shape[-2:]))
    return list(reversed(pyramid))
