"""The YouTube-VOS protocol on masks small enough to be scored by hand."""

from pathlib import Path

import numpy as np
import pytest
from trees import Labels, labels, write_mask, youtube

from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.evaluation import LateObjectScorer, SequenceScore, SequenceScorer, evaluate_folders, make_scorer

NOTHING = np.zeros_like(labels(0))


def score(pairs: list[tuple[Labels, Labels]]) -> SequenceScore:
    scorer = LateObjectScorer(name="clip")
    for prediction, truth in pairs:
        scorer.feed(prediction, truth)
    return scorer.finish()


def test_an_object_counts_from_the_frame_after_its_first_mask_to_the_last() -> None:
    one, both = labels(0, (1,)), labels(0)
    result = score([(NOTHING, one), (one, one), (NOTHING, both), (one, both), (both, both)])
    assert [(o.id, o.region.values) for o in result.objects] == [(1, (1.0, 0.0, 1.0, 1.0)), (2, (0.0, 1.0))]
    assert result.frames == 4
    assert result.jf == pytest.approx((0.75 + 0.5) / 2)


def test_frames_before_the_first_object_count_for_nothing() -> None:
    one = labels(0, (1,))
    assert score([(one, NOTHING), (one, one), (one, one)]).objects[0].region.values == (1.0,)


def test_an_object_that_has_left_is_right_when_nothing_is_predicted() -> None:
    one = labels(0, (1,))
    assert score([(one, one), (NOTHING, NOTHING), (one, NOTHING)]).objects[0].region.values == (1.0, 0.0)


def test_void_is_background() -> None:
    one = labels(0, (1,))
    void = np.where(one == 0, 255, one).astype(np.uint8)
    assert score([(one, void), (one, void)]).objects[0].jf == 1.0


def test_masks_of_0_and_255_have_no_object_and_the_cure_names_the_task_for_them() -> None:
    white = np.where(labels(0) > 0, 255, 0).astype(np.uint8)
    for prediction in (white, labels(0), NOTHING):
        with pytest.raises(DatasetError, match=r"clip: the true masks have no object but 255, .*the task foreground"):
            score([(prediction, white)] * 3)


def test_an_object_of_the_last_frame_alone_is_not_scored() -> None:
    assert score([(NOTHING, NOTHING), (NOTHING, labels(0, (1,)))]).objects == ()


def test_without_late_objects_it_is_the_semi_supervised_protocol_with_the_last_frame() -> None:
    rng = np.random.default_rng(0)
    pairs = [(np.where(rng.random(NOTHING.shape) < 0.1, 0, labels(k)).astype(np.uint8), labels(k)) for k in range(5)]
    other = SequenceScorer("semi-supervised")
    for prediction, truth in [*pairs, pairs[-1]]:
        other.feed(prediction, truth)
    assert score(pairs).objects[1].region == other.finish().objects[1].region
    assert score(pairs).objects[1].boundary == other.finish().objects[1].boundary


def test_surplus_ids_other_sizes_and_other_tasks_are_refused() -> None:
    with pytest.raises(DatasetError, match="object 2, the truth never has"):
        score([(labels(0), labels(0, (1,)))] * 2)
    with pytest.raises(
        DatasetError, match="object 255, the truth never has; for masks of 0 and 255 use the task foreg"
    ):
        score([(labels(0, (1,)) * 255, labels(0, (1,)))] * 2)
    with pytest.raises(DatasetError, match="64x48"):
        score([(labels(0), NOTHING[:4])])
    with pytest.raises(UsageError, match="no such task"):
        make_scorer("tracking")  # type: ignore[arg-type]
    assert isinstance(make_scorer("youtube-vos"), LateObjectScorer)


def test_stored_masks_are_scored_by_it_too(tmp_path: Path) -> None:
    youtube(tmp_path, split="train", full=True)
    write_mask(tmp_path / "train/Annotations/late/00000.png", NOTHING)
    write_mask(tmp_path / "train/Annotations/late/00005.png", labels(0))
    result = evaluate_folders(tmp_path / "train/Annotations", tmp_path / "train", "youtube-vos")
    assert [sequence.name for sequence in result.sequences] == ["003234408d"], "nothing can be scored in the other"
    assert (result.jf, len(result.objects)) == (1.0, 2)
