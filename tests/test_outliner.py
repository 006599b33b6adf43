"""From boxes and points to masks: with a network that knows colours, and with the shipped weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from squares import HEIGHT, WIDTH, square_labels, squares
from torch import Tensor

import rvos_cli as rvos
from rvos_cli.boxes import Box
from rvos_cli.config import ModelConfig
from rvos_cli.outliner import Outliner, OutlineRules, Outlines, _mean, _Outline, _sureness
from rvos_cli.prompts import Prompt

LEFT, RIGHT = (10, 20, 50, 60), (76, 50, 116, 90)
CONFIG = ModelConfig(boxes=True, mean=(0, 0, 0), std=(1, 1, 1))


class Reddish:
    """Stands in for a network: a pixel is the object's as far as it is not grey."""

    def __init__(self, sure: float = 9.0) -> None:
        self.config, self.sure = CONFIG, sure
        self.seen: list[tuple[Tensor, Tensor]] = []

    def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
        self.seen.append((pictures, boxes))
        coloured = (pictures.amax(dim=1) - pictures.amin(dim=1))[:, None] > 0.25
        answer = torch.where(coloured, self.sure, -9.0)
        return [torch.zeros_like(answer), answer]


def bright(index: int = 0) -> NDArray[np.uint8]:
    """Return a frame of the clip that is well exposed: it has all levels, in its lowest rows."""
    image = squares(index)
    image[92:] = np.linspace(0, 255, WIDTH)[None, :, None]
    return image


def outliner(network: Reddish, **rules: object) -> Outliner:
    return Outliner(network, torch.device("cpu"), torch.float32, OutlineRules(**rules))  # type: ignore[arg-type]


def told(boxes: Mapping[int, Box]) -> dict[int, Prompt]:
    return {identity: Prompt(box=box) for identity, box in boxes.items()}


def iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float((found & true).sum() / (found | true).sum())


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


class AtPoints(Reddish):
    """Stands in for a network that is told of points, and keeps them."""

    def __init__(self, sure: float = 9.0) -> None:
        super().__init__(sure)
        self.config, self.told = replace(CONFIG, points=True), list[Tensor]()

    def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
        assert points is not None
        answers = super().outline(pictures, boxes)
        self.told.append(points)
        return answers


IN_LEFT, IN_RIGHT = (30.0, 40.0), (96.0, 70.0)


def at(*points: tuple[float, float], beside: Sequence[tuple[float, float]] = ()) -> Prompt:
    return Prompt(on=points, beside=tuple(beside))


def test_an_object_is_the_piece_that_a_point_is_on():
    found = outliner(AtPoints()).outline(squares(0), {4: at(IN_LEFT), 2: at(IN_RIGHT)}, 0.5)
    true = square_labels()
    for identity, label in ((4, 1), (2, 2)):
        assert iou(found.labels == identity, true == label) > 0.9
    assert min(found.confidence.values()) > 0.95
    both = outliner(AtPoints()).outline(squares(0), {1: at(IN_LEFT, IN_RIGHT)}, 0.5)
    assert iou(both.labels == 1, true > 0) > 0.9


def test_the_network_sees_where_points_are_in_the_picture_and_in_its_mirror_image():
    network = AtPoints()
    outliner(network, scales=(1.0,)).outline(bright(), {1: at(IN_LEFT, beside=[IN_RIGHT])}, 0.5)
    pictures, points = network.seen[0][0], network.told[0]
    assert torch.equal(pictures[0].flip(-1), pictures[1])
    assert torch.equal(points[0].flip(-1), points[1])
    for plane, (x, y) in zip(points[0], (IN_LEFT, IN_RIGHT), strict=True):
        middle = np.argwhere(plane.numpy() > 0.5).mean(axis=0) / plane.shape
        assert middle == pytest.approx((y / HEIGHT, x / WIDTH), abs=0.02)
    assert bool((network.seen[0][1] == 1).all())  # a box is not told


def test_a_box_is_told_of_its_points_too():
    network = AtPoints()
    outliner(network, contexts=(1.3,)).outline(bright(), {1: Prompt(box=LEFT, on=(IN_LEFT,), beside=(IN_RIGHT,))}, 0.5)
    (_, boxes), (points,) = network.seen[0], network.told
    assert 0.4 < float(boxes.mean()) < 0.8
    assert bool(points[0, 0].any())
    assert not points[0, 1].any()  # that one is not in what is looked at


@pytest.mark.parametrize(("first", "second"), [(1.0, 3.0), (3.0, 1.0)])
def test_the_surest_of_all_outlines_counts(first: float, second: float):
    class InTurn(AtPoints):
        def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
            self.sure = [9.0, 9.0, first, second][len(self.told)]
            answers = super().outline(pictures, boxes, points)
            if len(self.told) == 1:  # another box than the second look tells
                answers[-1][..., answers[-1].shape[-2] // 2 :, :] = -9.0
            return answers

    network = InTurn()
    found = outliner(network, scales=(0.5, 1.0), contexts=(1.5,)).outline(squares(0), {1: at(IN_LEFT)}, 0.5)
    assert len(network.told) == 4  # a box from each scale, and the outline around each
    assert all(bool((boxes == 1).all()) for _, boxes in network.seen)  # nobody has told any
    assert found.confidence[1] == pytest.approx(float(torch.tensor(3.0).sigmoid()), abs=0.03)


def test_a_part_that_does_not_hold_all_of_the_object_tells_no_box():
    network = AtPoints()
    found = outliner(network, scales=(0.25, 1.0), contexts=(1.5,)).outline(squares(0), {1: at(IN_LEFT)}, 0.5)
    assert len(network.told) == 3
    assert iou(found.labels == 1, square_labels() == 1) > 0.9


def test_points_alone_are_looked_for_between_black_bars_unless_one_is_in_them():
    image = np.zeros((HEIGHT + 60, WIDTH, 3), np.uint8)
    image[30:-30] = bright()
    for y, heights in ((70.0, HEIGHT), (20.0, HEIGHT + 60)):
        network = AtPoints()
        outliner(network, scales=(1.0,)).outline(image, {1: at((30.0, y))}, 0.5)
        h, w = network.seen[0][0].shape[-2:]
        assert h / w == pytest.approx(heights / WIDTH, rel=0.15)


@pytest.mark.parametrize("point", [(0, 0), (WIDTH, HEIGHT), (WIDTH, 0), (0.4, HEIGHT / 2), (75.5, 3.5)])
def test_something_is_outlined_at_any_point_of_the_frame(point: tuple[float, float]):
    assert outliner(AtPoints()).outline(squares(0), {1: at(point)}, 0.5).labels.any()


def test_the_same_point_cannot_be_on_two_objects():
    with pytest.raises(rvos.MaskError, match="the point 30,40 names hardly anything but what others name"):
        outliner(AtPoints()).outline(squares(0), {1: at(IN_LEFT), 2: at(IN_LEFT)}, 0.5)


class LessBeside(AtPoints):
    """It sees all of what is coloured, and is less sure of what is nearer to points on others."""

    def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
        assert points is not None
        answer = super().outline(pictures, boxes, points)[-1]
        for own, told in zip(answer, points, strict=True):
            on, beside = (float(torch.nonzero(plane.any(dim=0)).float().mean()) for plane in told)
            across = torch.arange(own.shape[-1])
            nearer = (across - on).abs() < (across - beside).abs()
            own[0] = torch.where((own[0] > 0) & ~nearer, 1.0, own[0])
        return [answer]


def test_one_thing_with_points_of_two_objects_is_shared_out_by_probability():
    prompts = {1: at((20, 40), beside=[(40, 40)]), 2: at((40, 40), beside=[(20, 40)])}
    labels = outliner(LessBeside()).outline(squares(0), prompts, 0.5).labels
    assert labels[40, 12] == labels[40, 26] == 1
    assert labels[40, 48] == labels[40, 34] == 2
    boxed = {one: replace(each, box=LEFT) for one, each in prompts.items()}
    with pytest.raises(rvos.MaskError, match="are around the same thing"):
        outliner(LessBeside()).outline(squares(0), boxed, 0.5)


def test_boxes_that_several_parts_tell_are_looked_at_once():
    network = AtPoints()
    outliner(network, scales=(0.5, 1.0, 1.0), contexts=(1.5,)).outline(squares(0), {1: at(IN_LEFT)}, 0.5)
    assert len(network.told) <= 3 + 2


def test_how_sure_an_outline_is_says_the_mean_of_what_is_over_the_threshold():
    place = slice(0, 1), slice(0, 4)
    probable = np.array([[0.2, 0.6, 0.9, 0.1]], np.float32)
    assert _sureness(_Outline(place, probable, probable > 0.5)) == pytest.approx(0.75)
    assert _sureness(_Outline(place, probable, probable > 1)) == -1


def test_a_pixel_is_judged_by_the_parts_that_show_it():
    place = slice(10, 12), slice(20, 24)
    looks = [
        ((slice(0, 30), slice(0, 30)), np.full((30, 30), 0.2, np.float32)),
        ((slice(11, 12), slice(22, 40)), np.full((1, 18), 0.8, np.float32)),
        ((slice(50, 60), slice(0, 5)), np.ones((10, 5), np.float32)),
        ((slice(0, 5), slice(40, 60)), np.ones((5, 20), np.float32)),
    ]
    assert _mean(looks, place) == pytest.approx(np.array([[0.2] * 4, [0.2, 0.2, 0.5, 0.5]]))


def test_what_is_around_the_box_that_a_part_tells_may_be_the_objects_too():
    class All(AtPoints):
        def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
            answers = super().outline(pictures, boxes, points)
            return answers if len(self.told) == 1 else [torch.full_like(boxes, 9.0)]

    for contexts, side in (((1.0, 2.0), 80), ((1.5,), 60)):
        found = outliner(All(), scales=(1.0,), contexts=contexts).outline(squares(0), {1: at(IN_LEFT)}, 0.5)
        rows, columns = (np.flatnonzero(found.labels.any(axis=axis)) for axis in (1, 0))
        assert len(rows) == pytest.approx(min(side, 60 + side // 2 - 20), abs=2)
        assert columns.max() == pytest.approx(30 + side / 2, abs=2)


def test_an_object_at_a_point_does_not_reach_into_black_bars():
    image = np.zeros((HEIGHT + 60, WIDTH, 3), np.uint8)
    image[30:-30] = bright()

    class All(AtPoints):
        def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
            return [torch.full_like(boxes, 9.0)]

    labels = outliner(All()).outline(image, {1: at((30, 70))}, 0.5).labels
    assert labels[30:-30].all()
    assert not labels[:30].any()
    assert not labels[-30:].any()


def test_a_small_part_is_not_told_by_single_places_of_the_answer():
    class Speck(AtPoints):
        def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
            answer = torch.full_like(boxes, -9.0)
            answer[..., ::27, ::27] = 30.0
            super().outline(pictures, boxes, points)
            return [answer]

    found = outliner(Speck(), scales=(0.125, 1.0)).outline(squares(0), {1: at(IN_LEFT)}, 0.5)
    assert found.confidence[1] < 0.1


def test_of_nothing_at_all_no_mask_and_no_sureness_is_made():
    class Nothing(AtPoints):
        def outline(self, pictures: Tensor, boxes: Tensor, points: Tensor | None = None) -> list[Tensor]:
            return [torch.full_like(boxes, -torch.inf)]

    found = outliner(Nothing()).outline(squares(0), {1: at(IN_LEFT), 2: at(IN_RIGHT)}, 0.5)
    assert not found.labels.any()
    assert found.confidence == {1: 0.0, 2: 0.0}
