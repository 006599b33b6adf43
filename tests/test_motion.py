"""What moves against the camera: keys of two frames whose places are all unlike each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.continuity import Cells
from rvos_cli.motion import FEWEST, Motion, MotionRules, positions, scenery

SHORT, LONG, DEPTH = 24, 40, 32


def texture(seed: int, *, size: tuple[int, int] = (SHORT, LONG)) -> Tensor:
    """Return keys (D, h, w) of places whose neighbours are a little like them."""
    noise = torch.randn(1, DEPTH, *size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(F.avg_pool2d(noise, 3, stride=1, padding=1)[0], dim=0)


def box(rows: slice, columns: slice) -> Cells:
    cells = np.zeros((SHORT, LONG), np.bool_)
    cells[rows, columns] = True
    return cells


def panned(by: int) -> tuple[Tensor, Tensor]:
    """Return a frame and an earlier one, in which everything was *by* places farther to the right."""
    wide = texture(1, size=(SHORT, LONG + 20))
    return wide[:, :, 10 : 10 + LONG], wide[:, :, 10 - by : 10 - by + LONG]


THING = box(slice(8, 16), slice(16, 24))


def test_cells_and_what_is_near_them_are_no_scenery():
    cells = np.zeros((2 * SHORT, 2 * LONG), np.bool_)
    cells[21, 31] = True  # a quarter of a place
    assert np.argwhere(positions(cells)).tolist() == [[10, 15]]
    other = np.zeros_like(cells)
    other[0, 0] = True
    away = scenery([cells, other])
    assert np.array_equal(~away, box(slice(8, 13), slice(13, 18)) | box(slice(0, 3), slice(0, 3)))


def asked(keys: Tensor, other: Tensor, thing: Cells = THING, scenery: Cells | None = None) -> float | None:
    return Motion(keys, other, ~thing if scenery is None else scenery, MotionRules()).of(thing)


def moved(keys: Tensor, earlier: Tensor, thing: Cells = THING) -> float:
    far = asked(keys, earlier, thing)
    assert far is not None
    return far


@pytest.mark.parametrize("by", [0, 3, -5])
def test_what_moves_with_the_scenery_has_not_moved(by: int):
    assert abs(moved(*panned(by))) < 0.003


@pytest.mark.parametrize("by", [0, 4])
def test_what_moves_otherwise_has_moved_by_the_difference(by: int):
    keys, earlier = panned(by)
    keys, earlier, itself = keys.clone(), earlier.clone(), texture(2)[:, :8, :8]
    keys[:, 8:16, 16:24] = itself
    earlier[:, 5:13, 16:24] = itself  # three places higher, wherever the scenery was
    assert moved(keys, earlier) == pytest.approx(np.hypot(3, by) / SHORT, abs=0.01)


@pytest.mark.parametrize("closer", [1.1, 0.9])
def test_a_camera_that_comes_closer_or_goes_moves_nothing(closer: float):
    whole = F.interpolate(texture(1, size=(SHORT // 3, LONG // 3))[None], size=(SHORT, LONG), mode="bicubic")[0]
    turn = torch.tensor([[[closer, 0, 0], [0, closer, 0]]])
    grid = F.affine_grid(turn, [1, 1, SHORT, LONG], align_corners=False)
    zoomed = F.grid_sample(whole[None], grid, align_corners=False, padding_mode="border")[0]
    aside = box(slice(3, 10), slice(4, 12))
    assert abs(moved(F.normalize(zoomed, dim=0), F.normalize(whole, dim=0), aside)) < 0.01


def test_of_what_was_outside_the_picture_nothing_is_told():
    keys, earlier = panned(8)
    edge = box(slice(8, 16), slice(34, 40))  # was to the right of it
    assert asked(keys, earlier, edge) is None


def test_what_was_not_there_has_moved():
    keys, earlier = panned(0)
    keys = keys.clone()
    keys[:, 8:16, 16:24] = texture(2)[:, :8, :8]
    assert moved(keys, earlier) > 0.05


def test_without_scenery_nothing_is_told():
    few = np.zeros((SHORT, LONG), np.bool_)
    few.flat[: FEWEST - 1] = True
    assert asked(*panned(0), scenery=few) is None
    assert Motion(*panned(0), few, MotionRules()).blur == np.inf


def test_where_the_scenery_has_no_common_motion_it_is_blurred():
    assert Motion(*panned(4), ~THING, MotionRules()).blur < 0.003
    assert Motion(texture(1), texture(3), ~THING, MotionRules()).blur > 0.1


def test_places_are_told_in_32_bits_under_autocast():
    keys, earlier = panned(3)
    plain = moved(keys, earlier)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert moved(keys, earlier) == plain


@pytest.mark.parametrize("rows", [slice(0, 1), slice(SHORT - 1, SHORT)])
def test_at_the_edge_of_a_flat_picture_nothing_moves(rows: slice):
    flat = torch.full((DEPTH, SHORT, LONG), DEPTH**-0.5)
    assert abs(moved(flat, flat, box(rows, slice(0, LONG)))) < 0.001
