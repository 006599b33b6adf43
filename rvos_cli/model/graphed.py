"""The network as CUDA graphs replay it: the same answers, rounding errors aside, in less time.

An ``RVOS`` on a GPU, in eval mode, enters; one leaves that shares its weights, for the frames of one video, one after
the other. What can be prepared for its graphs is prepared here: kernels put together and filled up once, references
read as they lie there for a while. For inference only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.graphs import Replayed
from rvos_cli.model.convlstm import ConvLSTMCell, SpatialState
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.encoder import Features
from rvos_cli.model.matching import MatchingCue, References
from rvos_cli.model.reading import BegunReading, attend
from rvos_cli.model.rvos import RVOS, StepOutput
from rvos_cli.model.slots import Kernels, SharedSlots, convolve, cut_kernels, side_by_side
from rvos_cli.model.state import Hidden, RecurrentState

SCALES = 4  # of hidden states
WIDTH = 8  # channels of 16 bits of which a GPU's convolutions and attention want a multiple
WORTH_GRAPHS = 30  # frames from which on recording has paid

# From a picture (H, W, 3) uint8 on a device, and the frame's size (h, w), to the network's input (1, 3, h, w) there.
Inputs = Callable[[Tensor, tuple[int, int], ModelConfig], Tensor]


def for_gpu(model: RVOS, dtype: torch.dtype) -> RVOS:
    """Give a network with folded norms the form in which a GPU computes it best, and return it.

    The weights of its convolutions are in *dtype*, as autocast would cast them in every frame. Those of the trunk
    that look at single positions are matrix products, which add their bias themselves.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    for name, module in list(model.encoder.base.named_modules()):
        if isinstance(module, nn.Conv2d) and _is_pointwise(module):
            parent, _, last = name.rpartition(".")
            setattr(model.encoder.base.get_submodule(parent), last, _Pointwise(module))
    return model


def _is_pointwise(convolution: nn.Conv2d) -> bool:
    plain = convolution.stride == convolution.kernel_size == (1, 1) and convolution.groups == 1
    return plain and convolution.bias is not None


class _Pointwise(nn.Module):
    """A convolution of single positions, for (B, C, h, w) whose channels come last."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(convolution.weight.detach().flatten(1)), convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class GraphedRVOS(RVOS):
    """An ``RVOS`` for one video on a GPU, without gradients; its weights are those of *model*.

    What ``decode`` returns is good until it is called again, keys excepted.
    """

    def __init__(self, model: RVOS, dtype: torch.dtype, inputs: Inputs) -> None:
        """Take over the parts of *model*.

        Args:
            model: its convolutions have weights in *dtype*.
            dtype: of the arithmetic.
            inputs: makes the network's input of a picture.
        """
        nn.Module.__init__(self)
        self.config = model.config
        self.encoder, self.decoder = model.encoder, _in_torch_order(model.decoder)
        if model.config.matching:
            self.matching = self._cue = _PreparedCue(model.matching, dtype)
            self.cue_gain = model.cue_gain
        self._dtype, self._inputs = dtype, inputs
        self._device = self.decoder.conv_out.weight.device
        self._kernels = _PreparedKernels(self.decoder)
        self._kept: tuple[References | None, int, References | None] = None, 0, None
        self._encoding, self._picture = Replayed(self._encode, self._device), _Pinned(self._device)
        self._decoding = Replayed(self._decode, self._device)
        self.eval()

    def end_of_video(self) -> None:
        """Give back what the GPU holds for this video."""
        self._encoding.forget()
        self._decoding.forget()
        self._kept = None, 0, None

    def encode_picture(self, picture: Tensor, size: tuple[int, int]) -> Features:
        """Encode a picture (H, W, 3) uint8 in this processor's memory as a frame of *size*.

        The features are good until the next call, the keys for ever.
        """
        with self._picture.of(picture) as there:
            outputs = self._encoding([there], size=size)
        return Features(outputs[:SCALES], (), size, *(x.clone() for x in outputs[SCALES:]))

    def decode(
        self,
        features: Features,
        state: RecurrentState | None = None,
        *,
        slots: int,
        masks: Tensor | None = None,
        known: Tensor | None = None,
        kept: References | None = None,
        last: References | None = None,
        begun: BegunReading | None = None,
    ) -> StepOutput:
        """Advance one frame; see ``RVOS.decode``. The cue is left out."""
        read = None if kept is None else self._prepared(kept, slots)
        references = (None,) * 4 if read is None or last is None else (read.keys, read.masks, last.keys, last.masks)
        hidden = [(state or RecurrentState()).slot(slot) for slot in range(slots)]
        logits, *after = self._decoding(
            [*features.skips, features.keys, masks, known, *references, *(x for one in hidden if one for x in one)],
            size=features.size,
            continued=tuple(one is not None for one in hidden),
            sharpness=(kept.sharpness, last.sharpness) if kept is not None and last is not None else None,
        )
        states = tuple(tuple(after[first : first + SCALES]) for first in range(0, len(after), SCALES))
        return StepOutput(logits, RecurrentState(states), keys=features.keys)

    def _prepared(self, kept: References, slots: int) -> References:
        """Prepare kept frames, which mostly stay the same from frame to frame."""
        of, then, prepared = self._kept
        if prepared is None or of is not kept or then != slots:
            prepared = self._cue.prepared(kept.widen(slots), 0)
            self._kept = kept, slots, prepared
        return prepared

    def _encode(self, tensors: Sequence[Any], *, size: tuple[int, int]) -> tuple[Tensor, ...]:
        (picture,) = tensors
        with self._arithmetic():
            features = self.encode(self._inputs(picture, size, self.config))
        return (*features.skips, *(() if features.keys is None else (features.keys,)))

    def _decode(
        self,
        tensors: Sequence[Any],
        *,
        size: tuple[int, int],
        continued: tuple[bool, ...],
        sharpness: tuple[float, float] | None,
    ) -> tuple[Tensor, ...]:
        following = iter(tensors)
        skips = tuple(next(following) for _ in range(SCALES))
        keys, masks, known, kept_keys, kept_masks, last_keys, last_masks = (next(following) for _ in range(7))
        slots = tuple(tuple(next(following) for _ in range(SCALES)) if there else None for there in continued)
        kept = last = None
        if sharpness is not None:
            kept = _Prepared(kept_keys, kept_masks, sharpness[0])
            last = References(last_keys, last_masks, sharpness[1])
        with self._arithmetic():
            out = RVOS.decode(
                self,
                Features(skips, (), size, keys),
                RecurrentState(slots),
                slots=len(slots),
                masks=masks,
                known=known,
                kept=kept,
                last=last,
            )
        return (out.logits, *(x for one in out.state.slots if one for x in one))

    def _before(self, state: RecurrentState, slot: int, known: Tensor) -> Hidden | None:
        return state.slot(slot)  # who looks for an object has no state: these are frames of a video, one by one

    def _arithmetic(self) -> torch.autocast:
        # Without its cache: what was cast while a graph was recorded lies in that graph's memory.
        sixteen = self._dtype != torch.float32
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=sixteen, cache_enabled=False)

    def _walk(
        self,
        features: Features,
        own: list[Tensor] | None,
        temporal: list[Hidden | None],
        *,
        taken_plane: int | None = None,
    ) -> SharedSlots:
        return _PreparedSlots(self._kernels, self.decoder, features, own, temporal, taken_plane)


class _Pinned:
    """Memory from which a GPU copies without its driver's help."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory: Tensor | None = None
        self._sent: torch.cuda.Event | None = None

    @contextmanager
    def of(self, picture: Tensor) -> Iterator[Tensor]:
        """Give a copy of *picture* to be sent within the block, on a processor itself."""
        if self._device.type != "cuda":
            yield picture
            return
        if self._memory is None or self._memory.shape != picture.shape:
            self._memory = torch.empty(picture.shape, dtype=picture.dtype, pin_memory=True)
        elif self._sent is not None:
            self._sent.synchronize()  # the one before has left
        yield self._memory.copy_(picture)
        self._sent = torch.cuda.current_stream(self._device).record_event()


class _Prepared(References):
    """Reference frames as attention reads them: keys and masks are (1, 1, R * h * w, E), E a multiple of ``WIDTH``."""

    def widen(self, objects: int) -> _Prepared:
        return self  # it was widened before


class _PreparedCue(MatchingCue):
    """Reads the references of one clip as *cue* does, what does not depend on the frame at hand prepared."""

    def __init__(self, cue: MatchingCue, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self._cue, self._dtype = cue, dtype
        self._alike = float(cue.log_temperature.detach().exp())
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
                attend(self._query(query, read, kind), read.keys, read.masks)[0, 0, :, :objects]
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
        values = rows.new_zeros(len(rows), length)
        values[:, :objects] = references.masks[0].permute(1, 2, 3, 0).flatten(0, 2)
        return _Prepared(torch.cat([rows, places], dim=1)[None, None], values[None, None], references.sharpness)

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


class _PreparedKernels:
    """The decoder's gate kernels, each combination that slots need put together once, and filled up to ``WIDTH``."""

    def __init__(self, decoder: Decoder) -> None:
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


class _PreparedSlots(SharedSlots):
    """Does the same as ``SharedSlots`` with kernels that are put together already, all in one type."""

    def __init__(
        self,
        kernels: _PreparedKernels,
        decoder: Decoder,
        features: Features,
        own: list[Tensor] | None,
        temporal: list[Hidden | None],
        taken_plane: int | None,
    ) -> None:
        self._prepared, self._device, self._dtype = kernels, features.like.device.type, features.like.dtype
        alike = None if own is None else [x.to(self._dtype) for x in own]
        with self._as_it_is():
            super().__init__(decoder, features.skips, alike, temporal, taken_plane=taken_plane)

    def decode(
        self, slot: int, taken: Sequence[Tensor] | None, spatial: Sequence[SpatialState] | None
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
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


def _in_torch_order(decoder: Decoder) -> Decoder:
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
