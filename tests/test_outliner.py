"""From boxes to masks: with a network that knows colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reddish import LEFT, RIGHT, Reddish, bright, iou, outliner
from squares import HEIGHT, WIDTH, square_labels, squares
from torch import Tensor

import rvos_cli as rvos
from rvos_cli.boxes import Box
from rvos_cli.outliner import OutlineRules, Outlines, _Outline
from rvos_cli.prompts import Prompt


def told(boxes: Mapping[int, Box]) -> dict[int, Prompt]:
    return {identity: Prompt(box=box) for identity, box in boxes.items()}


@pytest.mark.parametrize("contexts", [(1.0,), (1.5,), (1.2, 2.0, 50.0)])
def test_each_object_is_where_the_network_sees_it(contexts: tuple[float, ...]):
    outlines = outliner(Reddish(), contexts=contexts).outline(squares(0), told({4: LEFT, 2: RIGHT}), 0.5)
    true = square_labels()
    for identity, label in ((4, 1), (2, 2)):
        assert iou(outlines.labels == identity, true == label) > 0.9
    assert set(np.unique(outlines.labels)) == {0, 2, 4}
    assert min(outlines.confidence.values()) > 0.95
    assert outlines.labels.dtype == np.uint8


def test_nothing_outside_of_the_box_is_the_object():
    outlines = outliner(Reddish()).outline(squares(0), told({1: (10, 20, 30.4, 40.6)}), 0.5)
    rows, columns = np.nonzero(outlines.labels)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 40, 10, 29)


def test_the_network_sees_the_box_in_the_picture_and_in_its_mirror_image():
    network = Reddish()
    outliner(network, contexts=(2.0,)).outline(bright(), told({1: LEFT}), 0.5)
    (pictures, boxes), *others = network.seen
    assert not others
    assert torch.equal(pictures[0].flip(-1), pictures[1])
    assert torch.equal(boxes[0].flip(-1), boxes[1])
    inside = boxes[0, 0] > 0.99
    red = pictures[0, 0] > 0.8
    assert iou(inside.numpy(), red.numpy()) > 0.95


def sureness(image: NDArray[np.uint8], by_row: Sequence[float], **rules: object) -> Outlines:
    """Outline the left square, of which each quarter from top to bottom is so probable."""

    class ByRow(Reddish):
        def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
            (_, answer) = super().outline(pictures, boxes)
            rows = torch.tensor(by_row).logit().repeat_interleave(answer.shape[-2] // len(by_row))
            return [answer, torch.where(answer > 0, rows[:, None], answer)]

    return outliner(ByRow(), contexts=(1.0,), **rules).outline(image, told({1: LEFT}), 0.7)


def test_a_pixel_is_the_objects_above_the_threshold():
    labels = sureness(squares(0), [0.95, 0.8, 0.6, 0.4]).labels
    assert np.flatnonzero(labels.any(axis=1)).tolist() == pytest.approx(list(range(20, 40)), abs=1)


def test_where_nothing_is_so_probable_half_of_the_highest_probability_counts():
    outlines = sureness(squares(0), [0.05, 0.6, 0.4, 0.2])
    assert np.flatnonzero(outlines.labels.any(axis=1)).tolist() == pytest.approx(list(range(30, 50)), abs=1)
    assert outlines.confidence[1] == pytest.approx(0.5, abs=0.03)  # the mean of 0.6 and 0.4


def test_all_looks_and_mirror_images_count_alike():
    class Undecided(Reddish):
        def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
            (_, answer) = super().outline(pictures, boxes)
            answer[0] = torch.tensor([0.9, 0.5][len(self.seen) - 1]).logit()
            answer[1] = torch.tensor([0.7, 0.3][len(self.seen) - 1]).logit()
            return [answer]

    outlines = outliner(Undecided(), contexts=(1.2, 2.0)).outline(squares(0), told({1: LEFT}), 0.5)
    assert outlines.confidence[1] == pytest.approx(0.6, abs=1e-3)


class SureOfBoxes(Reddish):
    """All in a box is the object, as sure as its width says; boxes are told by it."""

    def __init__(self, **by_width: float) -> None:
        super().__init__()
        self.by_width = {int(width.removeprefix("w")): sure for width, sure in by_width.items()}

    def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
        height, width = boxes.shape[-2:]
        shapes = {w: abs(width / height - w / 40) for w in self.by_width}
        sure = self.by_width[min(shapes, key=lambda w: shapes[w])]
        return [torch.where(boxes > 0.5, sure, -9.0)]


def of_boxes(network: Reddish, boxes: dict[int, Box]) -> NDArray[np.uint8]:
    return outliner(network, contexts=(1.0,)).outline(squares(0), told(boxes), 0.5).labels


@pytest.mark.parametrize("first", [1, 2])
def test_what_two_objects_claim_has_the_more_probable_one(first: int):
    boxes: dict[int, Box] = {1: (10, 20, 50, 60), 2: (35, 20, 65, 60)}
    boxes = {one: boxes[one] for one in (first, 3 - first)}
    for surer, sure in ((1, {"w40": 5.0, "w30": 1.0}), (2, {"w40": 1.0, "w30": 5.0})):
        labels = of_boxes(SureOfBoxes(**sure), boxes)
        assert (labels[20:60, 35:50] == surer).all()
        assert (labels[20:60, 10:35] == 1).all() and (labels[20:60, 50:65] == 2).all()


@pytest.mark.parametrize("first", [1, 2])
def test_what_lies_within_another_object_is_before_it(first: int):
    boxes: dict[int, Box] = {1: (0, 20, 80, 60), 2: (30, 20, 50, 60)}
    labels = of_boxes(SureOfBoxes(w80=5.0, w20=1.0), {one: boxes[one] for one in (first, 3 - first)})
    assert (labels[20:60, 30:50] == 2).all()
    assert (labels[20:60, :30] == 1).all() and (labels[20:60, 50:80] == 1).all()


@pytest.mark.parametrize("other", [LEFT, (11, 20, 51, 61), (10, 20, 50, 58)])
def test_two_boxes_around_the_same_thing_are_refused(other: Box):
    with pytest.raises(
        rvos.MaskError, match=r"the box 10,20,50,60 .* are around the same thing; give one box for each object"
    ):
        outliner(Reddish()).outline(squares(0), told({1: LEFT, 2: other}), 0.5)


def shared_out(*outlines: tuple[int, int, float], order: Sequence[int] = ()) -> NDArray[np.uint8]:
    """Share out outlines that lie side by side in 20 rows: of columns from, to, and so probable."""
    found = {
        one: _Outline(
            (slice(20, 40), slice(left, right)),
            np.full((20, right - left), probable, np.float32),
            np.full((20, right - left), True),
        )
        for one, (left, right, probable) in enumerate(outlines, start=1)
    }
    boxes = {one: (each.place[1].start, 20, each.place[1].stop, 40) for one, each in found.items()}
    named = {one: found[one] for one in order or found}
    return outliner(Reddish())._shared_out(named, told(boxes), (HEIGHT, WIDTH))[30]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_what_overlaps_two_others_lies_within_neither(order: tuple[int, ...]):
    labels = shared_out((0, 40, 0.95), (20, 66, 0.6), (46, 86, 0.95), order=order)
    assert labels[:86].tolist() == [1] * 40 + [2] * 6 + [3] * 40


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_what_lies_within_one_is_not_before_another_beside_it(order: tuple[int, ...]):
    labels = shared_out((0, 60, 0.95), (40, 60, 0.55), (55, 100, 0.97), order=order)
    assert (labels[40:55] == 2).all() and (labels[60:100] == 3).all()
    assert 2 not in labels[55:60]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_a_third_object_does_not_hide_that_two_are_the_same(order: tuple[int, ...]):
    with pytest.raises(rvos.MaskError, match="0,20,50,40 and the box 0,20,45,40 are around the same thing"):
        shared_out((0, 50, 0.9), (0, 45, 0.9), (20, 68, 0.95), order=order)


def test_a_group_of_which_all_members_are_given_is_refused():
    with pytest.raises(rvos.MaskError, match="the box 0,20,80,40 names hardly anything but what others name"):
        shared_out((0, 80, 0.9), (0, 40, 0.9), (40, 80, 0.9))


def test_confidence_is_that_of_the_pixels_that_are_left():
    boxes: dict[int, Box] = {1: (0, 20, 80, 60), 2: (30, 20, 50, 60)}
    found = outliner(SureOfBoxes(w80=5.0, w20=1.0), contexts=(1.0,)).outline(squares(0), told(boxes), 0.5)
    assert found.confidence == pytest.approx({1: 0.993, 2: 0.731}, abs=0.02)


def test_nothing_in_black_bars_is_the_object():
    image = np.zeros((HEIGHT + 60, WIDTH, 3), np.uint8)
    image[30:-30] = np.random.default_rng(0).integers(60, 255, (HEIGHT, WIDTH, 3))
    boxes: dict[int, Box] = {1: (20, 10, 60, 80), 2: (70, 2, 90, 20)}

    class All(Reddish):
        def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
            return [torch.full_like(boxes, 9.0)]

    labels = outliner(All()).outline(image, told(boxes), 0.5).labels
    assert np.argwhere(labels == 1).min(axis=0).tolist() == [30, 20]
    assert np.argwhere(labels == 2).max(axis=0).tolist() == [19, 89]  # somebody means it


def test_the_box_is_seen_in_what_is_around_it_at_the_same_number_of_pixels():
    network = Reddish()
    outliner(network).outline(bright(), told({1: LEFT}), 0.5)
    assert [tuple(boxes.shape[-2:]) for _, boxes in network.seen] == [(320, 320)] * 2
    shares = [float(boxes[0].mean()) for _, boxes in network.seen]
    assert shares == pytest.approx([1 / 1.3**2, 1 / 1.8**2], rel=0.15)


@pytest.mark.parametrize(
    "box", [(10, 20, 11, 21), (-9, -9, WIDTH + 9, HEIGHT + 9), (0, 30, WIDTH, 31), (9.7, 0, 11.2, HEIGHT)]
)
def test_any_box_that_holds_a_pixel_is_looked_at(box: Box):
    assert outliner(Reddish()).outline(squares(0), told({1: box}), 0.5).labels.any()


def test_a_dark_picture_is_looked_at_as_if_it_were_well_exposed():
    network = Reddish()
    for image in (bright(), bright() // 8):
        outliner(network).outline(image, told({1: LEFT}), 0.5)
    usual, dark = (float(pictures.max()) for pictures, _ in network.seen[:: len(OutlineRules().contexts)])
    assert dark > 0.5 * usual
