"""Points that are drawn for training: on the object, beside it, away from rims."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rvos_cli.training.point_draws import Point, PointDraws

ALWAYS = PointDraws(on=(0.0, 1.0), beside=(0.0, 0.0, 1.0))


def two() -> torch.Tensor:
    """Return labels (64, 96) of two squares, with a column that nobody knows."""
    labels = torch.zeros(64, 96, dtype=torch.uint8)
    labels[10:40, 10:40] = 1
    labels[10:40, 50:80] = 2
    labels[:, 90:] = 255
    return labels


def drawn(draws: PointDraws, labels: torch.Tensor, count: int = 200) -> list[tuple[list[Point], list[Point]]]:
    return [draws.draw(labels, 1, torch.Generator().manual_seed(seed)) for seed in range(count)]


def label_at(labels: torch.Tensor, point: Point) -> int:
    assert all(place % 1 == 0.5 for place in point)
    return int(labels[int(point[1]), int(point[0])])


def test_points_are_on_the_object_and_on_others_or_the_ground():
    labels = two()
    pairs = drawn(ALWAYS, labels)
    assert {label_at(labels, point) for on, _ in pairs for point in on} == {1}
    beside = [label_at(labels, point) for _, some in pairs for point in some]
    assert set(beside) == {0, 2}
    assert 0.5 < beside.count(2) / len(beside) < 0.75  # in half of the clips on another one, or else anywhere


def test_there_are_as_many_as_are_asked_for():
    pairs = drawn(replace(ALWAYS, on=(0.5, 0.0, 0.5), beside=(0.5, 0.5)), two())
    assert {len(on) for on, _ in pairs} == {1, 3}
    assert {len(beside) for _, beside in pairs} == {0, 1}


def test_points_keep_away_from_the_rim_where_there_is_room():
    for on, _ in drawn(replace(ALWAYS, rim=5), two()):
        assert all(15 <= x <= 35 and 15 <= y <= 35 for x, y in on)
    narrow = torch.zeros(64, 96, dtype=torch.uint8)
    narrow[30:32, 10:80] = 1
    assert {label_at(narrow, point) for on, _ in drawn(ALWAYS, narrow) for point in on} == {1}


@pytest.mark.parametrize("rest", [1, 255])
def test_where_nothing_is_beside_the_object_no_point_is(rest: int):
    labels = torch.full((20, 20), rest, dtype=torch.uint8)
    labels[5:15, 5:15] = 1
    assert all(not beside for _, beside in drawn(ALWAYS, labels, 10))
