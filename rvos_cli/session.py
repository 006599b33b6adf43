"""One video's recurrence: frames enter in order, label maps leave.

Stands between preprocess and postprocess, once per frame. Its memory does not grow: the recurrent state and a few
reference frames are all that is carried on (``trackers.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.config import InferenceOptions
from rvos_cli.model import RVOS
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.opening import Look, OpeningRules, choose
from rvos_cli.postprocess import label_map
from rvos_cli.preprocess import frame_tensor, network_size
from rvos_cli.trackers import Labels, MatchingTracker, PublishedTracker, Tracker

FRAMES_MEANWHILE = 30  # the plain network takes about as long for so many as they take to compile beside it


class Pictured(Protocol):
    """Whatever has a picture."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""


FrameT = TypeVar("FrameT", bound=Pictured)


class Session:
    """Follows the objects of one video; ``step`` takes its frames one after the other."""

    rules = OpeningRules()

    def __init__(
        self,
        model: RVOS,
        *,
        options: InferenceOptions | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        first_mask: Labels | None = None,
        faster: CompiledRVOS | None = None,
    ) -> None:
        """Start a video.

        Args:
            model: the network, in eval mode, on *device*.
            options: size, threshold and number of objects.
            device: where the network is; None is the CPU.
            dtype: float32, or a 16-bit type for autocast.
            first_mask: (H, W) uint8 labels of the first frame; None discovers the objects.
            faster: a form of *model* that takes over after ``FRAMES_MEANWHILE`` frames, in which it is compiled; always
                after so many, since masks must not depend on how busy the machine is.
        """
        self.options = options or InferenceOptions()
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self._first_mask = first_mask
        self._faster, self._frames = faster, 0
        self._model = model
        self._tracker = self._new_tracker()
        self._opening: Tensor | None = None  # logits of the first frame, if they are known before its turn

    @property
    def objects(self) -> tuple[int, ...]:
        """The ids that are followed now, in the order of their slots."""
        return self._tracker.ids

    def looking_ahead(self, frames: Iterator[FrameT]) -> Iterator[FrameT]:
        """Yield *frames*, all of a video, for ``step``; if objects are to be found, after a look at the first ones."""
        waiting = deque(islice(frames, self._frames_ahead))
        self.look_ahead([frame.image for frame in waiting])
        while waiting:
            yield waiting.popleft()
        yield from frames

    @torch.inference_mode()
    def look_ahead(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Find the objects in the best of the first frames and follow them back to the first one.

        Optional, before the first ``step``: without it objects are found in the first frame.

        Args:
            images: the first frames, as many as ``opening.OpeningRules`` asks for or as there are: (H, W, 3) uint8 RGB.
        """
        places = range(0, min(len(images), self._frames_ahead), self.rules.every)
        if len(places) < 2:
            return
        with self._arithmetic():
            trackers = [self._new_tracker() for _ in places]
            found = [tracker.step(self._input(images[n]), None) for tracker, n in zip(trackers, places, strict=True)]
            best = choose([Look(logits, self.options.threshold) for logits in found], self.rules)
            self._tracker, self._opening = trackers[best], found[best]
            self._tracker.discover = False  # a tracker knows no direction; the way back is followed, not searched
            for image in reversed(images[: places[best]]):
                self._opening = self._tracker.step(self._input(image), None)
            self._tracker.discover = True

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8], mask: Labels | None = None) -> Labels:
        """Advance one frame.

        Args:
            image: (H, W, 3) uint8 RGB; the same size in every frame.
            mask: (H, W) uint8 labels of objects to follow from this frame on, known or new.

        Returns:
            (H, W) uint8, 0 = background, k = object k; for the first frame the first mask itself.
        """
        first, self._first_mask = self._first_mask, None
        mask = mask if first is None else first
        size = (image.shape[0], image.shape[1])
        with self._arithmetic():
            frame = self._input(image)
            self._switch(frame)
            known, self._opening = self._opening, None
            logits = self._tracker.step(frame, mask) if known is None or mask is not None else known
        if first is not None:
            return np.array(first, np.uint8)  # it says where everything is, and so where nothing is
        labels = label_map(logits, self._tracker.ids, size, self.options.threshold)
        return labels if mask is None else np.where(mask > 0, mask, labels)

    def close(self) -> None:
        """End a video. What is being compiled ends first: beside the end of a program it would write warnings."""
        if self._faster is not None:
            self._faster.wait()

    @property
    def _frames_ahead(self) -> int:
        """How many of the first frames are worth a look before they are followed."""
        return self.rules.frames if self._first_mask is None and self._model.config.matching else 0

    def _new_tracker(self) -> Tracker:
        kind = MatchingTracker if self._model.config.matching else PublishedTracker
        return kind(self._model, self.options, self.device, discover=self._first_mask is None)

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def _input(self, image: NDArray[np.uint8]) -> Tensor:
        grid = network_size((image.shape[0], image.shape[1]), self.options.size or self._model.config.size)
        return frame_tensor(image, grid, self._model.config, self.device, torch.float32)

    def _switch(self, frame: Tensor) -> None:
        """Begin to compile with the second frame, when the first mask is out; take the faster form when it is time."""
        if self._faster is not None and self._frames == 1:
            self._faster.prepare(frame)
        if self._faster is not None and self._frames == FRAMES_MEANWHILE:
            self._tracker.model = self._faster
        self._frames += 1
