"""Runs a network over a data set: masks are scored as they come, and written for the official servers.

Enters: a network (anything with ``Segmenter.stream``) and a ``Dataset``. Leaves: a ``DatasetRun`` with the scores.
Stands between ``datasets.py`` and the scorers. Memory does not grow with the data set, nor with its sequences.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rvos_cli.config import InferenceOptions
from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.datasets import Dataset
from rvos_cli.evaluation.late_objects import LateObjectScorer, make_scorer, only_void
from rvos_cli.evaluation.protocols import MAX_PROPOSALS, VOID, SequenceScorer, Task
from rvos_cli.evaluation.scores import DatasetScore, SequenceScore
from rvos_cli.evaluation.sequences import Sequence
from rvos_cli.evaluation.submission import Submission
from rvos_cli.results import FrameMasks

Labels = NDArray[np.uint8]
Progress = Callable[[int, "int | None"], None]


class Network(Protocol):
    """What is run: a ``Segmenter``, or anything that streams like one."""

    def stream(
        self,
        input: Iterable[NDArray[np.uint8]],
        *,
        masks: Iterable[Labels | None] | None = None,
        size: int | None = None,
        max_objects: int = InferenceOptions.max_objects,
        threshold: float = InferenceOptions.threshold,
    ) -> Iterator[FrameMasks]:
        """Yield the masks of (H, W, 3) uint8 RGB frames; *masks* has one mask or None for each."""


class _Stored:
    """Frames of which it is known how many there are: nobody need take them for live ones, as a mere iterator's."""

    def __init__(self, images: Iterator[NDArray[np.uint8]], count: int) -> None:
        self._images, self._count = images, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return self._images


class DatasetRun:
    """One network on one data set; ``run`` takes its sequences one after the other.

    - ``semi-supervised`` and ``foreground``: the first true mask is given and followed. YouTube-VOS, and the task
      ``youtube-vos``, give each object that enters later, too.
    - ``unsupervised``: nothing is given. Of more than 20 objects in a sequence the 20 with most pixels are kept.

    DAVIS 2016 has one object, and is always scored as ``foreground``.

    Attributes:
        protocol: the task by which the masks are scored.
        score: whether they are.
        frames: how many have been run.
        seconds: spent on reading and on the network, not on scoring.
    """

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        task: Task,
        *,
        options: InferenceOptions | None = None,
        submission: Submission | None = None,
    ) -> None:
        """Prepare a run; *submission* must be open.

        Raises:
            DatasetError: there are no true masks to score with, and there is no submission.
            UsageError: there is no such task.
        """
        self.dataset, self.task = dataset, task
        self.protocol = _protocol(dataset, task)
        make_scorer(self.protocol)
        reason = dataset.unscorable()
        if reason and submission is None:
            raise dataset.useless()
        self.score = not reason
        self.frames, self.seconds = 0, 0.0
        self._network, self._options = network, options or InferenceOptions()
        self._submission = submission
        self._scores: list[SequenceScore] = []
        if self.score:
            for sequence in dataset.sequences:
                self._check(sequence)

    def run(self, sequence: Sequence, *, progress: Progress | None = None) -> SequenceScore | None:
        """Run one sequence and return its scores, None if it is not scored.

        *progress* is called after each frame with (frames done, frames in all).

        Raises:
            RvosError: as ``Segmenter.stream``; as ``SequenceScorer`` and ``Submission``.
        """
        outcome = _Outcome(sequence, make_scorer(self.protocol, name=sequence.name) if self.score else None)
        with closing(sequence.images()) as images:
            frames = self._predict(sequence, images)
            if self.task == "unsupervised" and self.protocol == "unsupervised":
                with _Spool() as spool:
                    for frame in self._timed(frames, len(sequence.frames), progress):
                        spool.add(frame.labels)
                    for index, labels in enumerate(spool.largest(MAX_PROPOSALS)):
                        outcome.take(index, labels, self._submission)
            else:
                for frame in self._timed(frames, len(sequence.frames), progress):
                    outcome.take(frame.index, frame.labels, self._submission)
        score = None if outcome.scorer is None else outcome.scorer.finish()
        if score is not None and score.objects:
            self._scores.append(score)
        return score

    def result(self) -> DatasetScore | None:
        """Return the scores of the sequences that were run, None if they are not scored.

        Raises:
            DatasetError: no object was scored in any of them.
        """
        return DatasetScore(task=self.protocol, sequences=tuple(self._scores)) if self.score else None

    def _predict(self, sequence: Sequence, images: Iterator[NDArray[np.uint8]]) -> Iterator[FrameMasks]:
        masks = None
        if self.task != "unsupervised":
            masks = sequence.given(late=self.dataset.late_objects or self.task == "youtube-vos")
        chosen = self._options
        frames = _Stored(images, len(sequence.frames))
        return self._network.stream(
            frames, masks=masks, size=chosen.size, max_objects=chosen.max_objects, threshold=chosen.threshold
        )

    def _timed(self, frames: Iterator[FrameMasks], total: int, progress: Progress | None) -> Iterator[FrameMasks]:
        while True:
            start = time.perf_counter()
            frame = next(frames, None)
            self.seconds += time.perf_counter() - start
            if frame is None:
                return
            self.frames += 1
            yield frame
            if progress is not None:
                progress(frame.index + 1, total)

    def _check(self, sequence: Sequence) -> None:
        """Refuse at the start what the scorer would refuse after hours."""
        scorer = make_scorer(self.protocol)
        count = len(sequence.scored)
        if count < scorer.frames_needed:
            raise DatasetError(
                f"{sequence.name} has {count} true mask{'s' * (count != 1)}, of which the task {self.protocol} scores "
                f"none: it needs {scorer.frames_needed}",
                cure="leave it out with --sequences",
            )
        sequence.check_size()
        if isinstance(scorer, LateObjectScorer):
            if _has_only_void(sequence):
                raise only_void(sequence.name)
            return
        if self.protocol == "foreground":
            return
        truth = sequence.truth(sequence.scored[0])
        if truth is None or not set(np.unique(truth).tolist()) - {0, VOID}:
            raise DatasetError(
                f"{sequence.name}: the first true mask has no object",
                cure="masks of 0 and 255 need the task foreground; objects that come later the task youtube-vos",
            )


def _has_only_void(sequence: Sequence) -> bool:
    """Return whether 255 is all that the true masks show; they are read until one has an object, mostly the first."""
    void = False
    for truth in map(sequence.truth, sequence.scored):
        shown = set() if truth is None else set(np.unique(truth).tolist()) - {0}
        if shown - {VOID}:
            return False
        void = void or bool(shown)
    return void


class _Outcome:
    """Where the masks of one sequence go: to the scorer, and into the submission, if they are on the list."""

    def __init__(self, sequence: Sequence, scorer: SequenceScorer | LateObjectScorer | None) -> None:
        self.scorer = scorer
        self._sequence = sequence
        self._listed, self._scored = set(sequence.listed), set(sequence.scored)

    def take(self, index: int, labels: Labels, submission: Submission | None) -> None:
        sequence = self._sequence
        stem = sequence.frames[index].stem
        if sequence.merged:
            labels = (labels > 0).view(np.uint8)
        if submission is not None and stem in self._listed:
            submission.write(sequence.name, stem, labels)
        if self.scorer is not None and stem in self._scored:
            truth = sequence.truth(stem)
            if truth is not None:
                self.scorer.feed(labels, truth)


class _Spool:
    """Label maps on disk until it is known which ids matter; a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._areas = np.zeros(256, np.int64)
        self._sizes: list[int] = []
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, labels: Labels) -> None:
        """Keep (H, W) uint8 labels."""
        self._areas += np.bincount(labels.ravel(), minlength=256)
        self._shape = labels.shape
        self._sizes.append(self._file.write(zlib.compress(labels.tobytes(), 1)))

    def largest(self, count: int) -> Iterator[Labels]:
        """Yield what was kept, with ids 1..*count*: as they are if none is larger, otherwise the largest objects."""
        ids = np.flatnonzero(self._areas[1:]) + 1
        renumber = np.arange(256, dtype=np.uint8)
        if len(ids) and ids[-1] > count:
            kept = sorted(sorted(ids.tolist(), key=lambda k: -self._areas[k])[:count])
            renumber[:] = 0
            renumber[kept] = np.arange(1, len(kept) + 1)
        self._file.seek(0)
        for size in self._sizes:
            labels = np.frombuffer(zlib.decompress(self._file.read(size)), np.uint8).reshape(self._shape)
            yield renumber[labels]


def _protocol(dataset: Dataset, task: Task) -> Task:
    if dataset.name == "davis2016":
        return "foreground"
    return "youtube-vos" if dataset.late_objects and task == "semi-supervised" else task
