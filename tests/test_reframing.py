"""What was seen of one part of a frame, laid out as another part shows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvos_cli.picture_area import PictureArea, whole_area
from rvos_cli.reframing import Reframing

SIZE = (240, 400)


def area(top: int, bottom: int, left: int, right: int) -> PictureArea:
    return PictureArea(SIZE, slice(top, bottom), slice(left, right))


def places(part: PictureArea, height: int, width: int) -> torch.Tensor:
    """Return (1, 2, h, w): where in the frame each pixel lies that a network sees of a part, y and x."""
    (top, bottom), (left, right) = part.bounds
    y = top + (torch.arange(height) + 0.5) * (bottom - top) / height
    x = left + (torch.arange(width) + 0.5) * (right - left) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (area(40, 140, 100, 260), area(60, 160, 90, 250)),
        (area(40, 140, 100, 260), area(40, 120, 100, 228)),
        (whole_area(SIZE), area(60, 120, 100, 200)),
        (area(60, 120, 100, 200), whole_area(SIZE)),
    ],
)
def test_what_both_show_lies_at_its_place(before: PictureArea, after: PictureArea):
    moved = Reframing(before, after).planes(places(before, 48, 80))
    wanted = places(after, 48, 80)
    (top, bottom), (left, right) = before.bounds
    margins = (bottom - top) / 48, (right - left) / 80
    inside = (wanted[0, 0] > top + margins[0]) & (wanted[0, 0] < bottom - margins[0])
    inside &= (wanted[0, 1] > left + margins[1]) & (wanted[0, 1] < right - margins[1])
    outside = (wanted[0, 0] < top - margins[0]) | (wanted[0, 0] > bottom + margins[0])
    outside |= (wanted[0, 1] < left - margins[1]) | (wanted[0, 1] > right + margins[1])
    assert inside.any() and torch.allclose(moved[0][:, inside], wanted[0][:, inside], atol=1e-2)
    assert (moved[0][:, outside] == 0).all()


def test_the_same_part_leaves_everything_as_it_was():
    planes = torch.rand(2, 3, 24, 40)
    same = Reframing(area(40, 140, 100, 260), area(40, 140, 100, 260))
    assert torch.allclose(same.planes(planes), planes, atol=1e-5) and same.growth == 1
    assert same.planes(planes.to(torch.bfloat16)).dtype == torch.bfloat16


def test_keys_stay_as_long_as_they_were():
    keys = torch.nn.functional.normalize(torch.randn(1, 8, 24, 40), dim=1)
    moved = Reframing(area(40, 140, 100, 260), area(43, 137, 105, 255)).planes(keys, "nearest")
    lengths = moved.norm(dim=1)
    assert ((lengths - 1).abs().lt(1e-4) | lengths.eq(0)).all() and lengths.mean() > 0.9


def test_cells_grow_with_what_is_looked_at_closely():
    cells = np.zeros((60, 100), np.bool_)
    cells[20:28, 40:52] = True
    closer = Reframing(whole_area(SIZE), area(60, 180, 100, 300))
    moved = closer.cells(cells)
    assert closer.growth == pytest.approx(4)
    assert moved.sum() == pytest.approx(4 * cells.sum(), rel=0.25) and moved[10:26, 30:54].all()
    assert not Reframing(whole_area(SIZE), area(180, 240, 300, 400)).cells(cells).any()
