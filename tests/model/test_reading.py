"""Reading masks by attention: which positions are read, and what stands at the others."""

import threading
import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rvos_cli.model.reading import REACH, BegunReading, _differences, read_fused, read_where_needed

HEIGHT, WIDTH = 30, 41
NOTHING = torch.zeros(1, 1, HEIGHT, WIDTH)


def reader(masks: Tensor, positions_read: list[int] | None = None) -> BegunReading:
    """Return what reads masks (B, N, h, w), and notes where."""

    def read(positions: Tensor) -> Tensor:
        if positions_read is not None:
            positions_read.extend(positions.tolist())
        return masks.flatten(2)[:, :, positions]

    return BegunReading(read, (HEIGHT, WIDTH))


def disc(row: float, column: float, radius: float) -> Tensor:
    """Return a disc with a soft edge, (1, 1, h, w)."""
    rows, columns = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
    return torch.sigmoid(radius - torch.hypot(rows - row, columns - column))[None, None]


def rectangle(top: int, left: int, height: int, width: int) -> Tensor:
    mask = NOTHING.clone()
    mask[..., top : top + height, left : left + width] = 1
    return mask


def test_every_position_reads_nearly_as_if_all_were_read_and_most_are_not():
    masks = torch.cat([disc(12, 11, 6), disc(20, 30, 3)], dim=1)
    positions: list[int] = []
    read = read_where_needed([reader(masks, positions), reader(masks.flip(1))], masks)
    assert read.shape == (1, 2, 2, HEIGHT, WIDTH)
    assert (read[:, 0] - masks).abs().max() < 0.03
    assert (read[:, 1] - masks.flip(1)).abs().max() < 0.03
    assert len(positions) == len(set(positions)) < 0.75 * HEIGHT * WIDTH


def test_an_empty_frame_is_read_at_a_quarter_of_its_positions():
    positions: list[int] = []
    assert read_where_needed([reader(NOTHING, positions)], NOTHING).max() == 0
    assert len(positions) == 15 * 21


@pytest.mark.parametrize("top", [7, 8])
@pytest.mark.parametrize("left", [23, 24])
def test_what_is_two_positions_wide_is_found_anywhere(top: int, left: int):
    mask = rectangle(top, left, 2, 2)
    assert torch.equal(read_where_needed([reader(mask)], NOTHING)[:, 0], mask)


@pytest.mark.parametrize("shape", [rectangle(5, 13, 20, 1), rectangle(13, 5, 1, 30)])
def test_a_line_between_the_first_positions_is_read_where_it_was_a_frame_ago(shape: Tensor):
    moved = shape.roll((2, 2), dims=(2, 3))
    assert torch.equal(read_where_needed([reader(moved)], shape)[:, 0], moved)
    assert read_where_needed([reader(shape)], NOTHING).max() == 0  # and this is why the frame before is asked


def test_outlines_of_one_clip_of_a_batch_are_read_in_all_of_them():
    masks = torch.cat([disc(10, 10, 5), disc(20, 30, 4)])
    read = read_where_needed([reader(masks)], torch.zeros(2, 1, HEIGHT, WIDTH))
    assert (read[:, 0] - masks).abs().max() < 0.03


def test_the_fused_reading_is_a_softmax():
    torch.manual_seed(0)
    q, k, values = torch.randn(2, 5, 9), torch.randn(2, 5, 12), torch.rand(2, 3, 12)
    plain = torch.einsum("blm,bnm->bnl", torch.einsum("bdl,bdm->blm", q, k).softmax(dim=-1), values)
    assert torch.allclose(read_fused(q, k, values), plain, atol=1e-5)
    assert read_fused(q[..., :0], k, values).shape == (2, 3, 0)


def test_differences_are_those_of_a_square_around_each_position():
    planes = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    highest, lowest = (F.max_pool2d(x, 2 * REACH + 1, 1, REACH) for x in (planes, -planes))
    assert torch.equal(_differences(planes), (highest + lowest).amax(dim=0))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_what_somebody_has_begun_is_not_read_twice(parts: int):
    masks = torch.cat([disc(12, 11, 6), disc(20, 30, 3)], dim=1)
    positions: list[int] = []
    begun = reader(masks, positions)
    assert all(begun.take() for _ in range(parts))
    first_round = 15 * 21  # in two parts
    assert (len(positions) < first_round, len(positions) > first_round) == (parts < 2, parts > 2)
    whole = read_where_needed([reader(masks)], masks)
    assert torch.equal(read_where_needed([begun], masks), whole)
    assert len(positions) == len(set(positions))


def test_several_threads_read_nothing_twice():
    masks = torch.cat([disc(12, 11, 6), disc(20, 30, 3)], dim=1)
    whole = read_where_needed([reader(masks)], masks)
    for _ in range(20):
        positions: list[int] = []

        def read(some: Tensor, positions: list[int] = positions) -> Tensor:
            time.sleep(0.001)
            positions.extend(some.tolist())
            return masks.flatten(2)[:, :, some]

        begun = BegunReading(read, (HEIGHT, WIDTH))
        others = [threading.Thread(target=_take_all, args=(begun,)) for _ in range(3)]
        for other in others:
            other.start()
        assert torch.equal(read_where_needed([begun], masks), whole)
        for other in others:
            other.join()
        assert len(positions) == len(set(positions))


def _take_all(begun: BegunReading) -> None:
    while begun.take():
        pass


def test_nobody_waits_to_take_a_part():
    begun = reader(disc(12, 11, 6))
    begun._first._left.pop()  # in somebody's hands, who never finishes
    assert begun.take()
    assert not begun.take()


def test_a_second_answer_does_not_know_of_the_first():
    begun = reader(disc(12, 11, 6))
    doubtful, everywhere = begun.doubtful, torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    once = begun.at(doubtful)
    begun.at(everywhere)
    assert torch.equal(begun.at(doubtful), once)
