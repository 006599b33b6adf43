"""Learning to outline what points name: which points are shown, and in what part of the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from told_network import ROLLOUT, Told, clips, draws, loss, square

from rvos_cli.training.box_rollout import BoxRollout, _moved

POINTED = replace(ROLLOUT, pointed=1.0, boxed=0.0, everywhere=0.0, aside=0.0, sides=(128, 128))


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
    drawn = [rollout._around(AROUND, mask, draw, boxed=False) for draw in draws(count)]
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
