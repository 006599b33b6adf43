"""From boxes to masks: with a network that knows colours, and with the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from squares import HEIGHT, WIDTH, square_labels, squares
from torch import Tensor

import rvos_cli as rvos
from rvos_cli.boxes import Box
from rvos_cli.config import ModelConfig
from rvos_cli.outliner import Outliner, OutlineRules

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


def iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.mark.parametrize("contexts", [(1.0,), (1.5,), (1.2, 2.0, 50.0)])
def test_each_object_is_where_the_network_sees_it(contexts: tuple[float, ...]):
    outlines = outliner(Reddish(), contexts=contexts).outline(squares(0), {4: LEFT, 2: RIGHT}, 0.5)
    true = square_labels()
    for identity, label in ((4, 1), (2, 2)):
        assert iou(outlines.labels == identity, true == label) > 0.9
    assert set(np.unique(outlines.labels)) == {0, 2, 4}
    assert min(outlines.confidence.values()) > 0.95
    assert outlines.labels.dtype == np.uint8


def test_nothing_outside_of_the_box_is_the_object():
    outlines = outliner(Reddish()).outline(squares(0), {1: (10, 20, 30.4, 40.6)}, 0.5)
    rows, columns = np.nonzero(outlines.labels)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 40, 10, 29)


def test_the_network_sees_the_box_in_the_picture_and_in_its_mirror_image():
    network = Reddish()
    outliner(network, contexts=(2.0,)).outline(bright(), {1: LEFT}, 0.5)
    (pictures, boxes), *others = network.seen
    assert not others
    assert torch.equal(pictures[0].flip(-1), pictures[1])
    assert torch.equal(boxes[0].flip(-1), boxes[1])
    inside = boxes[0, 0] > 0.99
    red = pictures[0, 0] > 0.8
    assert iou(inside.numpy(), red.numpy()) > 0.95


def test_where_two_boxes_share_pixels_the_more_probable_object_has_them():
    class SurerOfTheSmaller(Reddish):
        def outline(self, pictures: Tensor, boxes: Tensor) -> list[Tensor]:
            self.sure = 9.0 if boxes.shape[-2] == boxes.shape[-1] else 1.0
            return super().outline(pictures, boxes)

    small, large = (10, 20, 30, 40), (0, 20, 60, 60)
    for boxes in ({1: small, 2: large}, {2: large, 1: small}):
        found = outliner(SurerOfTheSmaller(), contexts=(1.0,)).outline(squares(0), boxes, 0.5).labels
        assert (found[20:40, 10:30] == 1).all()
        assert (found[41:59, 11:49] == 2).all()


def test_what_is_left_with_nothing_is_refused():
    with pytest.raises(rvos.MaskError, match="nothing is left of the object in the box 10,20,50,60 beside the others"):
        outliner(Reddish()).outline(squares(0), {1: LEFT, 2: LEFT}, 0.5)


def test_where_nothing_is_probable_the_most_probable_counts():
    outlines = outliner(Reddish(sure=-4.0)).outline(squares(0), {1: (0, 10, 60, 70)}, 0.5)
    assert iou(outlines.labels == 1, square_labels() == 1) > 0.9
    assert outlines.confidence[1] < 0.05


@pytest.mark.parametrize(
    "box", [(10, 20, 11, 21), (-9, -9, WIDTH + 9, HEIGHT + 9), (0, 30, WIDTH, 31), (9.7, 0, 11.2, HEIGHT)]
)
def test_any_box_that_holds_a_pixel_is_looked_at(box: Box):
    assert outliner(Reddish()).outline(squares(0), {1: box}, 0.5).labels.any()


def test_a_dark_picture_is_looked_at_as_if_it_were_well_exposed():
    network = Reddish()
    for image in (bright(), bright() // 8):
        outliner(network).outline(image, {1: LEFT}, 0.5)
    usual, dark = (float(pictures.max()) for pictures, _ in network.seen[:: len(OutlineRules().contexts)])
    assert dark > 0.5 * usual
