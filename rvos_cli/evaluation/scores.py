"""What a scorer returns: per object, per sequence, per data set.

Enters: curves of J and F. Leaves: frozen values that ``report.py`` writes; ``to_dict`` is what ``--json`` prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.metrics import Measure


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


@dataclass(frozen=True, kw_only=True)
class ObjectScore:
    """One true object: its J (``region``) and F (``boundary``) curves.

    ``proposal`` is the predicted id that stands for it. ``official_id`` is the number under which the official tool
    lists it: in the task unsupervised that tool counts in the order of the proposals, not of the true ids.
    """

    sequence: str
    id: int
    region: Measure
    boundary: Measure
    proposal: int
    official_id: int

    @property
    def jf(self) -> float:
        """J&F: the mean of both means."""
        return (self.region.mean + self.boundary.mean) / 2

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"id": self.id, "proposal": self.proposal, "official_id": self.official_id, **_figures([self])}


@dataclass(frozen=True, kw_only=True)
class SequenceScore:
    """One sequence: ``frames`` scored; ``surplus`` is the mean number of predicted objects a frame that stand for none.

    An id counts for a frame if it has a pixel there and was not assigned to a true object of the sequence. ``absent``
    are those ids of ``objects`` that no true mask has.
    """

    name: str
    frames: int
    objects: tuple[ObjectScore, ...]
    surplus: float
    absent: tuple[int, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """One line for each thing worth knowing."""
        if not self.absent:
            return ()
        many = len(self.absent) > 1
        ids, they = f"id{'s' * many} {', '.join(map(str, self.absent))}", "they count" if many else "it counts"
        line = f"no true mask has {ids}: where nothing is predicted {they} as found, as in the official tool"
        return (f"{self.name}: {line}",)

    @property
    def jf(self) -> float:
        """Mean J&F of the objects."""
        return _mean(score.jf for score in self.objects)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "frames": self.frames,
            **_figures(self.objects),
            "surplus": self.surplus,
            "objects": [score.to_dict() for score in self.objects],
        }


@dataclass(frozen=True, kw_only=True)
class DatasetScore:
    """Several sequences; means are over objects, not over sequences, as in the official tools."""

    task: str
    sequences: tuple[SequenceScore, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list.

        Raises:
            DatasetError: no sequence was scored.
        """
        if not self.sequences:
            raise DatasetError(
                "no sequence was scored", cure="true masks have to show an object before the last frame that counts"
            )

    @property
    def objects(self) -> tuple[ObjectScore, ...]:
        """Every object of every sequence."""
        return tuple(score for sequence in self.sequences for score in sequence.objects)

    @property
    def jf(self) -> float:
        """Mean J&F over the objects."""
        return _mean(score.jf for score in self.objects)

    def figures(self) -> dict[str, float]:
        """Return J&F, J and F mean, recall and decay over all objects, named as the official tools name them."""
        return _figures(self.objects)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"task": self.task, **self.figures(), "sequences": [score.to_dict() for score in self.sequences]}


def _figures(objects: Iterable[ObjectScore]) -> dict[str, float]:
    scores = list(objects)
    figures = {"J&F-Mean": _mean(score.jf for score in scores)}
    for letter, curves in (("J", [s.region for s in scores]), ("F", [s.boundary for s in scores])):
        figures[f"{letter}-Mean"] = _mean(curve.mean for curve in curves)
        figures[f"{letter}-Recall"] = _mean(curve.recall for curve in curves)
        figures[f"{letter}-Decay"] = _mean(curve.decay for curve in curves)
    return figures
