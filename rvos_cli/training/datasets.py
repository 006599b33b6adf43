"""The training clips as a torch dataset: item i of a given seed is always the same clip.

A data folder enters; (T, 3, h, w) uint8 frames with (T, h, w) uint8 labels leave, for :mod:`rvos_cli.training.batches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from rvos_cli.errors import DatasetError
from rvos_cli.threads import torch_threads
from rvos_cli.training.augment import apply_photometry, draw_photometry
from rvos_cli.training.known_sets import DIVIDED_FAVOUR
from rvos_cli.training.library import open_library
from rvos_cli.training.scenes import SceneMaker
from rvos_cli.training.synthesis import IGNORE, Canvas

ATTEMPTS = 8
TINY = 0.001
VISIBLE = 0.002


@dataclass(frozen=True)
class ClipMix:
    """How often each kind of clip is drawn, and how it is changed.

    Attributes:
        real: share of clips cut out of real video.
        photograph: share of photographs set in motion.
        composite: share of composites of several things.
        empty: share of scenes without any object, for learning that there can be nothing.
        divided: how often a clip that was taken apart is drawn, against other real clips of its length.
        max_gap: largest step between two frames of a real clip, in stored frames.
        photometric: strength of the change of colours, blur, noise and compression; 0 for none.
    """

    real: float = 0.5
    photograph: float = 0.3
    composite: float = 0.2
    empty: float = 0.0
    divided: float = DIVIDED_FAVOUR
    max_gap: int = 6
    photometric: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shares that cannot be probabilities."""
        shares = (self.real, self.photograph, self.composite, self.empty)
        if min(shares) < 0 or sum(shares) <= 0:
            raise DatasetError(f"clip shares {shares} are no mix", cure="give shares of at least 0, not all of them 0")
        if self.max_gap < 1:
            raise DatasetError(f"max_gap is {self.max_gap}", cure="give 1 or more stored frames")


class ClipSample(TypedDict):
    """One training clip.

    ``frames`` (T, 3, h, w) uint8 RGB; ``labels`` (T, h, w) uint8: 0 background, 1..N objects, 255 ignore; ``complete``
    () bool: everything that stands out is labelled, each thing by itself; ``separate`` () bool: each label is one thing
    by itself, though others may have none; ``kind``: "real", "photograph", "composite" or "empty".
    """

    frames: torch.Tensor
    labels: torch.Tensor
    complete: torch.Tensor
    separate: torch.Tensor
    kind: str


class ClipBatch(TypedDict):
    """Clips stacked: ``frames`` (B, T, 3, h, w) uint8, ``labels`` (B, T, h, w) uint8, both flags (B,) bool."""

    frames: torch.Tensor
    labels: torch.Tensor
    complete: torch.Tensor
    separate: torch.Tensor


class ClipDataset(Dataset[ClipSample]):
    """Random clips of one size, made on demand from the media below *root*."""

    def __init__(
        self,
        root: Path,
        *,
        height: int = 128,
        width: int = 224,
        frames: int = 3,
        max_objects: int = 3,
        seed: int = 0,
        length: int = 1_000_000,
        mix: ClipMix | None = None,
        parts: Path | None = None,
        free_only: bool = False,
        cache_bytes: int = 400_000_000,
    ) -> None:
        """List the media; nothing is decoded yet.

        Args:
            root: the data folder (see :func:`rvos_cli.training.library.open_library`).
            height: clip height h in pixels.
            width: clip width w in pixels.
            frames: frames per clip, T.
            max_objects: at most this many labels per clip; of more, the larger are kept.
            seed: with the index it decides everything about a clip.
            length: how many clips the dataset claims to have.
            mix: shares of the kinds; a kind for which there is no data gives its share to the others.
            parts: masks of clips that were taken apart (see :func:`rvos_cli.training.library.open_library`).
            free_only: use only media under a free licence; this leaves no real clips.
            cache_bytes: upper bound for decoded pixels in memory, per process.

        Raises:
            DatasetError: *root* lacks the layout.
        """
        self.root, self.seed, self.length = Path(root), seed, length
        self.max_objects, self.mix = max_objects, mix or ClipMix()
        library = open_library(
            self.root, parts=parts, divided_favour=self.mix.divided, free_only=free_only, cache_bytes=cache_bytes
        )
        self._maker = SceneMaker(library, (height, width), frames, max_objects, self.mix.max_gap)
        shares = {
            "real": self.mix.real if library.sequences else 0.0,
            "photograph": self.mix.photograph if library.photographs else 0.0,
            "composite": self.mix.composite,
            "empty": self.mix.empty if library.shows_empty_scenes() else 0.0,
        }
        total = sum(shares.values())
        if total <= 0:
            raise DatasetError(f"{root} has nothing for this mix of clips", cure="give the other kinds a share")
        self._kinds = tuple(shares)
        self._shares = tuple(share / total for share in shares.values())

    def __len__(self) -> int:
        """Return how many clips there are."""
        return self.length

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip *index*; see :class:`ClipSample`."""
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        with torch_threads(1):  # as in a worker: where threads share a picture, its numbers are rounded otherwise
            return self._clip(np.random.default_rng([self.seed, index]))

    def _clip(self, rng: np.random.Generator) -> ClipSample:
        kind = self._kinds[int(rng.choice(len(self._kinds), p=self._shares))]
        for _ in range(ATTEMPTS):
            canvas = _settle(rng, self._make(kind, rng), self.max_objects)
            if canvas.complete if kind == "empty" else _worth_keeping(canvas.labels):
                break
        brightness, strength = float(canvas.frames.mean()), self.mix.photometric
        photometry = draw_photometry(rng, len(canvas.frames), brightness=brightness, strength=strength)
        return {
            "frames": apply_photometry(canvas.frames, photometry),
            "labels": canvas.labels,
            "complete": torch.tensor(canvas.complete),
            "separate": torch.tensor(canvas.separate),
            "kind": kind,
        }

    def _make(self, kind: str, rng: np.random.Generator) -> Canvas:
        maker = self._maker
        make = {
            "real": maker.real,
            "photograph": maker.photograph,
            "composite": maker.composite,
            "empty": maker.empty,
        }
        return make[kind](rng)


def collate(samples: Sequence[ClipSample]) -> ClipBatch:
    """Stack clips of one size into a :class:`ClipBatch`."""
    return {
        "frames": torch.stack([sample["frames"] for sample in samples]),
        "labels": torch.stack([sample["labels"] for sample in samples]),
        "complete": torch.stack([sample["complete"] for sample in samples]),
        "separate": torch.stack([sample["separate"] for sample in samples]),
    }


def _settle(rng: np.random.Generator, canvas: Canvas, max_objects: int) -> Canvas:
    """Number the objects 1..N in random order; ignore specks; keep the largest *max_objects*.

    What is left out of a crowd is background. The clip stays complete: as many objects as there are slots are labelled,
    so that no slot is told to find nothing.
    """
    labels = canvas.labels.numpy()
    counts = np.stack([np.bincount(frame.ravel(), minlength=256) for frame in labels]).max(axis=0)
    counts[[0, IGNORE]] = 0
    area = labels[0].size
    table = np.zeros(256, np.uint8)
    table[IGNORE] = IGNORE
    table[(counts > 0) & (counts < TINY * area)] = IGNORE
    large = np.flatnonzero(counts >= TINY * area)
    kept = large[np.argsort(-counts[large], kind="stable")][:max_objects]
    table[rng.permutation(kept)] = np.arange(1, len(kept) + 1)
    return Canvas(canvas.frames, torch.from_numpy(table[labels]), canvas.complete, canvas.separate)


def _worth_keeping(labels: torch.Tensor) -> bool:
    """Say whether the first frame shows an object, and something else beside it."""
    first = labels[0]
    objects = float(((first > 0) & (first != IGNORE)).float().mean())
    return VISIBLE <= objects <= 0.9
