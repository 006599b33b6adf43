"""The network as CUDA graphs replay it: the same answers, rounding errors aside, in less time.

An ``RVOS`` on a GPU, in eval mode, enters; one leaves that shares its weights, for the frames of one video, one after
the other. What can be prepared for its graphs is in ``prepared.py``. For inference only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.graphs import Replayed
from rvos_cli.model.encoder import Features
from rvos_cli.model.prepared import Prepared, PreparedCue, PreparedKernels, PreparedSlots, in_torch_order
from rvos_cli.model.reading import BegunReading
from rvos_cli.model.references import References
from rvos_cli.model.rvos import RVOS, StepOutput
from rvos_cli.model.slots import SharedSlots
from rvos_cli.model.state import Hidden, RecurrentState

SCALES = 4  # of hidden states
WORTH_GRAPHS = 30  # frames from which on recording has paid

# From pictures (B, H, W, 3) uint8 on a device, and the frames' size (h, w), to the network's input (B, 3, h, w) there.
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
            inputs: makes the network's input of pictures.
        """
        nn.Module.__init__(self)
        self.config = model.config
        self.encoder, self.decoder = model.encoder, in_torch_order(model.decoder)
        if model.config.matching:
            self.matching = self._cue = PreparedCue(model.matching, dtype)
            self.cue_gain = model.cue_gain
        self._dtype, self._inputs = dtype, inputs
        self._device = self.decoder.conv_out.weight.device
        self._kernels = PreparedKernels(self.decoder)
        self._kept: tuple[References | None, int, References | None] = None, 0, None
        self._encoding, self._pictures = Replayed(self._encode, self._device), _Pinned(self._device)
        self._decoding = Replayed(self._decode, self._device)
        self.eval()

    def end_of_video(self) -> None:
        """Give back what the GPU holds for this video; no frame may follow."""
        self._encoding.close()
        self._decoding.close()
        self._kept = None, 0, None

    def encode_pictures(self, pictures: Sequence[Tensor], size: tuple[int, int]) -> list[Features]:
        """Encode pictures (H, W, 3) uint8 in this processor's memory as frames of *size*, all at once.

        The features are good until the next call, the keys for ever.
        """
        with self._pictures.of(pictures) as there:
            outputs = self._encoding([there], size=size)
        lasting = [x.clone() for x in outputs[SCALES:]]
        each = zip(*(x.chunk(len(pictures)) for x in (*outputs[:SCALES], *lasting)), strict=True)
        return [Features(one[:SCALES], (), size, *one[SCALES:]) for one in each]

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
        (pictures,) = tensors
        with self._arithmetic():
            features = self.encode(self._inputs(pictures, size, self.config))
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
            kept = Prepared(kept_keys, kept_masks, sharpness[0])
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
        return PreparedSlots(self._kernels, self.decoder, features, own, temporal, taken_plane)


class _Pinned:
    """Memory from which a GPU copies without its driver's help."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory: Tensor | None = None
        self._sent: torch.cuda.Event | None = None

    @contextmanager
    def of(self, pictures: Sequence[Tensor]) -> Iterator[Tensor]:
        """Give a copy of *pictures*, one behind the other, to be sent within the block; on a processor itself."""
        if self._device.type != "cuda":
            yield torch.stack(list(pictures))
            return
        shape = len(pictures), *pictures[0].shape
        if self._memory is None or self._memory.shape != shape:
            self._memory = torch.empty(shape, dtype=pictures[0].dtype, pin_memory=True)
        elif self._sent is not None:
            self._sent.synchronize()  # those before have left
        yield torch.stack(list(pictures), out=self._memory)
        self._sent = torch.cuda.current_stream(self._device).record_event()
