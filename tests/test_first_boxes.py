"""Boxes in the place of a first mask: ``track``, ``stream`` and ``outline``, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import save_random_weights
from squares import FRAMES, HEIGHT, WIDTH, square_labels, squares

import rvos_cli as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.masks import read_labels
from rvos_cli.segmenter import Segmenter

LEFT, RIGHT = (10, 20, 50, 60), (76, 50, 116, 90)


@pytest.fixture(scope="module")
def box_model(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A small network with random weights, which knows boxes."""
    path = tmp_path_factory.mktemp("weights") / "boxes.safetensors"
    config = ModelConfig(size=64, hidden_size=16, key_dim=16, boxes=True)
    return rvos.load_model(save_random_weights(path, config), device="cpu")


def ids_inside(labels: np.ndarray, box: tuple[int, int, int, int]) -> set[int]:
    left, top, right, bottom = box
    return set(np.unique(labels[top:bottom, left:right]).tolist()) - {0}


def test_objects_are_followed_from_boxes(box_model: Segmenter, clip: Path, tmp_path: Path):
    told: list[tuple[str, str]] = []
    summary = box_model.track(
        clip, first_boxes=[LEFT, RIGHT], output=tmp_path / "out", notice=lambda *line: told.append(line)
    )
    assert told[0] == ("found", "found 2 objects: ids 1, 2")
    assert (summary.mode, summary.frames) == ("track", FRAMES)
    first = read_labels(tmp_path / "out" / "masks" / "00000.png")
    assert (ids_inside(first, LEFT), ids_inside(first, RIGHT)) == ({1}, {2})
    assert not ids_inside(np.where(square_labels() > 0, 0, first), (0, 0, WIDTH, HEIGHT))
    assert sorted(path.name for path in (tmp_path / "out" / "objects").iterdir()) == ["01", "02"]


def test_the_first_frame_is_the_outline_and_the_rest_is_followed_from_it(box_model: Segmenter):
    frames = [squares(index) for index in range(FRAMES)]
    mask = box_model.outline(frames[0], {5: LEFT})
    assert set(np.unique(mask)) == {0, 5}
    from_box = list(box_model.stream(iter(frames), first_boxes={5: LEFT}))
    from_mask = list(box_model.stream(iter(frames), first_mask=mask))
    assert [frame.labels.tolist() for frame in from_box] == [frame.labels.tolist() for frame in from_mask]
    assert from_mask[0].confidence == {5: 1.0}
    assert 0 < from_box[0].confidence[5] < 1


def test_the_first_frame_of_a_file_is_outlined_too(box_model: Segmenter, frame_folder: Path):
    outlined = box_model.outline(frame_folder, [LEFT])
    assert (outlined == box_model.outline(squares(0), [LEFT])).all()


def test_boxes_and_masks_of_later_frames_go_together(box_model: Segmenter, tmp_path: Path):
    frames = [squares(index) for index in range(FRAMES)]
    later = np.where(square_labels(3) == 2, 2, 0).astype(np.uint8)
    found = list(box_model.stream(frames, first_boxes=[LEFT], masks={3: later}))
    assert ids_inside(found[3].labels, RIGHT) == {2}
    assert 2 not in found[2].labels
    whole = {3: square_labels(3)}
    summary = box_model.track(frames, first_boxes=[LEFT], frame_masks=whole, output=tmp_path / "out")
    assert [each.id for each in summary.objects] == [1, 2]
    assert (read_labels(tmp_path / "out" / "masks" / "00003.png") == square_labels(3)).all()


def test_colours_of_later_masks_get_other_ids(box_model: Segmenter):
    frames = [squares(index) for index in range(FRAMES)]
    coloured = np.where((square_labels(2) == 2)[..., None], (0, 200, 0), 0).astype(np.uint8)
    found = list(box_model.stream(frames, first_boxes=[LEFT, (0, 0, 9, 9)], masks={2: coloured}))
    assert ids_inside(found[2].labels, RIGHT) == {3}


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"first_boxes": []}, rvos.UsageError, "there is no box"),
        ({"first_boxes": [(5, 5, 5, 9)]}, rvos.UsageError, "holds nothing"),
        ({"first_boxes": [(500, 5, 600, 9)]}, rvos.MaskError, "lies outside of the frame, which is 128x96"),
        ({"first_boxes": [LEFT, LEFT]}, rvos.MaskError, "around the same thing"),
        ({"first_boxes": [LEFT], "first_mask": square_labels()}, rvos.UsageError, "both given"),
        (
            {"first_boxes": [LEFT], "frame_masks": {0: square_labels()}},
            rvos.MaskError,
            "there are boxes or points for it",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    box_model: Segmenter, clip: Path, tmp_path: Path, words: dict[str, object], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        box_model.track(clip, output=tmp_path / "out", **words)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(error, match=says):
        list(box_model.stream(clip, **words))  # type: ignore[arg-type]


def test_a_box_outside_is_refused_before_anything_is_told(box_model: Segmenter, clip: Path, tmp_path: Path):
    told: list[tuple[str, str]] = []
    with pytest.raises(rvos.MaskError, match="lies outside"):
        box_model.track(clip, first_boxes=[(500, 5, 600, 9)], output=tmp_path, notice=lambda *line: told.append(line))
    assert not told


def test_a_later_whole_mask_does_not_take_back_what_a_box_says(box_model: Segmenter, clip: Path, tmp_path: Path):
    only_right = np.where(square_labels(3) == 2, 2, 0).astype(np.uint8)
    summary = box_model.track(clip, first_boxes=[LEFT], frame_masks={3: only_right, 99: only_right}, output=tmp_path)
    first = read_labels(tmp_path / "masks" / "00000.png")
    assert (first == box_model.outline(clip, [LEFT])).all()
    assert any("object 2 is new and object 1 is gone" in line for line in summary.warnings)
    assert any("frame 99" in line for line in summary.warnings)


def test_results_from_boxes_are_not_taken_for_those_of_another_run(box_model: Segmenter, clip: Path, tmp_path: Path):
    assert box_model.track(clip, first_boxes=[LEFT], output=tmp_path / "out").digest == ""


def test_the_threshold_is_the_outlines_too(box_model: Segmenter):
    frames = [squares(index) for index in range(2)]
    mean = next(iter(box_model.stream(frames, first_boxes=[LEFT]))).confidence[1]
    areas = []
    for threshold in (0.1, mean):
        (first, *_) = box_model.stream(frames, first_boxes=[LEFT], threshold=threshold)
        assert (first.labels == box_model.outline(frames[0], [LEFT], threshold=threshold)).all()
        areas.append(np.count_nonzero(first.labels))
    assert areas[0] > areas[1]


def test_weights_without_a_box_decoder_say_so_before_anything_is_read(tiny_model: Segmenter, tmp_path: Path):
    for call in (tiny_model.track, tiny_model.stream):
        with pytest.raises(rvos.WeightsError, match="the weights 'tiny' know no boxes"):
            call(tmp_path / "nowhere.mp4", first_boxes=[LEFT])
    with pytest.raises(rvos.WeightsError, match="know no boxes"):
        tiny_model.outline(tmp_path / "nowhere.png", [LEFT])
    with pytest.raises(rvos.UsageError, match="neither a box nor a point"):
        tiny_model.outline(squares(0))


def test_an_outline_needs_a_picture(box_model: Segmenter, tmp_path: Path):
    with pytest.raises(rvos.InputError, match="nowhere"):
        box_model.outline(tmp_path / "nowhere.png", [LEFT])
    with pytest.raises(rvos.InputError, match="uint8"):
        box_model.outline(np.zeros((9, 9, 3)), [LEFT])
    with pytest.raises(rvos.UsageError, match="threshold"):
        box_model.outline(squares(0), [LEFT], threshold=2)
