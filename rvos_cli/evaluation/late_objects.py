"""The protocol of YouTube-VOS, streaming: objects may enter at any time, each with its own first mask.

Enters: label maps, frame by frame. Leaves: a ``SequenceScore``. Stands beside ``SequenceScorer``; ``make_scorer`` gives
the one that a task needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.evaluation.metrics import Measure, Shape, boundary_radius, window
from rvos_cli.evaluation.protocols import DAVIS_TASKS, TASKS, VOID, SequenceScorer, Task
from rvos_cli.evaluation.scores import ObjectScore, SequenceScore

Labels = NDArray[np.uint8]


class LateObjectScorer:
    """Scores object k of the prediction against object k of the truth, from the frame after its first true mask on.

    The last frame counts. Where the truth has no pixel of an object any more, no pixel is right. 255 in the truth is
    background. What is predicted of an object before its first mask counts for nothing; ids that the truth never has
    are an error.
    """

    skips_ends = False
    frames_needed = 2  # an object counts from the frame after its first mask on

    def __init__(self, *, name: str = "") -> None:
        """Start a sequence called *name*."""
        self.task: Task = "youtube-vos"
        self.name = name
        self._frames = 0
        self._curves: dict[int, tuple[list[float], list[float]]] = {}
        self._predicted: set[int] = set()
        self._void = False

    def feed(self, prediction: Labels, truth: Labels) -> None:
        """Take the next frame: (H, W) uint8 labels, predicted and true.

        Raises:
            DatasetError: the sizes differ.
        """
        if prediction.shape != truth.shape:
            raise DatasetError(
                f"{self.name or 'the sequence'}: the predicted mask is {prediction.shape[1]}x{prediction.shape[0]}, "
                f"the true one {truth.shape[1]}x{truth.shape[0]}",
                cure="predict at the size of the true masks",
            )
        radius = boundary_radius(*truth.shape)
        cut = window(prediction, truth)
        prediction, truth = prediction[cut], truth[cut]
        for identity, (region, boundary) in self._curves.items():
            found = Shape(prediction == identity, radius=radius)
            wanted = Shape(truth == identity, radius=radius)
            region.append(found.jaccard(wanted))
            boundary.append(found.boundary_f(wanted))
        self._frames += bool(self._curves)
        for identity in _ids(truth) - {VOID}:
            self._curves.setdefault(identity, ([], []))
        self._predicted.update(_ids(prediction))
        if not self._curves:
            self._void = self._void or int(truth.max(initial=0)) == VOID

    def finish(self) -> SequenceScore:
        """Return the scores; without any object where none was scored in any frame.

        Raises:
            DatasetError: the prediction has an object that the truth never has, or the truth has 255 and no object.
        """
        if self._void and not self._curves:
            raise only_void(self.name)
        surplus = sorted(self._predicted - self._curves.keys())
        if surplus:
            cure = "predict only the objects of the true masks"
            if surplus == [VOID]:
                cure = "for masks of 0 and 255 use the task foreground"
            raise DatasetError(
                f"{self.name or 'the sequence'}: the prediction has object {surplus[0]}, the truth never has", cure=cure
            )
        scores = [
            ObjectScore(
                sequence=self.name,
                id=identity,
                region=Measure(tuple(region)),
                boundary=Measure(tuple(boundary)),
                proposal=identity,
                official_id=identity,
            )
            for identity, (region, boundary) in sorted(self._curves.items())
            if region
        ]
        return SequenceScore(name=self.name, frames=self._frames, objects=tuple(scores), surplus=0.0)


def only_void(name: str) -> DatasetError:
    """Return the failure of a sequence in whose true masks nothing but 255 is drawn."""
    return DatasetError(
        f"{name or 'the sequence'}: the true masks have no object but 255, which is background in the task youtube-vos",
        cure="masks of 0 and 255 need the task foreground",
    )


def make_scorer(task: Task, *, name: str = "") -> SequenceScorer | LateObjectScorer:
    """Return the scorer of *task* for a sequence called *name*.

    Raises:
        UsageError: there is no such task.
    """
    if task not in TASKS:
        raise UsageError(f"no such task: {task}", cure=f"use one of {', '.join(TASKS)}")
    return SequenceScorer(task, name=name) if task in DAVIS_TASKS else LateObjectScorer(name=name)


def _ids(labels: Labels) -> set[int]:
    seen = np.zeros(256, dtype=np.bool_)
    seen[labels] = True
    return set(np.flatnonzero(seen).tolist()) - {0}
