"""The network as OpenVINO compiles it for a processor: the same answers, rounding errors aside, in less time.

An ``RVOS`` in eval mode enters; one leaves that shares its weights and has its encoder and its slots compiled, once for
each size of frame. Where OpenVINO is missing or cannot compile, and wherever gradients, batches or another device are
asked for, everything goes the plain way. For inference only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rvos_cli.model.compiling import Compiled, bfloat16_pays, compiled, fingerprint
from rvos_cli.model.convlstm import ConvLSTMCell, SpatialState
from rvos_cli.model.decoder import Decoder
from rvos_cli.model.encoder import Encoder, Features
from rvos_cli.model.matching import MatchingCue, unit_keys
from rvos_cli.model.rvos import CUE_PLANES, RVOS, TAKEN_PLANE
from rvos_cli.model.slots import Kernels, PlainSlots, convolve, convolve_all, cut_kernels
from rvos_cli.model.state import Hidden

_PREPARING = threading.Lock()  # videos may be run from several threads; a network with a lock could not be copied
LARGEST_CACHE = 4  # sizes of frames; each takes some 100 MB
WORTH_COMPILING = 40  # frames after which what it takes has come back, even where nothing of it was kept on disk


class CompiledRVOS(RVOS):
    """An ``RVOS`` for one frame at a time on a processor, without gradients; its weights are those of *model*."""

    def __init__(self, model: RVOS, *, half: bool | None = None) -> None:
        """Take over the parts of *model*, a network in eval mode; nothing is compiled before the first frame.

        Args:
            model: norms may be folded or not.
            half: True computes in bfloat16, where the processor has it; False nowhere. None computes so where it
                pays, of a network with matching, the slots and the encoder behind its first stage, in which it changes
                next to nothing; the first stage, whose every rounding all that comes later sees, in float32.
        """
        nn.Module.__init__(self)
        self.config = model.config
        self.add_module("encoder", _CompiledEncoder(model, half=half))
        self.decoder = model.decoder
        if model.config.matching:
            self.matching, self.cue_gain = model.matching, model.cue_gain
        self.eval()

    def prepare(self, frame: Tensor) -> None:
        """Begin to compile for frames like *frame*, (1, 3, h, w), and return; the next frame waits for the end.

        What is compiled computes with as many threads as torch has where this is called, and the frames come.
        """
        self.encoder.prepare(frame)  # type: ignore[operator]

    def end_of_video(self) -> None:
        """Return when nothing is being compiled any more."""
        self.encoder.wait()  # type: ignore[operator]

    def _walk(
        self,
        features: Features,
        own: list[Tensor] | None,
        temporal: list[Hidden | None],
        *,
        taken_plane: int | None = None,
    ) -> PlainSlots:
        if own is None or not isinstance(features, _Encoded):
            return super()._walk(features, own, temporal, taken_plane=taken_plane)
        return _CompiledSlots(self.decoder, features, own, temporal)


@dataclass(frozen=True)
class _Parts:
    """A compiled network: an encoder in two parts, and a slot if the network has matching."""

    shallow: Compiled
    deep: Compiled
    slot: Compiled | None


class _CompiledEncoder(nn.Module):
    """Does what the encoder of *model* does; what it says also tells how to decode a slot."""

    def __init__(self, model: RVOS, *, half: bool | None) -> None:
        super().__init__()
        self.plain, self._half = model.encoder, half
        self.decoder = model.decoder if model.config.matching else None
        self.matching = model.matching if model.config.matching else None
        # of a size of frame and a number of threads; None where it cannot be compiled
        self._compiled: dict[tuple[torch.Size, int], Future[_Parts | None]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled, which can neither be copied nor pickled."""
        return {**self.__dict__, "_compiled": {}}

    def forward(self, frame: Tensor) -> Features:
        parts = self._for(frame)
        if parts is None:
            plain: Features = self.plain(frame)
            return plain
        outputs, size = parts.deep(*parts.shallow(frame)), (frame.shape[-2], frame.shape[-1])
        if parts.slot is None:
            return Features(skips=tuple(outputs), trunk=(), size=size)
        keys, *gates = outputs
        return _Encoded((), (), size, unit_keys(keys), gates=tuple(gates), slot=parts.slot)

    def prepare(self, frame: Tensor) -> Future[_Parts | None] | None:
        """Begin to compile for frames like this one if that has not begun; None where nothing is compiled."""
        if frame.device.type != "cpu" or frame.shape[0] != 1:
            return None
        key = frame.shape, torch.get_num_threads()
        with _PREPARING:
            if key not in self._compiled:
                while len(self._compiled) >= LARGEST_CACHE:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = _in_a_thread_that_ends(self._compile, frame, key[1])
            return self._compiled[key]

    def wait(self) -> None:
        """Return when nothing is being compiled any more."""
        wait(self._compiled.values())

    def _for(self, frame: Tensor) -> _Parts | None:
        coming = None if torch.is_grad_enabled() else self.prepare(frame)
        return None if coming is None else coming.result()

    def _compile(self, frame: Tensor, threads: int) -> _Parts | None:
        """Compile and try; None where either fails."""
        try:
            return self._parts(frame, threads)
        except Exception:  # an old processor, a damaged installation, an unknown layer: its errors have no common name
            return None

    def _parts(self, frame: Tensor, threads: int) -> _Parts:
        always = self._half is True
        where_it_may = always or (self._half is None and self.decoder is not None and bfloat16_pays())
        known_as = fingerprint(self.plain, self.decoder, self.matching)
        shallow = compiled(_Shallow(self.plain), [frame], half=always, threads=threads, known_as=known_as)
        features, size = shallow(frame), (frame.shape[-2], frame.shape[-1])
        rest = _Deep(self.plain, self.decoder, self.matching, size)
        deep = compiled(rest, features, half=where_it_may, threads=threads, known_as=known_as)
        outputs = deep(*features)
        if self.decoder is None:
            return _Parts(shallow, deep, None)
        slot = _Slot(self.decoder)
        examples = slot.examples(outputs[1:])
        decoding = compiled(slot, examples, half=where_it_may, threads=threads, known_as=known_as)
        decoding(*examples)
        return _Parts(shallow, deep, decoding)


def _in_a_thread_that_ends(
    job: Callable[[Tensor, int], _Parts | None], frame: Tensor, threads: int
) -> Future[_Parts | None]:
    """Begin to do *job*, which computes with so many *threads* in the end.

    A thread that has computed with torch keeps threads for it as long as it lives, even when it does nothing any more;
    and with more of them than processors OpenMP's no longer spin while they wait for each other, which makes the small
    steps of a network take half as long again.
    """
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
    future = executor.submit(job, frame, threads)
    executor.shutdown(wait=False)
    return future


@dataclass(frozen=True, kw_only=True)
class _Encoded(Features):
    """What the compiled encoder says: keys, and the gates of each scale as far as the frame alone decides them.

    Skips and trunk are left out, since compiled slots need neither.
    """

    gates: tuple[Tensor, ...]
    slot: Compiled

    @property
    def like(self) -> Tensor:
        return self.gates[-1]


class _CompiledSlots(PlainSlots):
    """The slots of one frame of a network with matching, one call of the compiled slot each."""

    def __init__(
        self,
        decoder: Decoder,
        features: _Encoded,
        own: Sequence[Tensor],
        temporal: Sequence[Hidden | None],
    ) -> None:
        super().__init__(decoder, features.skips, own, temporal, taken_plane=TAKEN_PLANE)
        self._planes, self._gates, self._compiled = own, features.gates, features.slot
        self._nothing = [_state_like(gates) for gates in self._gates]
        self._untaken = [torch.zeros_like(planes[:, 0, :1]) for planes in own]

    def decode(
        self, slot: int, taken: Sequence[Tensor] | None, spatial: Sequence[SpatialState] | None
    ) -> tuple[Tensor, tuple[SpatialState, ...]]:
        """Decode one slot; see ``PlainSlots.decode``."""
        before = self._temporal[slot] or self._nothing
        hidden, cell = zip(*spatial, strict=True) if spatial else (self._nothing, self._nothing)
        own = [planes[:, slot] for planes in self._planes]
        answers = self._compiled(*self._gates, *own, *(taken or self._untaken), *before, *hidden, *cell)
        return answers[0], tuple(zip(answers[1:5], answers[5:], strict=True))


def _state_like(gates: Tensor) -> Tensor:
    """Return a state of zeros (B, C, h, w), channels last as a slot returns them, for gates (B, 4C, h, w)."""
    zeros = gates.new_zeros(gates.shape[0], gates.shape[1] // 4, *gates.shape[-2:])
    return zeros.contiguous(memory_format=torch.channels_last)


class _Shallow(nn.Module):
    """The trunk as far as every bit counts: its first stage."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        return self.encoder.shallow(frame)


class _Deep(nn.Module):
    """The rest of the encoder with plain tensors for an answer: its skips, or what compiled slots want instead."""

    def __init__(
        self, encoder: Encoder, decoder: Decoder | None, matching: MatchingCue | None, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.matching, self._size = encoder, decoder, matching, size

    def forward(self, *shallow: Tensor) -> tuple[Tensor, ...]:
        """Return four skips, or with a decoder the keys before they are brought to unit length, and four gates."""
        features = self.encoder.project(self.encoder.deep(shallow), self._size)
        if self.decoder is None or self.matching is None:
            return features.skips
        gates = [
            convolve(skip, kernels.skip, cell, bias=True)
            for skip, (cell, kernels) in zip(features.skips, _layers(self.decoder), strict=True)
        ]
        _, x16, x8, _ = features.trunk
        return (self.matching.project(x8, x16), *gates)


class _Slot(nn.Module):
    """The decoder of one slot, from tensors to tensors: four scales of everything, stride 32 first."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Take the frame's gates, own planes, taken planes, last states, states and cells of the slot before.

        Returns:
            The answer (1, 1, h/2, w/2), four hidden states, four cells.
        """
        frame, own, taken, before, hidden, cells = (inputs[first : first + 4] for first in range(0, 24, 4))
        states: list[SpatialState] = []
        for scale, (layer, kernels) in enumerate(_layers(self.decoder)):
            parts = [
                (own[scale], kernels.own),
                (taken[scale], kernels.taken),
                (before[scale], kernels.temporal),
                (hidden[scale], kernels.spatial),
            ]
            if scale:
                parts.append((self.decoder.enlarge(states[-1][0], own[scale]), kernels.coarser))
            gates = frame[scale] + convolve_all(parts, layer)
            states.append(layer.advance(gates, cells[scale]))
        return (self.decoder.answer(states[-1][0]), *(h for h, _ in states), *(c for _, c in states))

    def examples(self, gates: Sequence[Tensor]) -> list[Tensor]:
        """Return inputs of the right sizes for the gates of a frame."""
        own = [frame.new_zeros(1, CUE_PLANES - 1, *frame.shape[-2:]) for frame in gates]
        taken = [planes[:, :1] for planes in own]
        states = [_state_like(frame) for frame in gates]
        return [*gates, *own, *taken, *states, *states, *states]


def _layers(decoder: Decoder) -> list[tuple[ConvLSTMCell, Kernels]]:
    """Return each scale's cell and its kernel, cut for slots with cues."""
    cells: list[ConvLSTMCell] = list(decoder.clstm_list)  # type: ignore[arg-type]
    return [(cell, cut_kernels(decoder, scale, CUE_PLANES - 1, TAKEN_PLANE)) for scale, cell in enumerate(cells)]
