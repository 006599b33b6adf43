"""The slots of one frame: features, masks and states enter, each slot's answer leaves when it is asked for.

``PlainSlots`` computes each slot as the paper has it; ``SharedSlots`` gives the same answers with less work. A gate
convolution is a sum over its input channels, so it falls apart: the part of the frame's features is computed once for
all slots, the part of the slots' own masks and last states for several slots at once, and only what must wait for the
slot before is left to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.model.convlstm import ConvLSTMCell, SpatialState
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.state import Hidden

GROUP = 4  # slots whose own parts are computed at once; more would only take memory


@dataclass(frozen=True)
class Kernels:
    """The gate kernel of one scale, cut by what its channels meet; each (4C, channels, k, k)."""

    skip: Tensor
    coarser: Tensor
    own: Tensor
    taken: Tensor
    spatial: Tensor
    temporal: Tensor


class PlainSlots:
    """The decoder over the slots of one frame; ask for slot 0, 1, 2, ... in this order."""

    def __init__(
        self,
        decoder: Decoder,
        skips: Sequence[Tensor],
        own: Sequence[Tensor] | None,
        temporal: Sequence[Hidden | None],
        *,
        taken_plane: int | None = None,
    ) -> None:
        """Start a frame.

        Args:
            decoder: whose weights are used.
            skips: (B, C, h/s, w/s) each, stride 32 first.
            own: (B, N, P, h/s, w/s) each: every slot's masks and cues; None for a network without.
            temporal: each slot's hidden states of the last frame, None where it starts afresh.
            taken_plane: place among the extra planes of what earlier slots of the frame have taken; None without.
        """
        self._decoder, self._skips, self._own, self._temporal = decoder, skips, own, temporal
        self._taken_plane = taken_plane

    def decode(
        self, slot: int, taken: Sequence[Tensor] | None, spatial: Sequence[SpatialState] | None
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
        """Return what ``Decoder.forward`` does for this slot.

        Args:
            slot: its number.
            taken: (B, 1, h/s, w/s) each; None where nothing is taken yet.
            spatial: the states of the slot before; None for zeros.
        """
        extras = None if self._own is None else [self._extra(scale, slot, taken) for scale in range(len(self._own))]
        answer: tuple[Tensor, tuple[SpatialState, ...]] = self._decoder(
            self._skips, extras, spatial, self._temporal[slot]
        )
        return answer

    def _extra(self, scale: int, slot: int, taken: Sequence[Tensor] | None) -> Tensor:
        planes = self._own[scale][:, slot]  # type: ignore[index]
        if self._taken_plane is None:
            return planes
        plane = torch.zeros_like(planes[:, :1]) if taken is None else taken[scale]
        return torch.cat([planes[:, : self._taken_plane], plane, planes[:, self._taken_plane :]], dim=1)


class SharedSlots(PlainSlots):
    """The same, without gradients: what slots share is computed once, what is known ahead for several at once."""

    def __init__(
        self,
        decoder: Decoder,
        skips: Sequence[Tensor],
        own: Sequence[Tensor] | None,
        temporal: Sequence[Hidden | None],
        *,
        taken_plane: int | None = None,
    ) -> None:
        """Compute what all slots share; see ``PlainSlots``."""
        super().__init__(decoder, skips, own, temporal, taken_plane=taken_plane)
        self._cells: list[ConvLSTMCell] = list(decoder.clstm_list)  # type: ignore[arg-type]
        planes = 0 if own is None else own[0].shape[2]
        self._kernels = self._cut_all(planes)
        self._shared = [
            convolve(skip, kernels.skip, cell, bias=True)
            if kernels.skip.shape[1]
            else cell.Gates.bias[None, :, None, None]  # type: ignore[index]
            for skip, kernels, cell in zip(skips, self._kernels, self._cells, strict=True)
        ]
        self._ahead: list[Tensor] = []

    def decode(
        self, slot: int, taken: Sequence[Tensor] | None, spatial: Sequence[SpatialState] | None
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
        """Decode one slot; see ``PlainSlots.decode``."""
        if slot % GROUP == 0:
            self._ahead = [self._known_ahead(scale, slot) for scale in range(len(self._cells))]
        states: list[SpatialState] = []
        for scale, (cell, kernels) in enumerate(zip(self._cells, self._kernels, strict=True)):
            late = []
            if scale:
                late.append((self._decoder.enlarge(states[-1][0], self._skips[scale]), kernels.coarser))
            if spatial is not None:
                late.append((spatial[scale][0], kernels.spatial))
            if taken is not None:
                late.append((taken[scale], kernels.taken))
            before = None if spatial is None else spatial[scale][1]
            states.append(self._advance(cell, self._ahead[scale][slot % GROUP], late, before))
        return self._decoder.answer(states[-1][0]), tuple(states)

    def _cut_all(self, planes: int) -> Sequence[Kernels]:
        """Cut each scale's kernel; see ``cut_kernels``."""
        scales = range(len(self._decoder.clstm_list))
        return [cut_kernels(self._decoder, scale, planes, self._taken_plane) for scale in scales]

    def _sum(self, parts: Sequence[tuple[Tensor, Tensor]], cell: ConvLSTMCell) -> Tensor:
        """Convolve inputs, each with its own kernel, and add up."""
        return convolve_all(parts, cell)

    def _advance(
        self, cell: ConvLSTMCell, ahead: Tensor, late: Sequence[tuple[Tensor, Tensor]], before: Tensor | None
    ) -> SpatialState:
        """Advance a cell whose gates are known but for *late* inputs with their kernels; *before* is its last state."""
        return cell.advance(self._sum(late, cell).add_(ahead) if late else ahead, before)

    def _known_ahead(self, scale: int, first: int) -> Tensor:
        """Return the gates of a group of slots, as far as they are known: (slots, B, 4C, h/s, w/s)."""
        cell, kernels, shared = self._cells[scale], self._kernels[scale], self._shared[scale]
        temporal = [None if hidden is None else hidden[scale] for hidden in self._temporal[first : first + GROUP]]
        parts = []
        if self._own is not None:
            own = self._own[scale][:, first : first + GROUP].transpose(0, 1).flatten(0, 1)
            parts.append((own, kernels.own))
        known = next((hidden for hidden in temporal if hidden is not None), None)
        if known is not None:
            zeros = torch.zeros_like(known)
            parts.append((torch.cat([zeros if hidden is None else hidden for hidden in temporal]), kernels.temporal))
        if not parts:
            skip = self._skips[scale]
            return shared.expand(len(temporal), skip.shape[0], -1, *skip.shape[-2:])
        gates = self._sum(parts, cell)
        return gates.view(len(temporal), -1, *gates.shape[1:]).add_(shared)


def cut_kernels(decoder: Decoder, scale: int, planes: int, taken_plane: int | None) -> Kernels:
    """Cut the gate kernel of *scale*; *planes* is the number of the slots' own ones, without the taken one."""
    cell: ConvLSTMCell = decoder.clstm_list[scale]  # type: ignore[assignment]
    extra, hidden = planes + (taken_plane is not None), cell.hidden_channels
    weight = cell.Gates.weight
    sizes = [weight.shape[1] - extra - 2 * hidden, extra, hidden, hidden]
    features, extras, spatial, temporal = torch.split(weight, sizes, dim=1)
    skip, coarser = decoder.divide(features, scale)
    place = extra if taken_plane is None else taken_plane
    own = torch.cat([extras[:, :place], extras[:, place + 1 :]], dim=1)
    return Kernels(skip, coarser, own, extras[:, place : place + 1], spatial, temporal)


def convolve(x: Tensor, kernel: Tensor, cell: ConvLSTMCell, *, bias: bool = False) -> Tensor:
    """Convolve *x* with a part of the cell's gate kernel."""
    return F.conv2d(x, kernel, cell.Gates.bias if bias else None, padding=cell.Gates.padding)


def convolve_all(parts: Sequence[tuple[Tensor, Tensor]], cell: ConvLSTMCell) -> Tensor:
    """Convolve the parts' inputs, each with its own kernel, and return the sum."""
    inputs, kernels = zip(*parts, strict=True)
    return convolve(side_by_side(inputs), torch.cat(kernels, dim=1), cell)


def side_by_side(inputs: Sequence[Tensor]) -> Tensor:
    """Put (B, C, h, w) inputs of different C together, in the layout that convolutions need not undo."""
    # The strides of a single plane fit both layouts, but ``cat`` takes them for the wrong one.
    last = any(x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last) for x in inputs)
    return torch.cat([_channels_last(x) for x in inputs] if last else list(inputs), dim=1)


def _channels_last(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[-2:], 1).movedim(-1, 1)
    return x.contiguous(memory_format=torch.channels_last)
