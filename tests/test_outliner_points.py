"""From points to masks: with a network that knows colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from reddish import CONFIG, LEFT, Reddish, bright, iou, outliner
from squares import HEIGHT, LEFT_COLOUR, WIDTH, square_labels, squares
from torch import Tensor

import rvos_cli as rvos
from rvos_cli.outliner import _mean, _Outline, _sureness
from rvos_cli.prompts import Prompt


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


def test_what_stands_near_an_object_but_apart_is_none_of_it():
    image = bright()
    image[36:44, 63:66] = LEFT_COLOUR  # still in what is looked at closely
    found = outliner(AtPoints()).outline(image, {1: at(IN_LEFT)}, 0.5)
    assert iou(found.labels == 1, square_labels() == 1) > 0.9
    assert not found.labels[:, 58:].any()


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
