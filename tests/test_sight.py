"""What logits say, worked out one by one on a processor and all at once on a GPU: the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rvos_cli import sight
from rvos_cli.sight import LookOnGPU, Seen

GRID, SIZE = (64, 96), (90, 131)
IDS = (2, 5, 7)


def logits(planes: int) -> torch.Tensor:
    torch.manual_seed(0)
    return F.interpolate(torch.randn(1, planes, 6, 9), size=GRID, mode="bicubic")[0] * 6 - 2


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch):
    """Return what a GPU would, without one."""
    monkeypatch.setattr(LookOnGPU, "_fetched", lambda self, packed: packed.numpy())
    return LookOnGPU(torch.device("cpu"), lambda: None, graphs=False)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("searching", [0, 1])
def test_all_at_once_is_the_same_as_one_by_one(at_once, searching: int, threshold: float):
    planes = logits(len(IDS) + searching)
    one, other = Seen(planes, IDS, SIZE, threshold), at_once(planes, IDS, SIZE, threshold)
    assert type(other) is not Seen
    assert len(one.cells) == len(IDS) and any(0 < cells.mean() < 1 for cells in one.cells)
    assert np.array_equal(one.cells, other.cells)
    assert len(other.searched_cells) == searching and np.array_equal(one.searched_cells, other.searched_cells)
    box = slice(8, 48), slice(16, 88)
    assert np.array_equal(one.winners(*box), other.winners(*box))
    assert torch.equal(one.masks, other.masks)
    assert np.allclose(one.confidence, other.confidence, atol=0.5 / 255 + 1e-6)
    keys = torch.randn(1, 4, GRID[0] // 8, GRID[1] // 8)
    mine, theirs = one.references(keys), other.references(keys)
    assert torch.equal(mine.keys, theirs.keys) and torch.allclose(mine.masks, theirs.masks, atol=1e-6)
    assert set(np.unique(one.labels())) == {0, *IDS}
    assert (one.labels() != other.labels()).mean() < 0.001  # where interpolation rounds otherwise


def test_objects_win_where_they_are_highest():
    planes = torch.full((2, *GRID), -4.0)
    planes[0, :, :48], planes[1, :, 32:] = 3.0, 5.0
    first, second = Seen(planes, (1, 2), SIZE, 0.5).winners(slice(0, 64), slice(0, 96))
    assert first[:, :8].all() and not first[:, 8:].any()
    assert second[:, 8:].all() and not second[:, :8].any()


def test_confidence_is_the_mean_probability_where_an_object_is():
    planes = torch.full((3, *GRID), -4.0)
    planes[0, 8:24, 8:24], planes[0, 16:24, 8:24], planes[1, 40:48, 8:24] = 1.0, 3.0, 0.2
    first = (torch.tensor([1.0, 3.0]).sigmoid().sum() / 2).item()
    assert Seen(planes, IDS, SIZE, 0.5).confidence == pytest.approx([first, torch.tensor(0.2).sigmoid().item(), 0.0])
    assert Seen(planes, IDS, SIZE, 0.7).confidence == pytest.approx([first, 0.0, 0.0])
    assert Seen(planes[2:], (7,), SIZE, 0.5).confidence == [0.0]


def test_without_objects_there_is_nothing_to_look_at(at_once):
    seen = at_once(logits(1), (), SIZE, 0.5)
    assert list(seen.cells) == [] and len(seen.searched_cells) == 1 and seen.confidence == []
    assert seen.labels().shape == SIZE and not seen.labels().any()


def test_masks_that_were_given_count_and_labels_stay_the_networks():
    seen = Seen(logits(3), IDS, SIZE, 0.5)
    given = torch.zeros(3, *GRID)
    given[1, 8:24, 8:24] = 1
    corrected = seen.corrected(given)
    assert [int(cells.sum()) for cells in corrected.cells] == [0, 16, 0]
    assert torch.equal(corrected.masks, given)
    assert np.array_equal(corrected.labels(), seen.labels())


def test_the_bytes_are_labels_then_confidence_then_cells_then_winners():
    planes = logits(2)
    named = torch.tensor([3, 9], dtype=torch.uint8)
    _, small, packed = sight._all_at_once([planes, named], size=SIZE, least=math.log(1))
    assert packed.dtype == torch.uint8 and packed.numel() == SIZE[0] * SIZE[1] + 2 + 4 * (16 * 24)
    assert small.shape == (1, 2, 8, 12) and float(small.sum(dim=1).max()) <= 1 + 1e-6
