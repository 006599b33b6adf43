"""The protocols on masks small enough to be scored by hand, and what they refuse."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.evaluation import SequenceScore, SequenceScorer

Labels = NDArray[np.uint8]


def labels(**boxes: tuple[int, int, int, int]) -> Labels:
    """Return a (40, 60) label map; ``o3=(top, bottom, left, right)`` paints object 3."""
    canvas = np.zeros((40, 60), np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        canvas[top:bottom, left:right] = int(name[1:])
    return canvas


def score(task: str, pairs: list[tuple[Labels, Labels]]) -> SequenceScore:
    scorer = SequenceScorer(task, name="clip")
    for prediction, truth in pairs:
        scorer.feed(prediction, truth)
    return scorer.finish()


HERE, THERE = (5, 15, 5, 15), (20, 35, 30, 50)
TRUTH = labels(o1=HERE, o2=THERE)
NOTHING = labels()


@pytest.mark.parametrize("task", ["semi-supervised", "foreground"])
def test_first_and_last_frame_are_left_out(task: str) -> None:
    result = score(task, [(NOTHING, TRUTH), (TRUTH, TRUTH), (TRUTH, TRUTH), (NOTHING, TRUTH)])
    assert result.frames == 2
    assert result.jf == 1.0


def test_unsupervised_scores_every_frame() -> None:
    result = score("unsupervised", [(NOTHING, TRUTH), (TRUTH, TRUTH)])
    assert result.frames == 2
    assert result.jf == 0.5


def test_a_missing_id_is_an_empty_mask() -> None:
    only_first = labels(o1=HERE)
    result = score("semi-supervised", [(only_first, TRUTH)] * 4)
    assert [o.jf for o in result.objects] == [1.0, 0.0]


@pytest.mark.parametrize("task", ["semi-supervised", "unsupervised"])
def test_an_id_that_no_true_mask_has_counts_as_found_and_that_is_said(task: str) -> None:
    first = labels(o1=HERE, o4=THERE)
    result = score(task, [(first, first)] * 4)
    assert [o.jf for o in result.objects] == [1.0] * 4
    assert result.absent == (2, 3)
    (line,) = result.notices
    assert line.startswith("clip: no true mask has ids 2, 3: where nothing is predicted they count as found")
    later = labels(o1=HERE, o2=(0, 3, 40, 60), o4=THERE)
    assert score(task, [(first, first), (later, later), (first, first)]).absent == (3,)
    end = labels(o1=HERE, o3=(0, 3, 40, 60), o4=THERE)  # which need not be scored
    assert score(task, [(first, first), (later, later), (end, end)]).absent == ()
    assert score(task, [(TRUTH, TRUTH)] * 4).notices == score("foreground", [(first, first)] * 4).notices == ()


def test_an_object_that_has_left_is_right_when_nothing_is_predicted() -> None:
    result = score("semi-supervised", [(TRUTH, TRUTH), (labels(o1=HERE), labels(o1=HERE)), (TRUTH, TRUTH)])
    assert [o.jf for o in result.objects] == [1.0, 1.0]


def test_proposals_are_matched_whatever_their_ids() -> None:
    swapped = labels(o7=HERE, o3=THERE, o5=(0, 3, 40, 60))
    result = score("unsupervised", [(swapped, TRUTH)] * 3)
    assert result.jf == 1.0
    assert [(o.id, o.proposal, o.official_id) for o in result.objects] == [(1, 7, 2), (2, 3, 1)]
    assert result.surplus == 1.0


def test_the_assignment_is_one_for_the_whole_sequence() -> None:
    first, second = labels(o1=HERE), labels(o2=HERE)
    result = score("unsupervised", [(first, labels(o1=HERE))] * 3 + [(second, labels(o1=HERE))])
    assert result.jf == pytest.approx(0.75)
    assert result.surplus == pytest.approx(0.25)


def test_two_objects_and_one_proposal() -> None:
    result = score("unsupervised", [(labels(o4=THERE), TRUTH)] * 2)
    assert [o.jf for o in result.objects] == [0.0, 1.0]


def test_void_counts_for_nothing_in_unsupervised_and_as_background_in_semi_supervised() -> None:
    truth = labels(o1=HERE, o255=THERE)
    prediction = labels(o1=HERE) + (truth == 255).astype(np.uint8)
    assert score("unsupervised", [(prediction, truth)] * 3).jf == 1.0
    assert score("semi-supervised", [(prediction, truth)] * 3).jf < 0.6


def test_foreground_compares_union_with_union() -> None:
    other_ids = labels(o9=HERE, o1=THERE)
    result = score("foreground", [(other_ids, TRUTH)] * 3)
    assert result.jf == 1.0
    assert len(result.objects) == 1


def test_foreground_takes_masks_of_0_and_255() -> None:
    binary = (TRUTH > 0).astype(np.uint8) * 255
    assert score("foreground", [(binary, binary)] * 3).jf == 1.0
    assert score("foreground", [(TRUTH, binary)] * 3).jf == 1.0


def test_foreground_leaves_void_out_where_there_are_ids_too() -> None:
    truth = labels(o1=HERE, o255=THERE)
    assert score("foreground", [(labels(o1=HERE, o2=THERE), truth)] * 3).jf == 1.0


def test_foreground_asks_the_first_mask_that_shows_something_what_255_means() -> None:
    nothing = np.zeros_like(TRUTH)
    truth = labels(o1=HERE, o255=THERE)
    assert score("foreground", [(nothing, nothing), *[(labels(o1=HERE), truth)] * 3]).jf == 1.0
    binary = (TRUTH > 0).astype(np.uint8) * 255
    assert score("foreground", [(nothing, nothing), *[(nothing, binary)] * 3]).jf == 0.0


def test_fed_arrays_may_be_overwritten_by_the_caller() -> None:
    scorer = SequenceScorer("semi-supervised")
    prediction, truth = TRUTH.copy(), TRUTH.copy()
    for _ in range(4):
        prediction[:], truth[:] = TRUTH, TRUTH
        scorer.feed(prediction, truth)
        prediction[:], truth[:] = 0, 1
    assert scorer.finish().jf == 1.0


def test_surplus_ids_are_refused_with_the_cure() -> None:
    surplus = labels(o1=HERE, o3=THERE)
    with pytest.raises(DatasetError, match="object 3, ids up to 2"):
        score("semi-supervised", [(TRUTH, TRUTH), (surplus, TRUTH), (TRUTH, TRUTH)])
    with pytest.raises(DatasetError, match="use the task foreground"):
        score("semi-supervised", [((TRUTH > 0) * np.uint8(255), TRUTH)] * 3)
    with pytest.raises(DatasetError, match="object 21, ids up to 20"):
        score("unsupervised", [(labels(o21=HERE), TRUTH)])


def test_surplus_ids_in_frames_that_are_left_out_are_no_error() -> None:
    surplus = labels(o9=HERE)
    assert score("semi-supervised", [(surplus, TRUTH), (TRUTH, TRUTH), (surplus, TRUTH)]).jf == 1.0


def test_other_refusals_name_the_sequence() -> None:
    with pytest.raises(DatasetError, match=r"clip, frame 0: .*9x9.*60x40"):
        score("unsupervised", [(np.zeros((9, 9), np.uint8), TRUTH)])
    with pytest.raises(DatasetError, match="clip, frame 0: the first true mask has no object"):
        score("unsupervised", [(TRUTH, NOTHING)])
    with pytest.raises(DatasetError, match="clip has 2 frames, of which none is scored"):
        score("foreground", [(TRUTH, TRUTH)] * 2)
    with pytest.raises(UsageError, match="no such task"):
        SequenceScorer("instances")  # type: ignore[arg-type]


def test_scoring_one_shot_masks_loads_neither_scipy_nor_torch() -> None:
    script = """
import sys
import numpy as np
from rvos_cli.evaluation import SequenceScorer
scorer = SequenceScorer("semi-supervised")
for _ in range(3):
    scorer.feed(np.ones((9, 9), np.uint8), np.ones((9, 9), np.uint8))
print(scorer.finish().jf, sorted({"scipy.optimize", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "[]"]


def test_first_mask_with_void_beside_its_objects_has_as_many_objects_as_ids() -> None:
    truth = labels(o1=HERE, o2=THERE, o255=(0, 3, 40, 60))
    assert len(score("semi-supervised", [(labels(o1=HERE), truth)] * 3).objects) == 2
