"""RVOS: frames and states enter, the mask logits of every slot and new states leave.

``encode`` runs once per frame, ``decode`` walks the slots; each slot sees the state of the slot before (space) and its
own of the frame before (time). With a ``key_dim`` the network also has the matching cue, and one set of weights both
follows objects whose mask it knows and discovers others in the slots behind them (docs/how_it_works.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.model.box_decoder import BoxDecoder
from rvos_cli.model.convlstm import SpatialState
from rvos_cli.model.decoder import FINEST, Decoder, mean_pyramid, resize, shrink
from rvos_cli.model.encoder import Encoder, Features
from rvos_cli.model.matching import MatchingCue
from rvos_cli.model.reading import BegunReading
from rvos_cli.model.references import References
from rvos_cli.model.slots import PlainSlots, SharedSlots
from rvos_cli.model.state import Hidden, RecurrentState

# Planes that each ConvLSTM of a matching network sees: previous mask and cues of this object and of the others,
# what earlier slots of this frame have taken, and whether the slot has an object at all.
CUE_PLANES = 8
OWN_PLANES, TAKEN_PLANE, KNOWN_PLANE = (0, 1, 2), 6, 7
CUE_LIMIT = 0.01  # the logit of a cue stays within logit(0.01) and logit(0.99)


@dataclass(frozen=True)
class StepOutput:
    """One frame's answer.

    Args:
        logits: (B, N, h, w), one plane per slot.
        state: what the next frame needs.
        keys: (B, D, h/8, w/8) matching keys, to remember the frame by; None without matching.
        cue: (B, 2, N, h/8, w/8), 0..1, the matching cue; None on a first frame.
    """

    logits: Tensor
    state: RecurrentState
    keys: Tensor | None = None
    cue: Tensor | None = None


class RVOS(nn.Module):
    """The network of the paper, and with matching the lite one; which, says the configuration."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the network without weights."""
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        planes = CUE_PLANES if config.matching else int(config.mask_input)
        self.decoder = Decoder(config, planes)
        if config.matching:
            _, x16, x8, _ = self.encoder.trunk_channels
            self.matching = MatchingCue(config.key_dim, x8, x16)
            self.cue_gain = nn.Parameter(torch.tensor([0.5, 0.5]))
        if config.boxes:
            self.box_decoder = BoxDecoder(config)

    def encode(self, frame: Tensor) -> Features:
        """Encode frames (B, 3, h, w), normalised by the configuration's mean and std."""
        features: Features = self.encoder(frame)
        return features if features.keys is not None else self._with_keys(features)

    def encode_clips(self, clips: Tensor) -> Iterator[Features]:
        """Encode clips (B, T, 3, h, w) frame by frame, like ``encode``; on a GPU the trunk sees all frames at once.

        So its batch norms must not learn statistics; the projections' see each frame by itself.
        """
        if clips.device.type == "cpu":  # whose caches hold a frame's features, and not a clip's
            return map(self.encode, clips.unbind(dim=1))
        return self._encode_together(clips)

    def _encode_together(self, clips: Tensor) -> Iterator[Features]:
        frames, size = clips.shape[1], (clips.shape[-2], clips.shape[-1])
        trunk = self.encoder.trunk_features(clips.transpose(0, 1).flatten(0, 1))
        for each in zip(*(scale.chunk(frames) for scale in trunk), strict=True):
            yield self._with_keys(self.encoder.project(each, size))

    def _with_keys(self, features: Features) -> Features:
        if not self.config.matching:
            return features
        _, x16, x8, _ = features.trunk
        return replace(features, keys=self.matching.keys(x8, x16))

    def step(
        self,
        frame: Tensor,
        state: RecurrentState | None = None,
        *,
        slots: int,
        masks: Tensor | None = None,
        known: Tensor | None = None,
        kept: References | None = None,
        last: References | None = None,
    ) -> StepOutput:
        """Advance one frame.

        Args:
            frame: (B, 3, h, w), normalised; h and w multiples of 32 where the network has matching.
            state: what the last step returned; None starts a video.
            slots: N, how many objects to decode.
            masks: (B, N, h, w), 0..1, the objects' previous masks; None where there are none.
            known: (B, N), 1 where a slot has an object, 0 where it looks for one (matching only).
            kept: reference frames from the first on (matching only); None on a first frame.
            last: the frame before, as a reference (matching only).
        """
        return self.decode(self.encode(frame), state, slots=slots, masks=masks, known=known, kept=kept, last=last)

    def begin(self, features: Features, kept: References, slots: int) -> BegunReading:
        """Begin with what a frame's ``decode`` has to do and needs nothing of the frame before for (matching only)."""
        assert features.keys is not None
        return self.matching.begin(features.keys, kept.widen(slots))

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
        """Advance one frame whose features are there already; arguments as in ``step``.

        *begun* is what ``begin`` returned for this frame, these kept frames and so many slots.
        """
        state = state or RecurrentState()
        if self.config.matching:
            return self._decode_matching(features, state, slots, masks, known, kept, last, begun)
        return self._decode_published(features, state, slots, masks)

    def _decode_published(
        self, features: Features, state: RecurrentState, slots: int, masks: Tensor | None
    ) -> StepOutput:
        pyramids = None
        if self.config.mask_input:
            if masks is None:
                masks = features.like.new_zeros(features.like.shape[0], slots, *features.size)
            pyramids = _max_pyramid(masks)
        temporal = [state.slot(slot) if self.config.temporal else None for slot in range(slots)]
        own = None if pyramids is None else [plane.unsqueeze(2) for plane in pyramids]
        walk = self._walk(features, own, temporal)
        logits: list[Tensor] = []
        hidden: list[Hidden] = []
        spatial: tuple[SpatialState, ...] | None = None
        for slot in range(slots):
            if temporal[slot] is not None and not self.config.spatial:
                spatial = None  # the published time-only network still links the slots of the very first frame
            out, spatial = walk.decode(slot, None, spatial)
            logits.append(resize(out, features.size))
            hidden.append(tuple(h for h, _ in spatial))
        return StepOutput(logits=torch.cat(logits, dim=1), state=RecurrentState(tuple(hidden)))

    def _decode_matching(
        self,
        features: Features,
        state: RecurrentState,
        slots: int,
        masks: Tensor | None,
        known: Tensor | None,
        kept: References | None,
        last: References | None,
        begun: BegunReading | None,
    ) -> StepOutput:
        keys, like = features.keys, features.like
        assert keys is not None
        size = features.size[0] // FINEST, features.size[1] // FINEST
        if masks is None:
            masks = like.new_zeros(like.shape[0], slots, *size)
        if known is None:
            known = (masks.flatten(2).amax(dim=2) > 0).to(like.dtype)
        previous = shrink(masks, size) * known[..., None, None]
        cue, fine_cue = None, torch.stack([previous, previous], dim=1)  # a first frame's cue is the given mask
        if kept is not None and last is not None:
            cue = self.matching(keys, kept.widen(slots), last.widen(slots), begun) * known[:, None, :, None, None]
            fine_cue = _resize_cue(cue, size)
        residual = self._residual(cue, fine_cue, known, features.size)
        planes = torch.cat([previous[:, None], fine_cue], dim=1)  # B, 3, N, h/4, w/4
        total = planes.sum(dim=2, keepdim=True)
        planes = torch.cat([planes, (total - planes).clamp(0, 1)], dim=1)  # this object's, then the others'

        flags = known[:, None, :, None, None].expand_as(planes[:, :1])
        own = mean_pyramid(torch.cat([planes, flags], dim=1).transpose(1, 2))
        temporal = [self._before(state, slot, known) if self.config.temporal else None for slot in range(slots)]
        walk = self._walk(features, own, temporal, taken_plane=TAKEN_PLANE)

        logits: list[Tensor] = []
        hidden: list[Hidden] = []
        spatial: tuple[SpatialState, ...] | None = None
        taken: Tensor | None = None
        for slot in range(slots):
            out, states = walk.decode(slot, None if taken is None else mean_pyramid(taken), spatial)
            spatial = states if self.config.spatial else None
            logit = resize(out, features.size).float() + residual[:, slot : slot + 1]
            if slot + 1 < slots:
                probability = shrink(logit.detach().sigmoid(), size).to(like.dtype)
                taken = probability if taken is None else torch.maximum(taken, probability)
            logits.append(logit)
            hidden.append(tuple(h for h, _ in states))
        return StepOutput(torch.cat(logits, dim=1), RecurrentState(tuple(hidden)), keys=keys, cue=cue)

    def _before(self, state: RecurrentState, slot: int, known: Tensor) -> Hidden | None:
        """Return a slot's hidden states of the frame before; where it looks for an object, it starts afresh."""
        hidden = state.slot(slot)
        return None if hidden is None else tuple(h * known[:, slot, None, None, None].to(h.dtype) for h in hidden)

    def _walk(
        self,
        features: Features,
        own: list[Tensor] | None,
        temporal: list[Hidden | None],
        *,
        taken_plane: int | None = None,
    ) -> PlainSlots:
        """Return the frame's slots: in the form that gradients have always gone through, or in the faster one."""
        form = PlainSlots if torch.is_grad_enabled() else SharedSlots
        return form(self.decoder, features.skips, own, temporal, taken_plane=taken_plane)

    def _residual(self, cue: Tensor | None, fine_cue: Tensor, known: Tensor, size: tuple[int, int]) -> Tensor:
        guess = fine_cue if cue is None else cue
        logit = torch.logit(guess.float().clamp(CUE_LIMIT, 1 - CUE_LIMIT))
        mixed = (logit * self.cue_gain[None, :, None, None, None]).sum(dim=1) * known[..., None, None]
        return F.interpolate(mixed, size=size, mode="bilinear", align_corners=False)

    def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
        """Outline what stands in the box of each picture (a configuration with ``boxes`` only).

        Args:
            pictures: (B, 3, h, w), normalised; h and w multiples of 32.
            boxes: (B, 1, h, w), 0..1: how much of each pixel is in the box.
            points: (B, 2, h, w), 0..1: how much of each pixel is close to points on the object, and to others; with a
                configuration with ``points``, and with no other.

        Returns:
            Logits (B, 1, h, w) of each look, the last one the best. Outside of the box they mean nothing.
        """
        features: Features = self.encoder(pictures)
        return self.box_decoder.outline(features, boxes, points)

    def clip(self, frames: Tensor, masks: Tensor | None = None) -> Tensor:
        """Run a published network over a clip: ``step`` in a loop.

        Args:
            frames: (T, B, 3, h, w), normalised.
            masks: (B, S, h, w), 0..1, the first frame's masks of a one-shot network.

        Returns:
            Probabilities (T, B, S, h, w); S is the configuration's number of slots. A one-shot network sees the given
            masks in its first two frames and its own answers from then on, as it was published.
        """
        state: RecurrentState | None = None
        seen = masks
        answers: list[Tensor] = []
        for index, frame in enumerate(frames):
            if index > 1 and self.config.mask_input:
                seen = answers[-1]
            out = self.step(frame, state, slots=self.config.slots, masks=seen)
            state = out.state
            answers.append(out.logits.sigmoid())
        return torch.stack(answers)

    @torch.inference_mode()
    def forward_clip(self, frames: Tensor, first_masks: Tensor | None = None) -> Tensor:
        """Run a published network over one clip, without gradients.

        Args:
            frames: (T, 3, H, W) float32, normalised.
            first_masks: (S, H, W) float32, 0..1, or None.

        Returns:
            (T, S, H, W) float32, 0..1, at input size; S is the configuration's number of slots.
        """
        masks = None if first_masks is None else first_masks[None]
        return self.clip(frames[:, None], masks)[:, 0]


def _max_pyramid(masks: Tensor) -> list[Tensor]:
    planes = [F.max_pool2d(masks, 2, 2, ceil_mode=True)]
    for _ in range(4):
        planes.append(F.max_pool2d(planes[-1], 2, 2, ceil_mode=True))
    return list(reversed(planes[1:]))


def _resize_cue(cue: Tensor, size: tuple[int, int]) -> Tensor:
    enlarged = F.interpolate(cue.flatten(1, 2), size=size, mode="bilinear", align_corners=False)
    return enlarged.reshape(*cue.shape[:3], *size)
