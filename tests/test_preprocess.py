"""Pixels in, pixels out: sizes, values and the way back."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rvos_cli.config import ModelConfig
from rvos_cli.postprocess import label_map
from rvos_cli.preprocess import (
    POINT_RADIUS,
    box_plane,
    frame_tensor,
    mask_tensor,
    network_size,
    network_size_of_part,
    point_plane,
)


@pytest.mark.parametrize(
    ("source", "short_side", "expected"),
    [
        ((480, 854), 256, (256, 448)),
        ((854, 480), 256, (448, 256)),
        ((480, 854), 480, (480, 864)),
        ((100, 100), 64, (64, 64)),
        ((10, 2000), 64, (32, 256)),
        ((24, 4000), 256, (32, 1024)),
        ((1000, 250), 256, (1024, 256)),
        ((1, 1), 256, (256, 256)),
    ],
)
def test_network_size_is_a_multiple_of_the_stride_near_the_source_shape(source, short_side, expected):
    assert network_size(source, short_side) == expected


def test_frame_is_normalised_by_the_configuration():
    image = np.full((64, 96, 3), 255, np.uint8)
    image[..., 1] = 0
    config = ModelConfig(mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 1.0))
    tensor = frame_tensor(image, (32, 64), config, torch.device("cpu"), torch.float32)
    assert tensor.shape == (1, 3, 32, 64)
    assert torch.allclose(tensor[0].mean(dim=(1, 2)), torch.tensor([1.0, -0.5, 1.0]))


def test_frame_is_resized_in_8_bits_to_within_a_level_of_the_exact_one():
    image = np.random.default_rng(0).integers(0, 256, (120, 214, 3), dtype=np.uint8)
    plain = ModelConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    tensor = frame_tensor(image, (64, 96), plain, torch.device("cpu"), torch.float32)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    exact = F.interpolate(pixels, size=(64, 96), mode="bilinear", align_corners=False, antialias=True)
    assert (tensor * 255 - exact).abs().max() <= 1.05
    assert (tensor * 255 - exact).abs().mean() < 0.5
    assert abs(float((tensor * 255 - exact).mean())) < 0.05  # no picture gets brighter or darker


def test_masks_survive_the_way_to_the_network_and_back():
    labels = np.zeros((120, 214), np.uint8)
    labels[20:70, 30:110] = 3
    labels[60:110, 120:200] = 7
    masks = mask_tensor(labels, (3, 7), (128, 224), torch.device("cpu"))
    back = label_map(torch.logit(masks[0].clamp(0.001, 0.999)), (3, 7), (120, 214), 0.5)
    assert back.dtype == np.uint8
    assert (back != labels).mean() < 0.01
    assert set(np.unique(back)) == {0, 3, 7}


def test_threshold_moves_the_border_between_object_and_background():
    logits = torch.linspace(-3, 3, 64).expand(1, 8, 64)
    areas = [int((label_map(logits, (1,), (8, 64), t) == 1).sum()) for t in (0.2, 0.5, 0.8)]
    assert areas[0] > areas[1] > areas[2] > 0


def test_no_objects_give_an_empty_label_map():
    assert label_map(torch.zeros(0, 8, 8), (), (5, 7), 0.5).shape == (5, 7)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [(48, 85), (135, 240), (20, 31), (32, 64)])
@pytest.mark.parametrize("objects", [1, 3])
def test_labels_are_those_of_all_logits_enlarged(objects: int, size: tuple[int, int], threshold: float):
    generator = torch.Generator().manual_seed(objects + size[0])
    coarse = torch.randn(1, objects, 4, 7, generator=generator) * 4 - 2
    logits = F.interpolate(coarse, size=(32, 64), mode="bilinear")[0]
    logits[:, :9] = logits[:, :, 50:] = -6.0  # nothing above, nor on the right
    ids = (4, 2, 9)[:objects]
    full = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    best, index = full.sigmoid().max(dim=0)
    expected = torch.where(best > threshold, torch.tensor(ids)[index], 0)
    assert objects == 1 or 0 < (expected > 0).float().mean() < 1
    assert np.array_equal(label_map(logits, ids, size, threshold), expected.numpy())


@pytest.mark.parametrize("corner", [(0, 0), (0, 15), (7, 0), (7, 15)])
def test_a_single_place_in_a_corner_is_seen(corner: tuple[int, int]):
    logits = torch.full((1, 8, 16), -1.0)
    logits[0, corner[0], corner[1]] = 3.0
    full = F.interpolate(logits[None], size=(60, 130), mode="bilinear", align_corners=False)[0, 0]
    assert np.array_equal(label_map(logits, (1,), (60, 130), 0.5) == 1, (full > 0).numpy())


def test_of_two_equal_objects_the_first_wins():
    assert (label_map(torch.ones(2, 4, 4), (5, 3), (8, 8), 0.5) == 5).all()


def test_nothing_of_64_bits_is_sent_to_a_device(monkeypatch):
    """Apple's GPUs refuse it."""
    sent, to = [], torch.Tensor.to

    def noting(self, *where, **rest):
        sent.append(self.dtype)
        return to(self, *where, **rest)

    monkeypatch.setattr(torch.Tensor, "to", noting)
    label_map(torch.full((2, 8, 8), 3.0), (1, 2), (16, 16), 0.5)
    assert torch.float32 in sent and torch.float64 not in sent


def test_a_part_of_a_picture_is_seen_with_the_same_number_of_pixels_in_its_own_shape():
    assert network_size_of_part((100, 100), 320) == (320, 320)
    assert network_size_of_part((50, 200), 320) == (160, 640)
    assert network_size_of_part((3000, 4), 320) == (640, 32)  # and no more, however long it is


def test_pixels_on_the_side_of_a_box_are_inside_in_part():
    plane = box_plane((12.5, 10, 16, 14), slice(10, 18), slice(10, 18), (4, 4), torch.device("cpu"))
    assert plane.shape == (1, 1, 4, 4)
    assert plane[0, 0].tolist() == [[0, 0.75, 1, 0], [0, 0.75, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert box_plane((0, 0, 9, 9), slice(0, 9), slice(0, 9), (5, 7), torch.device("cpu")).min() == 1


def test_a_point_is_a_disc_of_the_networks_pixels_wherever_the_part_is():
    cpu = torch.device("cpu")
    rows, columns = slice(100, 200), slice(300, 500)
    for size in ((64, 128), (128, 256)):
        plane = point_plane([(400, 150)], rows, columns, size, cpu)[0, 0]
        assert plane.shape == size
        y, x = torch.nonzero(plane, as_tuple=True)
        middle = (size[0] - 1) / 2, (size[1] - 1) / 2
        assert (float(y.float().mean()), float(x.float().mean())) == pytest.approx(middle)
        assert float(plane.sum()) == pytest.approx(np.pi * POINT_RADIUS**2, rel=0.03)
        assert float(plane.max()) == 1


def test_points_beside_a_part_are_seen_as_far_as_their_discs_reach_into_it():
    cpu, part = torch.device("cpu"), (slice(0, 64), slice(0, 64))
    assert not point_plane([(-20, 32)], *part, (64, 64), cpu).any()
    assert not point_plane([], *part, (64, 64), cpu).any()
    edge = point_plane([(64, 32)], *part, (64, 64), cpu)
    assert float(edge.sum()) == pytest.approx(np.pi * POINT_RADIUS**2 / 2, rel=0.1)
    two = point_plane([(20, 20), (44, 44)], *part, (64, 64), cpu)
    same = point_plane([(20, 20), (20, 20)], *part, (64, 64), cpu)
    assert float(two.sum()) == pytest.approx(2 * float(same.sum()))
