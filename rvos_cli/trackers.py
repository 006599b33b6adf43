"""Who is who: an encoded frame enters, what is seen of every object leaves; here objects get and keep their ids.

Driven by ``session.py``. One tracker per kind of network; both carry a recurrent state, the matching one
(``matching_tracker.py``) also a few reference frames, and neither grows with the video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rvos_cli.camera import Camera
from rvos_cli.config import InferenceOptions
from rvos_cli.model import RVOS, RecurrentState, References
from rvos_cli.model.encoder import Features
from rvos_cli.model.reading import BegunReading
from rvos_cli.preprocess import mask_tensor
from rvos_cli.sight import Labels, Looking, Seen
from rvos_cli.views import Picture, View


@dataclass
class EncodedFrame:
    """A frame as a tracker gets it.

    Args:
        source: (H, W) of the frame as it came.
        features: what the network's encoder says of it.
        pixels: (1, 3, h, w), the network's input; None where graphs made it, in no frame of the first ones.
        begun: for which kept frames and how many slots its decoding has begun, and what has.
        others: of a first frame, the keys (1, D, h/8, w/8) of other frames of its shot.
    """

    source: tuple[int, int]
    features: Features
    pixels: Tensor | None = None
    begun: tuple[References, int, BegunReading] | None = None
    others: Sequence[Tensor] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.features.size


def beside_each_other(frames: Sequence[EncodedFrame]) -> list[EncodedFrame]:
    """Return frames of a shot, each of which knows the keys of the others."""
    keys = [frame.features.keys for frame in frames]
    others = [[key for key in keys if key is not None and key is not own] for own in keys]
    return [replace(frame, others=some) for frame, some in zip(frames, others, strict=True)]


class Tracker(ABC):
    """What both kinds of network share: slots and their ids, and the state between frames."""

    def __init__(
        self,
        model: RVOS,
        options: InferenceOptions,
        device: torch.device,
        *,
        discover: bool,
        look: Looking = Seen,
    ) -> None:
        """Start a video or a shot; *discover* says whether objects are looked for or only followed."""
        self.model = model
        self.look = look
        self.options = options
        self.device = device
        self.discover = discover
        self.ids: tuple[int, ...] = ()
        self.newest_id = 0  # ids up to this one have been given, in earlier shots, too
        self.state: RecurrentState | None = None
        self.masks: Tensor | None = None  # (1, N, h, w), the last probabilities
        self.view: View | None = None  # of the frames; None before the first
        self.camera: Camera | None = None  # of those that look for nobody
        self._shown: dict[int, tuple[Picture, Labels]] = {}  # in which frame each object was seen last, oldest first
        self._start()

    @abstractmethod
    def _start(self) -> None:
        """Set what this kind of tracker keeps besides."""

    @abstractmethod
    def step(self, frame: EncodedFrame, mask: Labels | None, *, whole: bool = False) -> Seen:
        """Advance one frame and return what is seen of ``ids``; a *whole* mask tells who is not in it, too."""

    def pause(self) -> None:
        """Make all that is held its own: until the next step graphs may compute frames of other trackers."""
        self.state = self.state.clone() if self.state is not None else None
        self.masks = self.masks.clone() if self.masks is not None else None

    def note_shown(self, image: Picture, labels: Labels) -> None:
        """Keep a frame (H, W, 3) and its labels (H, W) for ``shown_last``; needed only where views may change."""
        shown = np.unique(labels[labels > 0]).tolist()
        if not shown:
            return
        frame = image.copy(), labels.copy()  # whose owner may use the memory again
        for identity in shown:
            self._shown.pop(identity, None)
            self._shown[identity] = frame
        for identity in set(self._shown) - set(self.ids):  # whose slots went to others
            del self._shown[identity]

    def shown_last(self) -> list[tuple[Picture, Labels]]:
        """Return the frames in which the objects were seen last, each once and the oldest first."""
        frames = {id(frame): frame for frame in self._shown.values()}.values()
        return [(image, np.where(np.isin(labels, self.ids), labels, 0)) for image, labels in frames]

    def _seen(self, logits: Tensor, ids: tuple[int, ...], frame: EncodedFrame) -> Seen:
        return self.look(logits, ids, frame.source, self.options.threshold)

    def _take(self, mask: Labels, size: tuple[int, int], *, whole: bool) -> None:
        """Give every object of *mask* a slot and make the mask its last one; nothing the last one of those gone."""
        named = tuple(int(identity) for identity in np.unique(mask) if identity)
        fresh = tuple(identity for identity in named if identity not in self.ids)
        self.ids += fresh
        if not self.ids:
            return
        given = self._planes(mask, self.ids, size)
        if self.masks is None:
            self.masks = given
            return
        masks = torch.cat([self.masks, given[:, self.masks.shape[1] :]], dim=1)
        for slot, identity in enumerate(self.ids):
            if whole or identity in named:
                masks[:, slot] = given[:, slot]
        self.masks = masks

    def _planes(self, mask: Labels, ids: tuple[int, ...], size: tuple[int, int]) -> Tensor:
        """Return where *mask* has each of these objects, (1, N, h, w), 0..1."""
        return mask_tensor(mask, ids, size, self.device)

    def _as_given(self, mask: Labels, masks: Tensor, *, whole: bool) -> Tensor:
        """Return the known objects' masks (N, h, w), those named in *mask*, or all if it is *whole*, as given."""
        named = {int(identity) for identity in np.unique(mask)}
        given = masks if self.masks is None else self.masks[0]
        chosen = [given[slot] if whole or self.ids[slot] in named else masks[slot] for slot in range(len(masks))]
        return torch.stack(chosen)


class PublishedTracker(Tracker):
    """The published behaviour: a fixed number of slots, or one per given object; no later discovery."""

    def _start(self) -> None:
        if self.discover:
            self.ids = tuple(range(1, min(self.model.config.slots, self.options.max_objects) + 1))
        self._given = 0  # frames since a mask was given; the first two see it, as published

    def step(self, frame: EncodedFrame, mask: Labels | None, *, whole: bool = False) -> Seen:
        """Advance one frame; see ``Tracker.step``."""
        if mask is not None:
            self._take(mask, frame.size, whole=whole)
            self._given = 0
        out = self.model.decode(frame.features, self.state, slots=len(self.ids), masks=self.masks)
        self.state = out.state
        self._given += 1
        seen = self._seen(out.logits[0], self.ids, frame)
        if self.model.config.mask_input and mask is not None and self.ids:
            self.masks = self._as_given(mask, seen.masks, whole=whole)[None]
        elif self.model.config.mask_input and self._given > 1:
            self.masks = seen.masks[None]
        return seen
