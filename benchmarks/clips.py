"""Sequences with true masks, and what is measured while a network goes through one.

Enters: a DAVIS root (JPEGImages/480p, Annotations/480p), or a folder that holds one as ``davis``; the masks that a
network streams. Leaves: J&F per sequence and object, and seconds per frame. All scripts that score
DAVIS sequences share these conventions:

- one-shot, union: all objects as one, as in DAVIS-2016; unmerged: object by object, as in DAVIS-2017; both without the
  first and the last frame;
- zero-shot, union: all objects found against all true ones, without the first and the last frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import rvos_cli as rvos
from rvos_cli.errors import DatasetError
from rvos_cli.evaluation import SequenceScorer, load_dataset, read_mask

Labels = NDArray[np.uint8]
Spectator = Callable[[rvos.FrameMasks, Labels], None]


@dataclass(frozen=True)
class Clip:
    """One sequence, or an excerpt of one.

    Attributes:
        name: of the sequence; of an excerpt with ``@`` and the number of its first frame behind.
        frames: the sequence's folder of frames.
        truths: one true mask per frame.
        excerpt: which files of the folder belong to an excerpt; empty for a whole sequence.
    """

    name: str
    frames: Path
    truths: tuple[Path, ...]
    excerpt: tuple[Path, ...] = ()

    @property
    def sequence(self) -> str:
        """Name of the sequence that this is, or is of."""
        return self.name.partition("@")[0]

    def input(self) -> Path | list[NDArray[np.uint8]]:
        """Return what a network is given: the folder, or an excerpt's frames (H, W, 3) RGB."""
        return [np.asarray(Image.open(path).convert("RGB")) for path in self.excerpt] if self.excerpt else self.frames

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
        """Yield what *frames* yields, when all is there: the next frame is begun beside whatever is done with one."""
        done: list[rvos.FrameMasks] = []
        start = time.perf_counter()
        for frame in frames:
            done.append(frame)
            self.seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        del self.seconds[: self._left_out]
        yield from done

    @property
    def fps(self) -> float:
        """Frames a second."""
        return len(self.seconds) / sum(self.seconds) if self.seconds else 0.0


def find_clips(data: Path, wanted: Sequence[str] | None, stride: int = 1, *, cut: int = 0) -> list[Clip]:
    """Return the clips below a DAVIS root, the *wanted* ones or every *stride*-th; with *cut* in excerpts so long.

    Raises:
        DatasetError: there are none, or a frame has no true mask.
    """
    root = data / "davis" if (data / "davis").is_dir() else data
    dataset = load_dataset("folder", root, sequences=wanted)
    clips = []
    for sequence in dataset.sequences if wanted else dataset.sequences[::stride]:
        if sequence.first_unknown is not None:
            raise DatasetError(f"{sequence.name}: frame {sequence.first_unknown} has no mask", cure="all need one")
        clip = Clip(sequence.name, sequence.frames[0].parent, tuple(sequence.masks.values()))
        clips += _excerpts(clip, sequence.frames, cut) if cut else [clip]
    if not clips:
        raise DatasetError(f"no sequence has {cut} frames", cure="cut them shorter")
    return clips


def _excerpts(clip: Clip, pictures: Sequence[Path], frames: int) -> Iterator[Clip]:
    """Cut *clip* into excerpts of *frames*; a shorter rest, and what begins without an object, is left out."""
    for start in range(0, len(clip.truths) - frames + 1, frames):
        part = slice(start, start + frames)
        if read_mask(clip.truths[start]).any():
            yield replace(clip, name=f"{clip.name}@{start}", truths=clip.truths[part], excerpt=tuple(pictures[part]))


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
