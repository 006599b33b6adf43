"""What the overlay paints, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from rvos_cli.errors import OutputError
from rvos_cli.overlay import blend, bright, contour_width, contours
from rvos_cli.png import DAVIS_PALETTE


def noise(height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square(height: int = 40, width: int = 50) -> np.ndarray:
    labels = np.zeros((height, width), np.uint8)
    labels[10:20, 10:20] = 1
    labels[10:20, 20:30] = 7
    return labels


def test_background_stays_as_it_is_and_the_input_is_not_changed() -> None:
    image, labels = noise(), square()
    before = image.copy()
    painted = blend(image, labels)
    assert np.array_equal(image, before)
    assert np.array_equal(painted[labels == 0], image[labels == 0])
    assert painted.dtype == np.uint8
    assert painted.flags.c_contiguous
    assert painted is not image


def test_a_frame_without_objects_is_an_equal_copy() -> None:
    image = noise()
    painted = blend(image, np.zeros((40, 50), np.uint8))
    assert np.array_equal(painted, image)
    assert not np.shares_memory(painted, image)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_filling_is_the_weighted_mean_of_picture_and_palette(alpha: float) -> None:
    image, labels = noise(), square()
    painted = blend(image, labels, alpha=alpha, contour=0)
    expected = image * (1 - alpha) + DAVIS_PALETTE[labels] * alpha
    inside = labels > 0
    assert np.abs(painted[inside] - expected[inside]).max() <= 1


@pytest.mark.parametrize("alpha", np.linspace(0, 1, 21))
def test_white_on_white_never_overflows(alpha: float) -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    palette = np.full((256, 3), 255, np.uint8)
    painted = blend(white, np.ones((4, 4), np.uint8), palette=palette, alpha=float(alpha))
    assert painted.min() >= 253


def test_contour_is_drawn_inside_each_object_in_its_full_colour() -> None:
    image, labels = noise(), square()
    painted = blend(image, labels, contour=1)
    assert (painted[10, 10:20] == (255, 0, 0)).all()  # object 1 is dark red in the palette
    assert (painted[10:20, 19] == (255, 0, 0)).all()  # towards its neighbour too
    assert (painted[10:20, 20] == (255, 255, 255)).all()  # object 7 is grey
    assert (painted[9, 10:20] == image[9, 10:20]).all()
    assert not (painted[11, 11] == (255, 0, 0)).all()


def test_contour_of_width_n_covers_n_pixels() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[5:35, 5:35] = 3
    for width in (1, 2, 3, 5):
        assert np.count_nonzero(contours(labels, width)[20]) == 2 * width


def test_the_edge_of_the_picture_is_no_contour() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[:, :10] = 1
    line = contours(labels, 1)
    assert line[:, 9].all()
    assert line.sum() == 20


def test_contour_grows_with_the_resolution() -> None:
    assert [contour_width(*size) for size in ((64, 64), (480, 854), (1080, 1920), (2160, 3840))] == [1, 2, 3, 7]


def test_bright_keeps_hue_and_black() -> None:
    full = bright(DAVIS_PALETTE)
    assert full[0].tolist() == [0, 0, 0]
    assert (full[1:].max(axis=1) == 255).all()


def test_outlines_tell_the_first_objects_apart() -> None:
    full = bright(DAVIS_PALETTE)[1:25].astype(int)
    assert full[0].tolist() == [255, 0, 0] and full[1].tolist() == [0, 255, 0]
    apart = np.abs(full[:, None] - full).max(axis=2)
    np.fill_diagonal(apart, 255)
    assert apart.min() > 32


def test_objects_that_are_to_have_one_colour_have_one_outline() -> None:
    assert len(np.unique(bright(np.tile(DAVIS_PALETTE[[8, 1]], (128, 1))), axis=0)) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 5)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    painted = blend(noise(*size), np.ones(size, np.uint8))
    assert painted.shape == (*size, 3)


def test_views_that_are_not_contiguous_are_read_right() -> None:
    image, labels = noise(80, 100)[::2, ::2], square(80, 100)[::2, ::2]
    assert np.array_equal(blend(image, labels), blend(image.copy(), labels.copy()))


def test_another_size_is_a_named_error() -> None:
    with pytest.raises(OutputError, match="does not fit"):
        blend(noise(), np.zeros((39, 50), np.uint8))
