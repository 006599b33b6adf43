"""Points in the place of a first mask: ``track``, ``stream`` and ``outline``, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import save_random_weights
from squares import FRAMES, square_labels, squares

import rvos_cli as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.masks import read_labels
from rvos_cli.segmenter import Segmenter

BOX, IN_LEFT, IN_RIGHT = (10, 20, 50, 60), (30, 40), (96, 70)


@pytest.fixture(scope="module")
def point_model(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A small network with random weights, which knows points."""
    path = tmp_path_factory.mktemp("weights") / "points.safetensors"
    config = ModelConfig(size=64, hidden_size=16, key_dim=16, boxes=True, points=True)
    return rvos.load_model(save_random_weights(path, config), device="cpu")


def test_the_first_frame_is_the_outline_and_the_rest_is_followed_from_it(point_model: Segmenter):
    frames = [squares(index) for index in range(FRAMES)]
    mask = point_model.outline(frames[0], points={5: IN_LEFT})
    assert set(np.unique(mask)) <= {0, 5}
    assert mask.any()
    from_point = list(point_model.stream(iter(frames), first_points={5: IN_LEFT}))
    from_mask = list(point_model.stream(iter(frames), first_mask=mask))
    assert [frame.labels.tolist() for frame in from_point] == [frame.labels.tolist() for frame in from_mask]
    assert 0 < from_point[0].confidence[5] < 1


def test_track_writes_the_masks_of_objects_at_points(point_model: Segmenter, clip: Path, tmp_path: Path):
    summary = point_model.track(clip, first_points=[IN_LEFT], output=tmp_path / "out")
    assert (summary.mode, summary.frames, summary.digest) == ("track", FRAMES, "")
    first = read_labels(tmp_path / "out" / "masks" / "00000.png")
    assert (first == point_model.outline(clip, points=[IN_LEFT])).all()


def test_points_change_what_is_outlined(point_model: Segmenter):
    told = [
        {"first_points": [IN_LEFT]},
        {"first_points": [[IN_LEFT, (45, 55)]]},
        {"first_points": {1: IN_LEFT, 0: (70, 40)}},
        {"first_boxes": [BOX]},
        {"first_boxes": [BOX], "first_points": [IN_LEFT]},
        {"first_boxes": [BOX], "first_points": {0: IN_LEFT}},
    ]
    firsts = [next(point_model.stream([squares(0)], **each)) for each in told]  # type: ignore[arg-type]
    assert len({frame.confidence[1] for frame in firsts}) == len(told)


def test_points_and_masks_of_later_frames_go_together(point_model: Segmenter):
    frames = [squares(index) for index in range(FRAMES)]
    later = np.where(square_labels(3) == 2, 2, 0).astype(np.uint8)
    found = list(point_model.stream(frames, first_points=[IN_LEFT], masks={3: later}))
    assert 2 in found[3].labels
    assert 2 not in found[2].labels


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"first_points": []}, rvos.UsageError, "there is no point on an object"),
        ({"first_points": {0: [(5, 5)]}}, rvos.UsageError, "there is no point on an object"),
        ({"first_points": (5, 5)}, rvos.UsageError, "5 is no point"),
        ({"first_points": [(500, 5)]}, rvos.MaskError, "lies outside of the frame, which is 128x96"),
        ({"first_boxes": [BOX], "first_points": {0: [(500, 5)]}}, rvos.MaskError, "lies outside of the frame"),
        ({"first_points": [IN_LEFT, IN_LEFT]}, rvos.MaskError, "names hardly anything but"),
        ({"first_points": [IN_LEFT], "first_mask": square_labels()}, rvos.UsageError, "first_points= are both given"),
        ({"first_points": [IN_LEFT], "frame_masks": {0: square_labels()}}, rvos.MaskError, "boxes or points for it"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    point_model: Segmenter, clip: Path, tmp_path: Path, words: dict[str, object], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        point_model.track(clip, output=tmp_path / "out", **words)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(error, match=says):
        list(point_model.stream(clip, **words))  # type: ignore[arg-type]


def test_weights_that_know_boxes_alone_say_so_before_anything_is_read(tmp_path: Path):
    config = ModelConfig(size=64, hidden_size=16, key_dim=16, boxes=True)
    model = rvos.load_model(save_random_weights(tmp_path / "boxes.safetensors", config), device="cpu")
    for call in (model.track, model.stream):
        with pytest.raises(rvos.WeightsError, match="know no points"):
            call(tmp_path / "nowhere.mp4", first_points=[IN_LEFT])
    with pytest.raises(rvos.WeightsError, match="know no points"):
        model.outline(squares(0), [BOX], {0: IN_LEFT})
    assert model.outline(squares(0), [BOX]).any()


@pytest.mark.parametrize(("identity", "point"), [(1, (468, 233)), (2, (85, 143)), (3, (248, 62))])
def test_the_shipped_weights_outline_what_is_clicked_in_the_demo_clip(identity: int, point: tuple[int, int]):
    demo = Path(__file__).parent.parent / "examples" / "demo"
    truth = read_labels(demo / "first_mask.png")
    true = truth == truth[point[1], point[0]]
    found = rvos.load_model("lite", device="cpu").outline(demo / "demo.mp4", points={identity: point}) == identity
    assert (found & true).sum() / (found | true).sum() > 0.8


def test_only_weights_with_points_tell_of_them():
    assert "points" not in ModelConfig(boxes=True).to_json()
    config = ModelConfig(boxes=True, points=True)
    assert ModelConfig.from_json(config.to_json()) == config
