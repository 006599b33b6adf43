"""What graphs can have prepared: references, gate kernels and slots in the form in which a GPU computes them best.

For ``graphed.py``: what does not change from frame to frame is put together once, filled up to sizes that kernels for
16 bits want, and kept, since graphs read it where it lies. For inference only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rvos_cli.model.convlstm import ConvLSTMCell, SpatialState
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.encoder import Features
from rvos_cli.model.matching import MatchingCue
from rvos_cli.model.reading import BegunReading, attend
from rvos_cli.model.references import References
from rvos_cli.model.slots import Kernels, SharedSlots, convolve, cut_kernels, side_by_side
from rvos_cli.model.state import Hidden

FAR = 150.0  # as a logit: of what is so much less like a place than something else, nothing is read
WIDTH = 8  # channels of 16 bits of which a GPU's convolutions and attention want a multiple


class Prepared(References):
    """Reference frames as attention reads them: keys and masks are (1, H, R * h * w, E), E a multiple of ``WIDTH``.

    A head for all objects, and one for each kind of unequal ones, see ``References.unequal``: its keys are the farther
    from everything, the less a frame counts for them. In each head are the masks of its own objects alone. What it has
    inherited to tell of unequal ones means nothing here.
    """

    def widen(self, objects: int) -> Prepared:
        """Return it as it is: it was widened before."""
        return self


class PreparedCue(MatchingCue):
    """Reads the references of one clip as *cue* does, what does not depend on the frame at hand prepared."""

    def __init__(self, cue: MatchingCue, dtype: torch.dtype) -> None:
        """Read as *cue* does, in *dtype*."""
        nn.Module.__init__(self)
        self._cue, self._dtype = cue, dtype
        self._alike = cue.temperature
        self._near = [float(x) for x in torch.exp(-2 * cue.log_reach.detach())]
        self._places: dict[tuple[int, int, int], tuple[Tensor, ...]] = {}  # graphs read them: none is ever dropped

    def keys(self, x8: Tensor, x16: Tensor) -> Tensor:
        """See ``MatchingCue.keys``."""
        return self._cue.keys(x8, x16)

    def forward(self, query: Tensor, kept: References, last: References, begun: BegunReading | None = None) -> Tensor:
        """See ``MatchingCue.forward``; *kept* are prepared already."""
        objects, (height, width) = last.masks.shape[1], query.shape[-2:]
        with torch.autocast(query.device.type, enabled=False):
            readings = [
                _read(self._query(query, read, kind), read)[:, :objects]
                for kind, read in enumerate((kept, self.prepared(last, 1)))
            ]
        return torch.stack(readings).transpose(1, 2).reshape(1, 2, objects, height, width).float()

    def prepared(self, references: References, kind: int) -> References:
        """Prepare frames to be read as kept ones (*kind* 0) or as the last one (1)."""
        height, width = references.keys.shape[-2:]
        frames, objects, nearness = len(references), references.masks.shape[1], self._near[kind]
        length = self._length(objects)
        places = self._along(height, width, length)[-1].repeat(frames, 1)
        if references.favour:
            places[: references.trusted * height * width, 2] += references.favour / nearness
        rows = references.keys[0].permute(1, 2, 3, 0).flatten(0, 2).to(self._dtype)
        keys = torch.cat([rows, places], dim=1)
        masks = rows.new_zeros(len(rows), length)
        masks[:, :objects] = references.masks[0].permute(1, 2, 3, 0).flatten(0, 2)
        if not references.unequal:
            return Prepared(keys[None, None], masks[None, None], references.sharpness)
        return Prepared(*self._in_heads(keys, masks, references, nearness), references.sharpness)

    def _in_heads(self, keys: Tensor, masks: Tensor, references: References, nearness: float) -> tuple[Tensor, Tensor]:
        """Return keys and masks (1, H, R * h * w, E) of (R * h * w, E)."""
        each, heads = len(keys) // len(references), 1 + len(references.unequal)
        everything, keys, masks = masks, keys.repeat(heads, 1, 1), masks.new_zeros(heads, *masks.shape)
        masks[0] = everything
        alike = self._cue.fine.out_channels + 2  # the channel that counts for all positions of a frame alike
        for head, (shares, objects) in enumerate(references.unequal, start=1):
            for one in objects:
                masks[head, :, one] = everything[:, one]
                masks[0, :, one] = 0
            for place, share in enumerate(shares):
                if share < 1:
                    away = -math.log(share) if share else FAR
                    keys[head, place * each : (place + 1) * each, alike] -= away / nearness
        return keys[None], masks[None]

    def _query(self, query: Tensor, read: References, kind: int) -> Tensor:
        rows = query[0].permute(1, 2, 0).flatten(0, 1) * (self._alike * read.sharpness)
        places = self._along(query.shape[-2], query.shape[-1], read.keys.shape[-1])[kind]
        return torch.cat([rows.to(self._dtype), places], dim=1)[None, None]

    def _length(self, objects: int) -> int:
        channels = self._cue.fine.out_channels + 3
        return WIDTH * -(-max(channels, objects) // WIDTH)

    def _along(self, height: int, width: int, length: int) -> tuple[Tensor, ...]:
        """Return what stands behind the channels, (h * w, E - D) each: of queries of both kinds, and of keys.

        See ``MatchingCue._query_with_places``.
        """
        key = height, width, length
        if key not in self._places:
            self._places[key] = self._made_along(*key)
        return self._places[key]

    def _made_along(self, height: int, width: int, length: int) -> tuple[Tensor, ...]:
        device = self._cue.log_temperature.device
        rows, columns = (torch.arange(n, device=device).float() / min(height, width) for n in (height, width))
        grid = torch.meshgrid(rows - rows.mean(), columns - columns.mean(), indexing="ij")
        place = torch.stack(grid, dim=-1).flatten(0, 1)
        ones = torch.ones_like(place[:, :1])
        rest = place.new_zeros(len(place), length - self._cue.fine.out_channels - 3)
        queries = [torch.cat([torch.cat([place, ones], dim=1) * nearness, rest], dim=1) for nearness in self._near]
        half_square = -0.5 * place.square().sum(dim=1, keepdim=True)
        return tuple(x.to(self._dtype) for x in (*queries, torch.cat([place, half_square, rest], dim=1)))


class PreparedKernels:
    """The decoder's gate kernels, each combination that slots need put together once, and filled up to ``WIDTH``."""

    def __init__(self, decoder: Decoder) -> None:
        """Cut nothing yet; *decoder* is in torch's order, see ``in_torch_order``."""
        self._decoder = decoder
        self._cut: dict[tuple[int, int | None], list[Kernels]] = {}
        self._joined: dict[tuple[int, ...], Tensor] = {}
        self._zeros: dict[tuple[object, ...], Tensor] = {}

    def cut(self, planes: int, taken_plane: int | None) -> list[Kernels]:
        """Return each scale's kernels; see ``cut_kernels``."""
        key = planes, taken_plane
        if key not in self._cut:
            scales = range(len(self._decoder.clstm_list))
            self._cut[key] = [cut_kernels(self._decoder, scale, planes, taken_plane) for scale in scales]
        return self._cut[key]

    def joined(self, kernels: Sequence[Tensor]) -> Tensor:
        """Return kernels side by side, and zeros behind them; they are of those that ``cut`` returns."""
        key = tuple(id(kernel) for kernel in kernels)
        if key not in self._joined:
            together = torch.cat(list(kernels), dim=1)
            missing = together.new_zeros(together.shape[0], -together.shape[1] % WIDTH, *together.shape[2:])
            filled = torch.cat([together, missing], dim=1)
            self._joined[key] = filled.contiguous(memory_format=torch.channels_last)
        return self._joined[key]

    def filled(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return inputs side by side, and zeros behind them."""
        like, missing = inputs[0], -sum(x.shape[1] for x in inputs) % WIDTH
        if not missing:
            return side_by_side(inputs)
        key = like.shape[0], missing, *like.shape[2:]
        if key not in self._zeros:
            zeros = like.new_zeros(like.shape[0], missing, *like.shape[2:])
            self._zeros[key] = zeros.contiguous(memory_format=torch.channels_last)
        return side_by_side([*inputs, self._zeros[key]])


class PreparedSlots(SharedSlots):
    """Does the same as ``SharedSlots`` with kernels that are put together already, all in one type."""

    def __init__(
        self,
        kernels: PreparedKernels,
        decoder: Decoder,
        features: Features,
        own: list[Tensor] | None,
        temporal: list[Hidden | None],
        taken_plane: int | None,
    ) -> None:
        """Compute what all slots share; *kernels* are those of *decoder*, the rest as for ``PlainSlots``."""
        self._prepared, self._device, self._dtype = kernels, features.like.device.type, features.like.dtype
        alike = None if own is None else [x.to(self._dtype) for x in own]
        with self._as_it_is():
            super().__init__(decoder, features.skips, alike, temporal, taken_plane=taken_plane)

    def decode(
        self, slot: int, taken: Sequence[Tensor] | None, spatial: Sequence[SpatialState] | None
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
        """Decode one slot; see ``PlainSlots.decode``."""
        with self._as_it_is():
            return super().decode(slot, taken, spatial)

    def _as_it_is(self) -> torch.autocast:
        return torch.autocast(self._device, enabled=False)

    def _cut_all(self, planes: int) -> Sequence[Kernels]:
        return self._prepared.cut(planes, self._taken_plane)

    def _sum(self, parts: Sequence[tuple[Tensor, Tensor]], cell: ConvLSTMCell) -> Tensor:
        inputs, kernels = zip(*parts, strict=True)
        return convolve(self._prepared.filled(inputs), self._prepared.joined(kernels), cell)

    def _advance(
        self, cell: ConvLSTMCell, ahead: Tensor, late: Sequence[tuple[Tensor, Tensor]], before: Tensor | None
    ) -> SpatialState:
        gates = self._sum(late, cell) if late else torch.zeros_like(ahead)
        if not gates.is_cuda:
            enter, remember, candidate, leave = (gates + ahead).chunk(4, dim=1)
            return cell.advance(torch.cat([enter, remember, leave, candidate], dim=1), before)
        if before is None:
            before = torch.zeros_like(gates[:, : cell.hidden_channels])
        hidden, after, _ = torch.ops.aten._thnn_fused_lstm_cell(*(_rows(x) for x in (gates, ahead, before)))
        return _planes(hidden, before), _planes(after, before)


def _read(query: Tensor, references: References) -> Tensor:
    """Read prepared references with queries (1, 1, h * w, E): (h * w, E)."""
    heads = references.masks.shape[1]
    if heads == 1:
        return attend(query, references.keys, references.masks)[0, 0]
    return attend(query.repeat(1, heads, 1, 1), references.keys, references.masks)[0].sum(dim=0)


def in_torch_order(decoder: Decoder) -> Decoder:
    """Return a copy whose gates are in the order of torch's kernel for LSTMs: the last two have traded places."""
    copied = copy.deepcopy(decoder)
    for name, values in copied.named_parameters():
        if ".Gates." in name:
            enter, remember, leave, candidate = values.data.chunk(4)
            values.data = torch.cat([enter, remember, candidate, leave])
    return copied


def _rows(planes: Tensor) -> Tensor:
    """Return (B, C, h, w) as (B * h * w, C); where channels come last, nothing is copied."""
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


def _planes(rows: Tensor, like: Tensor) -> Tensor:
    """Undo ``_rows``."""
    return rows.view(like.shape[0], *like.shape[-2:], -1).permute(0, 3, 1, 2)
