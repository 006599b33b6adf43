"""The DAVIS protocols, streaming: one-shot (semi-supervised), zero-shot (unsupervised) and foreground.

Enters: label maps, frame by frame. Leaves: a ``SequenceScore``. Stands between ``metrics`` and ``folders``, which
feeds it files; ``runner`` feeds it a network's output. Only numbers are kept of past frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.evaluation.metrics import Measure, Shape, boundary_radius, window
from rvos_cli.evaluation.scores import ObjectScore, SequenceScore

Task = Literal["semi-supervised", "unsupervised", "foreground", "youtube-vos"]
TASKS: tuple[str, ...] = get_args(Task)
DAVIS_TASKS = ("semi-supervised", "unsupervised", "foreground")
VOID = 255
MAX_PROPOSALS = 20

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Frame:
    """One frame as it is kept until the next: small, and no view of the caller's arrays."""

    largest: int  # id of the prediction
    proposals: list[Shape]
    objects: list[Shape]


class SequenceScorer:
    """Scores one sequence as the official tools do.

    - ``semi-supervised``: object k of the prediction against object k of the truth. The first and the last frame are
      left out, 255 in the truth is background, missing ids are empty masks, surplus ids are an error.
    - ``unsupervised``: every frame counts, 255 in the truth counts for nothing. At most 20 proposals; they are assigned
      to the objects so that the mean of (J+F)/2 is largest; what is left over costs nothing.
    - ``foreground``: everything that is not 0 is one object (DAVIS-2016); first and last frame left out. 255 in the
      truth counts for nothing, unless the first mask that is not empty holds nothing else: then it is the foreground.

    The number of objects is the largest id of the first true mask.
    """

    def __init__(self, task: Task, *, name: str = "") -> None:
        """Start a sequence called *name*.

        Raises:
            UsageError: there is no such task.
        """
        if task not in DAVIS_TASKS:
            raise UsageError(f"no such task: {task}", cure=f"use one of {', '.join(DAVIS_TASKS)}")
        self.task = task
        self.name = name
        self.objects = 0
        self._fed = 0
        self._void_is_object: bool | None = None  # until a mask shows something
        self._pending: _Frame | None = None
        self._absent: set[int] = set()
        self._proposals = 0
        self._region: list[NDArray[np.float64]] = []
        self._boundary: list[NDArray[np.float64]] = []
        self._present: list[NDArray[np.bool_]] = []

    @property
    def skips_ends(self) -> bool:
        """Whether the first and the last frame are left out."""
        return self.task != "unsupervised"

    @property
    def frames_needed(self) -> int:
        """How many frames a sequence must have at least for one of them to be scored."""
        return 3 if self.skips_ends else 1

    def feed(self, prediction: Labels, truth: Labels) -> None:
        """Take the next frame.

        Args:
            prediction: (H, W) uint8, 0 = background, k = object k.
            truth: (H, W) uint8, the same, 255 = see the class.

        Raises:
            DatasetError: sizes differ, ids are surplus, or the first true mask has no object.
        """
        if prediction.shape != truth.shape:
            raise DatasetError(
                f"{self._place()}: the predicted mask is {prediction.shape[1]}x{prediction.shape[0]}, "
                f"the true one {truth.shape[1]}x{truth.shape[0]}",
                cure="predict at the size of the true masks",
            )
        if self._fed == 0:
            self._start(truth)
        if self._absent:
            self._absent -= set(np.unique(truth).tolist())
        if self._void_is_object is None and truth.any():
            self._void_is_object = self.task == "foreground" and int(truth.min(where=truth > 0, initial=VOID)) == VOID
        if not self.skips_ends:
            self._score(self._pack(prediction, truth))
        elif self._fed:
            # A frame is scored when the next one arrives, so that the last never is.
            if self._pending is not None:
                self._score(self._pending)
            self._pending = self._pack(prediction, truth)
        self._fed += 1

    def finish(self) -> SequenceScore:
        """Return the scores of the frames that were fed.

        Raises:
            DatasetError: no frame is left to score.
        """
        if not self._region:
            raise DatasetError(
                f"{self.name or 'the sequence'} has {self._fed} frames, of which none is scored",
                cure=f"the task {self.task} needs at least {self.frames_needed}",
            )
        region, boundary = np.stack(self._region), np.stack(self._boundary)
        chosen, objects = self._assign(region, boundary)
        official = np.argsort(np.argsort(chosen))
        scores = []
        for proposal, identity in zip(chosen, objects, strict=True):
            scores.append(
                ObjectScore(
                    sequence=self.name,
                    id=int(identity) + 1,
                    region=Measure(tuple(region[:, proposal, identity].tolist())),
                    boundary=Measure(tuple(boundary[:, proposal, identity].tolist())),
                    proposal=int(proposal) + 1,
                    official_id=int(official[identity]) + 1,
                )
            )
        present = np.stack(self._present)
        present[:, chosen] = False
        return SequenceScore(
            name=self.name,
            frames=len(region),
            objects=tuple(scores),
            surplus=float(present.sum(axis=1).mean()),
            absent=tuple(sorted(self._absent)),
        )

    def _place(self) -> str:
        return f"{self.name}, frame {self._fed}" if self.name else f"frame {self._fed}"

    def _start(self, truth: Labels) -> None:
        self._radius = boundary_radius(*truth.shape)
        largest = int(truth.max(initial=0))
        if largest == VOID:
            largest = int((truth * (truth != VOID)).max())
        if self.task == "foreground":
            self.objects = 1
            return
        if not largest:
            raise DatasetError(
                f"{self._place()}: the first true mask has no object",
                cure="masks of 0 and 255 need the task foreground",
            )
        self.objects = largest
        self._absent = set(range(1, largest + 1))  # until a mask shows them, be it one that is not scored

    def _pack(self, prediction: Labels, truth: Labels) -> _Frame:
        """Return the shapes of a frame: of all objects, and of the proposals up to the largest id there is."""
        cut = window(prediction, truth)
        prediction, truth = prediction[cut], truth[cut]
        largest = int(prediction.max(initial=0))
        prediction, truth = self._clean(prediction, truth)
        rows = max(self.objects, MAX_PROPOSALS) if self.task == "unsupervised" else self.objects
        return _Frame(largest, self._shapes(prediction, rows), self._shapes(truth, self.objects))

    def _shapes(self, labels: Labels, most: int) -> list[Shape]:
        """Return the shapes of the objects 1 to *most*; one empty shape stands for all that come after the last."""
        largest = int(labels.max(initial=0))
        last = min(largest, most)
        if largest == 1:  # as it is, it is its only object's mask
            shapes = [Shape(labels, radius=self._radius)]
        else:
            shapes = [Shape(labels == k, radius=self._radius) for k in range(1, last + 1)]
        if last < most:
            shapes += [Shape(np.zeros_like(labels), radius=self._radius)] * (most - last)
        return shapes

    def _score(self, frame: _Frame) -> None:
        """Add one row of J and F, (proposals, objects), and of which proposals there are."""
        matched = self.task == "unsupervised"
        if self.task != "foreground":
            self._check_ids(frame.largest, len(frame.proposals))
        region, boundary = np.zeros((2, len(frame.proposals), self.objects))
        for row, shape in enumerate(frame.proposals):
            for column in range(self.objects) if matched else (row,):
                region[row, column] = shape.jaccard(frame.objects[column])
                boundary[row, column] = shape.boundary_f(frame.objects[column])
        self._region.append(region)
        self._boundary.append(boundary)
        self._present.append(np.array([bool(shape.bits) for shape in frame.proposals]))

    def _clean(self, prediction: Labels, truth: Labels) -> tuple[Labels, Labels]:
        """Return both label maps as this task sees them, void resolved."""
        void = int(truth.max(initial=0)) == VOID and not self._void_is_object
        if self.task == "foreground":
            counts = truth != VOID
            prediction, truth = (prediction > 0).view(np.uint8), (truth > 0).view(np.uint8)
            return (prediction * counts, truth * counts) if void else (prediction, truth)
        if not void:
            return prediction, truth
        counts = truth != VOID
        return prediction * counts if self.task == "unsupervised" else prediction, truth * counts

    def _check_ids(self, largest: int, most: int) -> None:
        self._proposals = max(self._proposals, largest)
        if largest <= most:
            return
        if self.task == "unsupervised":
            cure = f"keep the {most} best objects and number them 1 to {most}"
        elif largest == VOID:
            cure = "for masks of 0 and 255 use the task foreground"
        else:
            cure = "predict only the objects of the first true mask"
        place = f"{self.name}: " if self.name else ""
        raise DatasetError(f"{place}the prediction has object {largest}, ids up to {most} are allowed", cure=cure)

    def _assign(
        self, region: NDArray[np.float64], boundary: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which proposal (row) stands for which object (column)."""
        if self.task != "unsupervised":
            every = np.arange(self.objects)
            return every, every
        # SciPy's optimisers take longer to load than most sequences to score; only this task needs them.
        from scipy.optimize import linear_sum_assignment

        rows = max(self._proposals, self.objects)
        quality = (region.mean(axis=0) + boundary.mean(axis=0))[:rows] / 2
        chosen, objects = linear_sum_assignment(-quality)
        order = np.argsort(objects)
        return chosen[order], objects[order]
