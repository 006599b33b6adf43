"""``rvos track`` with boxes and points: what is followed, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import save_random_weights

from rvos_cli.config import ModelConfig
from rvos_cli.masks import read_labels


@pytest.fixture
def box_weights(tmp_path):
    config = ModelConfig(size=64, hidden_size=16, key_dim=16, boxes=True)
    return save_random_weights(tmp_path / "boxes.safetensors", config)


@pytest.fixture
def point_weights(tmp_path):
    config = ModelConfig(size=64, hidden_size=16, key_dim=16, boxes=True, points=True)
    return save_random_weights(tmp_path / "points.safetensors", config)


def test_track_follows_objects_from_boxes(rvos, clip, box_weights):
    boxes = ("--first-box", "10,20,50,60", "--first-box", "76, 50, 116, 90.5")
    done = rvos("track", clip, *boxes, "--weights", box_weights, "--device", "cpu", "-o", "out")
    assert done.code == 0
    assert done.out.splitlines()[0] == "found 2 objects: ids 1, 2"
    first = read_labels("out/masks/00000.png")
    assert np.unique(first[20:60, 10:50]).tolist() in ([0, 1], [1])
    assert np.unique(first[50:90, 76:116]).tolist() in ([0, 2], [2])


def test_weights_that_know_no_boxes_are_named(rvos, clip, tiny_weights):
    done = rvos("track", clip, "--first-box", "10,20,50,60", "--weights", tiny_weights, "--device", "cpu", "-q")
    assert (done.code, len(done.error_lines)) == (1, 1)
    assert "the weights 'tiny' know no boxes" in done.error_lines[0]


def test_track_follows_objects_from_points(rvos, clip, point_weights):
    points = ("--first-point", "96, 70,100,80.5", "--negative-point", "70,20,72,22", "--negative-point", "5,5")
    done = rvos("track", clip, *points, "--weights", point_weights, "--device", "cpu", "-o", "out")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "found 1 object: id 1"
    assert 1 in read_labels("out/masks/00000.png")


def test_boxes_and_points_in_the_same_order_are_of_the_same_objects(rvos, clip, point_weights):
    words = ("--first-box", "10,20,50,60", "--first-point", "30,40", "--weights", point_weights, "--device", "cpu")
    done = rvos("track", clip, *words, "-o", "out")
    assert done.out.splitlines()[0] == "found 1 object: id 1"
    assert not read_labels("out/masks/00000.png")[61:].any()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--first-box", "1,2,3"), 2, "'1,2,3' is not four numbers"),
        (("--first-box", "1,2,3,4,5"), 2, "'1,2,3,4,5' is not four numbers"),
        (("--first-box", "a,b,c,d"), 2, "four numbers"),
        (("--first-box", ""), 2, "four numbers"),
        (("--first-box", "9,9,5,12"), 2, "holds nothing"),
        (("--first-box", "500,1,600,9"), 1, "lies outside of the frame"),
        (("--first-box", "1,2,30,40", "--first-mask", "first.png"), 2, "both given"),
        (("--first-point", "1"), 2, "'1' is not two numbers"),
        (("--first-point", "1,2,3"), 2, "'1,2,3' is not two numbers"),
        (("--first-point", "a,b"), 2, "two numbers"),
        (("--first-point", ""), 2, "two numbers"),
        (("--first-point", "nan,2"), 2, "is no point"),
        (("--first-point", "500,1"), 1, "lies outside of the frame"),
        (("--first-point", "1,2", "--first-mask", "first.png"), 2, "--first-point are both given"),
        (("--negative-point", "1,2", "--first-mask", "first.png"), 2, "--negative-point are both given"),
        (("--negative-point", "1,2"), 2, "there is no mask"),
        (("--first-point", "30,40", "--first-point", "30,40"), 1, "names hardly anything but"),
    ],
)
def test_what_is_no_box_or_point_gets_one_line(rvos, clip, point_weights, words, code, says):
    done = rvos("track", clip, *words, "--weights", point_weights, "--device", "cpu", "-q")
    assert (done.code, done.out) == (code, "")
    assert len(done.error_lines) == 1
    assert says in done.error_lines[0]
    assert not Path("rvos-out/clip").exists()


def test_weights_that_know_no_points_are_named(rvos, clip, box_weights):
    done = rvos("track", clip, "--first-point", "30,40", "--weights", box_weights, "--device", "cpu", "-q")
    assert (done.code, len(done.error_lines)) == (1, 1)
    assert "know no points" in done.error_lines[0]
