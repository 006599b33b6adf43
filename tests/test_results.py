"""What is counted of each frame and told about a whole run."""

from fractions import Fraction

import numpy as np
import pytest

from rvos_cli.results import DOUBTFUL, FEW, Doubt, FrameMasks, ObjectSummary, ObjectTally


def frame_with(labels: np.ndarray, index: int = 0, **confidence: float) -> FrameMasks:
    return FrameMasks(
        index=index,
        time=Fraction(index, 25),
        name=f"{index:05d}",
        image=np.zeros((*labels.shape, 3), np.uint8),
        labels=labels,
        confidence={int(one[1:]): score for one, score in confidence.items()},
    )


@pytest.mark.parametrize("ids", [(), (1,), (2, FEW), (FEW + 1,), (3, FEW + 1, 254)])
def test_areas_are_the_pixels_of_every_object(ids: tuple[int, ...]):
    rng = np.random.default_rng(0)
    labels = rng.choice([0, *ids], size=(37, 53)).astype(np.uint8)
    areas = frame_with(labels).areas
    assert list(areas) == list(ids)
    assert areas == {identity: int((labels == identity).sum()) for identity in ids}


def test_a_tally_tells_when_each_object_was_seen():
    tally = ObjectTally(expected=(1, 7))
    nothing = np.zeros((4, 6), np.uint8)
    small, large = nothing.copy(), nothing.copy()
    small[0, :2], large[:2] = 1, 1
    large[3, 0] = 2
    for index, labels in enumerate((nothing, small, large, nothing)):
        tally.add(frame_with(labels, index))
    assert tally.objects() == (
        ObjectSummary(id=1, first_frame=1, last_frame=2, frames_seen=2, mean_area=7.0),
        ObjectSummary(id=2, first_frame=2, last_frame=2, frames_seen=1, mean_area=1.0),
        ObjectSummary(id=7, first_frame=None, last_frame=None, frames_seen=0, mean_area=0.0),
    )


def doubts(first: list[float], second: list[float], **options: float) -> tuple[Doubt, ...]:
    tally = ObjectTally(**options)
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        tally.add(frame_with(np.zeros((4, 6), np.uint8), index, _1=one, _2=other))
    return tally.doubts()


def test_doubts_are_stretches_of_frames_with_little_confidence():
    sure, unsure = [0.95] * 4, [0.8] * 3
    first = [*sure, *unsure, *sure, 0.6, *sure * 2, 0.5, 0.5, *sure * 2, *unsure]
    second = [0.8, 0.9, 0.8, 0.8, *[DOUBTFUL] * (len(first) - 4)]
    assert doubts(first, second) == (
        Doubt(id=2, first_frame=0, last_frame=3, confidence=0.8),
        Doubt(id=1, first_frame=4, last_frame=11, confidence=0.75),  # four frames between are few
        Doubt(id=1, first_frame=30, last_frame=32, confidence=0.8),  # two doubtful frames alone are none
    )
    assert doubts(first, second, doubtful=0.0) == ()
