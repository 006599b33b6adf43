"""Learning to outline what points name: which points are shown, and in what part of the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from told_network import ROLLOUT, Told, clips, draws, loss, square

from rvos_cli.extents import Place
from rvos_cli.prompts import Prompt
from rvos_cli.training.box_rollout import BoxRollout, _moved
from rvos_cli.training.point_draws import PointDraws

POINTED = replace(ROLLOUT, pointed=1.0, boxed=0.0, close=0.0, everywhere=0.0, aside=0.0, sides=(128, 128))


def shown(rollout: BoxRollout, labels: torch.Tensor, count: int = 40) -> Told:
    """Show the same clip so often, with other draws."""
    frames, stacked = clips(*[labels] * count)
    frames[:, 0, 0] = (stacked[:, 0] == 1).float()
    told = Told()
    loss(told, frames, stacked, rollout)
    assert len(told.seen) == count
    return told


def test_points_are_shown_where_the_object_is_and_where_it_is_not():
    labels = square()
    labels[20:40, 66:90] = 2
    told = shown(replace(POINTED, least=500), labels)  # so that it is always the first one
    for (picture, box), points in zip(told.seen, told.points, strict=True):
        assert points is not None
        assert points.shape == (1, 2, *picture.shape[2:])
        assert bool((box == 1).all())  # nobody knows where it ends
        assert float((points[0, 0] * picture[0, 0]).sum() / points[0, 0].sum()) > 0.8
        if points[0, 1].any():
            assert float((points[0, 1] * picture[0, 0]).sum() / points[0, 1].sum()) < 0.2
    assert 0.2 < np.mean([bool(points[0, 1].any()) for points in told.points if points is not None]) < 0.7


def test_where_points_alone_are_told_all_of_the_part_counts():
    frames, labels = clips(square())
    assert loss(Told(9.0, 9.0), frames, labels, POINTED) > 3  # most of the part is no object


def test_the_part_around_points_is_of_any_size_or_the_whole_frame():
    near = shown(replace(POINTED, distances=(1.3, 1.3)), square())
    far = shown(replace(POINTED, distances=(8.0, 8.0)), square())
    whole = shown(replace(POINTED, distances=(1.3, 1.3), everywhere=1.0), square())
    shares = [np.mean([float(picture[0, 0].mean()) for picture, _ in told.seen]) for told in (near, far, whole)]
    assert shares[0] > 0.5
    assert shares[1] == pytest.approx(shares[2], abs=0.02)
    assert shares[2] == pytest.approx(600 / (64 * 96), abs=0.02)
    drawn = shown(replace(POINTED, distances=(1.3, 8.0), aside=0.3), square(), 80)
    spread = [float(picture[0, 0].mean()) for picture, _ in drawn.seen]
    assert max(spread) > 0.4
    assert min(spread) < 0.15


FIELD = torch.zeros(600, 900, dtype=torch.bool)
FIELD[280:320, 430:470] = True
AROUND = (430.0, 280.0, 470.0, 320.0)


def parts(rollout: BoxRollout, mask: torch.Tensor = FIELD, count: int = 300) -> torch.Tensor:
    """Return first and last row and column of what is looked at where points alone are told."""
    drawn = [rollout._somewhere_around(AROUND, mask, draw) for draw in draws(count)]
    return torch.tensor([[rows.start, rows.stop, columns.start, columns.stop] for rows, columns in drawn]).float()


def test_small_parts_around_points_are_as_frequent_as_large_ones():
    heights = (lambda each: each[:, 1] - each[:, 0])(parts(POINTED)) / 40
    assert float(heights.min()) == pytest.approx(1.3, abs=0.1)
    assert float(heights.max()) == pytest.approx(8, rel=0.05)
    assert float(heights.median()) == pytest.approx((1.3 * 8) ** 0.5, rel=0.15)  # and not the mean of both


def test_the_object_need_not_be_in_the_middle_of_the_part():
    exact, aside = (parts(replace(POINTED, distances=(2.0, 2.0), aside=share)) for share in (0.0, 0.15))
    assert float(exact.std(dim=0).max()) == 0
    assert float(((aside[:, 0] + aside[:, 1]) / 2).std()) == pytest.approx(0.15 * 40 / 2**0.5, rel=0.3)


def test_all_of_the_frame_is_shown_where_the_part_has_nothing_of_the_object():
    elsewhere = torch.zeros_like(FIELD)
    elsewhere[:20] = True
    assert parts(replace(POINTED, distances=(2.0, 2.0)), elsewhere, 5).tolist() == [[0, 600, 0, 900]] * 5


def prompted(rollout: BoxRollout, count: int = 300) -> list[tuple[Place, Prompt]]:
    """Return what is looked at of the same clip with other draws, and what is told of it."""
    labels = FIELD.to(torch.uint8)
    labels[300:310, 100:120] = 2
    return [rollout._prompted(labels, 1, AROUND, draw) for draw in draws(count)]


def test_close_parts_have_their_point_in_the_middle_and_any_size():
    drawn = prompted(replace(POINTED, close=1.0, points=PointDraws(on=(1.0,))))
    for (rows, columns), prompt in drawn:
        ((x, y),) = prompt.on
        assert FIELD[int(y), int(x)]
        assert (rows.start + rows.stop) / 2 == pytest.approx(y, abs=1) or {rows.start, rows.stop} & {0, 600}
        assert (columns.start + columns.stop) / 2 == pytest.approx(x, abs=1) or {columns.start, columns.stop} & {0, 900}
    heights = torch.tensor([rows.stop - rows.start for (rows, _), _ in drawn]).float()
    assert float(heights.min()) == pytest.approx(75, rel=0.05)
    assert float(heights.max()) == pytest.approx(600, rel=0.05)
    assert float(heights.median()) == pytest.approx((75 * 600) ** 0.5, rel=0.15)
    within = [
        columns.start <= x < columns.stop and rows.start <= y < rows.stop
        for (rows, columns), prompt in drawn
        for x, y in prompt.beside
    ]
    assert within
    assert all(within)  # since others tell the network nothing


def test_close_parts_show_their_object_alone_where_it_is_larger():
    everywhere = torch.ones(64, 96, dtype=torch.uint8)
    told = shown(replace(POINTED, close=1.0), everywhere)
    assert all(bool((picture[0, 0] == 1).all()) for picture, _ in told.seen)


def test_points_are_where_they_are_in_the_frame():
    for (rows, columns), prompt in prompted(replace(POINTED, distances=(2.0, 2.0), boxed=0.3), 60):
        assert all(FIELD[int(y), int(x)] for x, y in prompt.on)
        assert all(rows.start <= y < rows.stop and not FIELD[int(y), int(x)] for x, y in prompt.beside)
        assert columns.start > 0


def test_points_beside_the_object_may_be_told_with_the_box_alone():
    drawn = prompted(replace(POINTED, boxed=1.0, beside=0.5))
    assert all(prompt.box == AROUND for _, prompt in drawn)
    assert np.mean([not prompt.on for _, prompt in drawn]) == pytest.approx(0.5, abs=0.1)
    around = [place for place, _ in prompted(replace(POINTED, boxed=1.0, close=1.0), 60)]
    assert all(rows.stop - rows.start < 100 for rows, _ in around)  # what is around the box, and not around a point
    without = prompted(replace(POINTED, boxed=0.0, beside=1.0))
    assert all(prompt.box is None and prompt.on for _, prompt in without)


def test_a_box_keeps_its_sides_in_order_however_they_move():
    for draw in draws(200):
        left, top, right, bottom = _moved(AROUND, FIELD, 3.0, draw)
        assert 0 <= left <= right <= 900
        assert 0 <= top <= bottom <= 600


def test_some_clips_tell_boxes_and_some_points_and_some_both():
    mixed = shown(replace(POINTED, pointed=0.6, boxed=0.3), square(), 200)
    kinds = [
        (bool(points is not None and points.any()), bool((box == 0).any()))
        for (_, box), points in zip(mixed.seen, mixed.points, strict=True)
    ]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert shares[True, False] == pytest.approx(0.42, abs=0.1)
    assert shares[True, True] == pytest.approx(0.18, abs=0.1)
    assert shares[False, True] == pytest.approx(0.4, abs=0.1)
