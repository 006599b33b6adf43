"""J and F against a port of the definitions that goes pixel by pixel, and the summaries of a curve."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from rvos_cli.evaluation import Measure, boundary_f, compare, jaccard
from rvos_cli.evaluation.metrics import boundary_radius

Mask = NDArray[np.bool_]


def plain_boundary(mask: Mask) -> Mask:
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = []
            if x + 1 < width:
                neighbours.append(mask[y, x + 1])
            if y + 1 < height:
                neighbours.append(mask[y + 1, x])
            if x + 1 < width and y + 1 < height:
                neighbours.append(mask[y + 1, x + 1])
            boundary[y, x] = any(neighbour != mask[y, x] for neighbour in neighbours)
    return boundary


def plain_scores(prediction: Mask, truth: Mask, void: Mask) -> tuple[float, float]:
    prediction, truth = prediction & ~void, truth & ~void
    union = (prediction | truth).sum()
    region = (prediction & truth).sum() / union if union else 1.0
    radius = math.ceil(0.008 * math.hypot(*truth.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    first, second = plain_boundary(prediction), plain_boundary(truth)
    if not first.any() or not second.any():
        return region, float(first.any() == second.any())
    precision = (first & ndimage.binary_dilation(second, disk)).sum() / first.sum()
    recall = (second & ndimage.binary_dilation(first, disk)).sum() / second.sum()
    return region, (2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def blobs(random: np.random.Generator, height: int, width: int) -> Mask:
    field = ndimage.gaussian_filter(random.standard_normal((height, width)), random.integers(0, 9))
    return field > np.quantile(field, random.uniform(0, 1))


@pytest.mark.parametrize("seed", range(40))
def test_region_and_boundary_equal_the_definition_pixel_by_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 9, 2) if seed % 4 == 0 else random.integers(20, 190, 2)
    prediction, truth = blobs(random, height, width), blobs(random, height, width)
    void = blobs(random, height, width) if seed % 3 == 0 else np.zeros((height, width), bool)
    assert compare(prediction, truth, void) == pytest.approx(plain_scores(prediction, truth, void), abs=1e-12)


def test_small_objects_far_apart_are_scored_as_on_the_whole_image() -> None:
    prediction, truth = np.zeros((300, 500), bool), np.zeros((300, 500), bool)
    prediction[250:260, 400:430] = True
    truth[251:261, 402:431] = True
    prediction[0:4, 0:4] = truth[290:300, 490:500] = True
    void = np.zeros_like(truth)
    assert compare(prediction, truth) == pytest.approx(plain_scores(prediction, truth, void), abs=1e-12)


def test_empty_masks() -> None:
    empty, some = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    some[5:9, 5:9] = True
    assert compare(empty, empty) == (1.0, 1.0)
    assert compare(empty, some) == (0.0, 0.0)
    assert compare(some, empty) == (0.0, 0.0)
    assert compare(some, some) == (1.0, 1.0)


def test_a_mask_that_fills_the_image_has_no_boundary() -> None:
    full = np.ones((30, 40), bool)
    assert compare(full, full) == (1.0, 1.0)
    assert boundary_f(full, np.zeros_like(full)) == 1.0
    assert jaccard(full, np.zeros_like(full)) == 0.0


def test_void_pixels_count_for_nothing() -> None:
    truth, void = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    void[:, 20:] = True
    spill = truth.copy()
    spill[10:20, 20:35] = True
    assert compare(spill, truth)[0] < 0.5
    assert compare(spill, truth, void) == (1.0, 1.0)


def test_the_radius_of_480p_is_eight_pixels() -> None:
    assert boundary_radius(480, 854) == 8


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes"):
        jaccard(np.zeros((3, 4), bool), np.zeros((4, 3), bool))


def test_mean_recall_and_decay_of_a_curve() -> None:
    curve = Measure((1.0, 0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1))
    assert curve.mean == pytest.approx(0.525)
    assert curve.recall == pytest.approx(3 / 8)
    # Quarters with inclusive ends: ids 0, 2, 4, 5, 7.
    assert curve.decay == pytest.approx((1.0 + 0.9 + 0.8) / 3 - (0.3 + 0.2 + 0.1) / 3)


def test_a_constant_curve_has_no_decay_even_with_one_frame() -> None:
    assert Measure((0.7,)).decay == 0.0


def test_decay_is_right_for_more_than_256_frames() -> None:
    values = tuple(np.linspace(1, 0, 1001).tolist())
    assert Measure(values).decay == pytest.approx(0.75, abs=1e-9)
