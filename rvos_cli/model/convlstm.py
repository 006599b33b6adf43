"""The ConvLSTM cell of the decoder: an input and two states enter, a new state leaves.

Its cell state comes from the object before (space); its hidden states from the object before and from the same object
one frame earlier (time) (paper, section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SpatialState = tuple[Tensor, Tensor]  # hidden and cell, each (B, C, h, w)


class ConvLSTMCell(nn.Module):
    """One gate convolution over the input, its extra channels (mask, cue) and the two hidden states."""

    def __init__(self, input_channels: int, extra_channels: int, hidden_channels: int, kernel_size: int) -> None:
        """Build a cell whose extra channels may be none (zero-shot), one mask (published) or a mask and a cue."""
        super().__init__()
        self.hidden_channels = hidden_channels
        channels = input_channels + extra_channels + 2 * hidden_channels
        self.Gates = nn.Conv2d(channels, 4 * hidden_channels, kernel_size, padding=kernel_size // 2)

    def forward(
        self, features: Tensor, extra: Tensor | None, spatial: SpatialState | None, temporal: Tensor | None
    ) -> SpatialState:
        """Advance the cell; all tensors are (B, C, h, w), a state of None is all zeros.

        Returns:
            The hidden and the cell state of this object in this frame.
        """
        zeros = features.new_zeros(features.shape[0], self.hidden_channels, *features.shape[-2:])
        hidden, cell = spatial if spatial is not None else (zeros, None)
        before = temporal if temporal is not None else zeros
        parts = [features, hidden, before] if extra is None else [features, extra, hidden, before]
        return self.advance(self.Gates(torch.cat(parts, dim=1)), cell)

    def advance(self, gates: Tensor, cell: Tensor | None) -> SpatialState:
        """Turn the gate convolution's output (B, 4C, h, w) and the last cell, None for zeros, into the new state."""
        parts = gates.chunk(4, dim=1)
        if gates.device.type == "cpu" and gates.is_contiguous(memory_format=torch.channels_last):
            # A processor goes through whole tensors several times as fast as through every fourth run of channels.
            parts = tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)
        enter, remember, leave, candidate = parts
        entered = torch.sigmoid(enter) * torch.tanh(candidate)
        cell = entered if cell is None else torch.sigmoid(remember) * cell + entered
        return torch.sigmoid(leave) * torch.tanh(cell), cell
