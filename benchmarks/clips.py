"""Sequences with true masks, and what is measured while a network goes through one.

Enters: a DAVIS root (JPEGImages/480p, Annotations/480p), or a folder that holds one as ``davis``; the masks that a
network streams. Leaves: J&F per sequence and object, and seconds per frame. ``accuracy.py`` and ``frontier.py`` share
these conventions:

- one-shot, union: all objects as one, as in DAVIS-2016; unmerged: object by object, as in DAVIS-2017; both without the
  first and the last frame;
- zero-shot, union: all objects found against all true ones, without the first and the last frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.errors import DatasetError
from rvos_cli.evaluation import SequenceScorer, load_dataset, read_mask

Labels = NDArray[np.uint8]
Spectator = Callable[[rvos.FrameMasks, Labels], None]


@dataclass(frozen=True)
class Clip:
    """One sequence: its frames' folder and one true mask per frame."""

    name: str
    frames: Path
    truths: tuple[Path, ...]

    def labels(self) -> Iterator[Labels]:
        """Read the true masks (H, W), one after the other."""
        return map(read_mask, self.truths)


class Stopwatch:
    """Keeps the seconds of each step of an iterator, of the first ones not."""

    def __init__(self, left_out: int = 1) -> None:
        """Leave out the first steps, which warm up."""
        self.seconds: list[float] = []
        self._left_out = left_out

    def watch(self, frames: Iterator[rvos.FrameMasks]) -> Iterator[rvos.FrameMasks]:
        """Yield what *frames* yields."""
        while True:
            start = time.perf_counter()
            frame = next(frames, None)
            spent = time.perf_counter() - start
            if frame is None:
                return
            if self._left_out:
                self._left_out -= 1
            else:
                self.seconds.append(spent)
            yield frame

    @property
    def fps(self) -> float:
        """Frames a second."""
        return len(self.seconds) / sum(self.seconds) if self.seconds else 0.0


def find_clips(data: Path, wanted: Sequence[str] | None, stride: int = 1) -> list[Clip]:
    """Return the clips below a DAVIS root, the *wanted* ones or every *stride*-th.

    Raises:
        DatasetError: there are none, or a frame has no true mask.
    """
    root = data / "davis" if (data / "davis").is_dir() else data
    dataset = load_dataset("folder", root, sequences=wanted)
    clips = []
    for sequence in dataset.sequences if wanted else dataset.sequences[::stride]:
        if sequence.first_unknown is not None:
            raise DatasetError(f"{sequence.name}: frame {sequence.first_unknown} has no mask", cure="all need one")
        clips.append(Clip(sequence.name, sequence.frames[0].parent, tuple(sequence.masks.values())))
    return clips


def score_one_shot(
    frames: Iterator[rvos.FrameMasks], truths: Iterable[Labels], name: str, *spectators: Spectator
) -> tuple[float, list[float]]:
    """Score frames that follow the first of *truths*: return J&F of the union, and of each object."""
    merged, unmerged = SequenceScorer("foreground", name=name), SequenceScorer("semi-supervised", name=name)
    for frame, truth in zip(frames, truths, strict=True):
        merged.feed(frame.labels, truth)
        unmerged.feed(frame.labels, truth)
        for spectator in spectators:
            spectator(frame, truth)
    return merged.finish().jf, [entry.jf for entry in unmerged.finish().objects]


def score_union(
    frames: Iterator[rvos.FrameMasks], truths: Iterable[Labels], name: str, *spectators: Spectator
) -> float:
    """Score frames whose objects were found: return J&F of the union."""
    merged = SequenceScorer("foreground", name=name)
    for frame, truth in zip(frames, truths, strict=True):
        merged.feed(frame.labels, truth)
        for spectator in spectators:
            spectator(frame, truth)
    return merged.finish().jf


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return float(np.mean(values)) if len(values) else None
