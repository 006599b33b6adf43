"""Training clips out of a data set's own sequences: windows of consecutive true masks, moved, turned and mirrored.

The sequences of a loader (``rvos_cli/evaluation/datasets.py``) enter; (T, 3, h, w) uint8 frames with (T, h, w) uint8
labels leave, for :mod:`rvos_cli.training.batches`. Item i of a given seed is always the same clip.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.sequences import Sequence
from rvos_cli.sources import read_image
from rvos_cli.threads import torch_threads
from rvos_cli.training.datasets import ClipSample
from rvos_cli.training.synthesis import IGNORE, Matrices, Warp, translation

ATTEMPTS = 8
TURN, ZOOM, SHEAR, SHIFT = np.deg2rad(10), 1.25, 0.1, 0.1  # largest of each; the shift as a share of the picture
Labels = NDArray[np.uint8]


class SequenceClips(Dataset[ClipSample]):
    """One clip of every sequence, in random order, then one of every sequence again; read when asked for."""

    def __init__(
        self,
        sequences: Several[Sequence],
        *,
        height: int = 256,
        width: int = 448,
        frames: int = 5,
        max_objects: int = 10,
        seed: int = 0,
        length: int = 1_000_000,
        augment: bool = True,
    ) -> None:
        """Find out which sequences have enough true masks; nothing is read yet.

        Args:
            sequences: of one split of a data set.
            height: clip height h in pixels; frames of another shape are stretched to it, as in the paper.
            width: clip width w in pixels.
            frames: frames per clip, T, following each other in the list of frames that have a true mask.
            max_objects: at most this many labels per clip, those of the first frame before the others.
            seed: with the index it decides everything about a clip.
            length: how many clips the dataset claims to have.
            augment: one random affine map per clip (turn, zoom, shear, shift), mirrored half of the time.

        Raises:
            DatasetError: no sequence has *frames* true masks.
        """
        self.size, self.frames, self.max_objects = (height, width), frames, max_objects
        self.seed, self.length, self.augment = seed, length, augment
        annotated = [
            (sequence, tuple(p for p in sequence.frames if p.stem in sequence.masks)) for sequence in sequences
        ]
        self.sequences = [(sequence, paths) for sequence, paths in annotated if len(paths) >= frames]
        if not self.sequences:
            raise DatasetError(
                f"none of {len(annotated)} sequences has {frames} frames with true masks",
                cure="train on a split that has all its masks, such as train",
            )

    def __len__(self) -> int:
        """Return how many clips there are."""
        return self.length

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip *index*; see :class:`ClipSample`. Objects are numbered 1..N, those of the first frame first.

        Raises:
            DatasetError: a mask cannot be read or has not the size of its frame.
            InputError: a frame cannot be read.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        with torch_threads(1):  # as in a worker: where threads share a picture, its numbers are rounded otherwise
            return self._clip(index)

    def _clip(self, index: int) -> ClipSample:
        rng = np.random.default_rng([self.seed, index])
        sequence, paths = self.sequences[self._which(index)]
        for _ in range(ATTEMPTS):
            start = int(rng.integers(len(paths) - self.frames + 1))
            window = paths[start : start + self.frames]
            truth = _read_labels(sequence, window)
            one = clip_map(rng, (truth.shape[1], truth.shape[2]), self.size, augment=self.augment)
            warp = Warp(np.repeat(one[None], self.frames, axis=0), truth.shape[1:], self.size)
            labels = number_objects(warp.labels(truth).numpy(), self.max_objects)
            if _objects(labels[0]):
                break  # a clip whose first frame shows nothing has nothing to follow
        pictures = [read_image(path) for path in window]
        wrong = next(
            (p for p, picture in zip(window, pictures, strict=True) if picture.shape[:2] != truth.shape[1:]), None
        )
        if wrong is not None:
            raise DatasetError(f"{wrong} has not the size of its mask", cure="unpack the data set again")
        pixels = warp.pictures(np.stack(pictures))
        return {
            "frames": pixels.round().clamp(0, 255).byte(),
            "labels": torch.from_numpy(labels),
            "complete": torch.tensor(False),  # nobody labels all there is
            "separate": torch.tensor(False),  # DAVIS 2016 does not, and the published training does not ask
            "kind": "real",
        }

    def _which(self, index: int) -> int:
        round_, place = divmod(index, len(self.sequences))
        order = np.random.default_rng([self.seed, 1, round_]).permutation(len(self.sequences))
        return int(order[place])


def clip_map(rng: np.random.Generator, source: tuple[int, int], target: tuple[int, int], *, augment: bool) -> Matrices:
    """Return the (3, 3) map from pixels of the clip to those of the source; without *augment* a mere resize."""
    (height, width), (h, w) = source, target
    stretch = np.diag([width / w, height / h, 1.0])
    change: Matrices = np.eye(3)
    if augment:
        turn, shear = rng.uniform(-TURN, TURN), rng.uniform(-SHEAR, SHEAR)
        cosine, sine = np.cos(turn), np.sin(turn)
        change[:2, :2] = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1, shear], [0, 1]])
        change[:2, :2] *= np.exp(rng.uniform(-np.log(ZOOM), np.log(ZOOM)))
        change[:2, 2] = rng.uniform(-SHIFT, SHIFT, 2) * (w, h)
        if rng.random() < 0.5:
            change[:2, 0] *= -1
    result: Matrices = translation((width / 2, height / 2)) @ stretch @ change @ translation((-w / 2, -h / 2))
    return result


def number_objects(labels: Labels, limit: int) -> Labels:
    """Return (T, h, w) *labels* numbered 1..N without gaps; what exceeds *limit* objects is unknown (255).

    The objects of the first frame come first, in the order of their ids; of too many the largest are kept.
    """
    areas = np.bincount(labels[0].ravel(), minlength=256)
    first = sorted(sorted(_objects(labels[0]), key=lambda identity: -int(areas[identity]))[:limit])
    later = sorted(_objects(labels) - _objects(labels[0]))[: limit - len(first)]
    table = np.full(256, IGNORE, np.uint8)
    table[0] = 0
    table[[*first, *later]] = np.arange(1, len(first) + len(later) + 1)
    return table[labels]


def _objects(labels: Labels) -> set[int]:
    return {int(identity) for identity in np.unique(labels)} - {0, IGNORE}


def _read_labels(sequence: Sequence, window: Several[Path]) -> Labels:
    read = [truth for path in window if (truth := sequence.truth(path.stem)) is not None]
    if len({truth.shape for truth in read}) > 1:
        raise DatasetError(f"the masks of {sequence.name} have several sizes", cure="unpack the data set again")
    labels: Labels = np.stack(read)
    if not _objects(labels):  # a binary mask: its only object is drawn in white
        labels = (labels > 0).view(np.uint8)
    return labels
