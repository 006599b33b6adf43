import numpy as np
import torch
import torch.nn.functional as F

from rvos_cli.training.synthesis import (
    Canvas,
    Layer,
    Warp,
    fill_holes,
    sampling_grid,
    similarity,
    smooth_path,
    translation,
    wobble,
)


def still(frames: int) -> np.ndarray:
    return np.repeat(np.eye(3)[None], frames, axis=0)


def test_the_identity_map_leaves_pixels_and_labels_alone():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)
    labels = rng.integers(0, 5, (2, 20, 30)).astype(np.uint8)
    warp = Warp(still(2), (20, 30), (20, 30))
    assert np.allclose(warp.pictures(image).permute(0, 2, 3, 1).numpy(), image, atol=0.01)
    assert np.array_equal(warp.labels(labels).numpy(), labels)


def test_a_translation_reads_whole_pixels_from_beside():
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(3, axis=3)
    moved = Warp(translation((2, 1))[None], (8, 8), (4, 4)).pictures(image)
    assert np.allclose(moved[0, 0].numpy(), image[0, 1:5, 2:6, 0], atol=0.01)


def test_pictures_and_labels_take_the_same_way_however_it_bends():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.repeat(rng.integers(0, 2, (1, 12, 16)), 8, axis=1), 8, axis=2).astype(np.uint8)
    maps = similarity(np.array([[64.0, 48.0], [60.0, 50.0]]), np.array([0.8, 0.7]), np.array([0.3, 0.5]), stretch=1.2)
    warp = Warp(maps @ translation((-40, -30)), (96, 128), (60, 80), wobble(rng, 2, 0.05))
    shown = warp.pictures(labels[..., None] * np.uint8(200))[:, 0]
    certain = (shown < 20) | (shown > 180)
    assert float(certain.float().mean()) > 0.6
    assert torch.equal(warp.labels(labels)[certain] > 0, shown[certain] > 100)


def test_the_way_of_a_pixel_is_that_of_its_centre_through_the_map():
    maps = similarity(np.array([[7.0, 9.0]]), np.array([1.5]), np.array([0.4]), mirror=True)
    grid = sampling_grid(maps, (20, 30), (5, 6))
    x, y, _ = maps[0] @ [4.5, 2.5, 1]
    assert np.allclose(grid[0, 2, 4].numpy(), [2 * x / 30 - 1, 2 * y / 20 - 1], atol=1e-6)


def test_a_bend_known_at_few_pixels_is_that_of_every_pixel():
    bend = wobble(np.random.default_rng(3), 2, 0.03)
    rigid, bent = (sampling_grid(still(2), (90, 131), (90, 131), points) for points in (None, bend))
    shift = F.grid_sample(bend, rigid, mode="bicubic", padding_mode="border", align_corners=True).permute(0, 2, 3, 1)
    half = torch.tensor([131 / 2, 90 / 2])  # a unit of the grid, in pixels
    assert float((shift * half).abs().max()) > 2
    assert float(((bent - rigid - shift) * half).abs().max()) < 0.25


def test_similarity_scales_turns_mirrors_and_moves():
    quarter = similarity(np.array([[10.0, 20.0]]), np.array([2.0]), np.array([np.pi / 2]))[0]
    assert np.allclose(quarter @ [1, 0, 1], [10, 22, 1])
    mirrored = similarity(np.zeros((1, 2)), np.ones(1), np.zeros(1), mirror=True)[0]
    assert np.allclose(mirrored @ [3, 4, 1], [-3, 4, 1])


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    shrunk = Warp(np.diag([4.0, 4.0, 1.0])[None], (64, 64), (16, 16)).pictures(stripes)
    assert abs(float(shrunk.mean()) - 100) < 5 and float(shrunk[..., 4:12].std()) < 10


def test_a_layer_marks_just_the_pixels_it_covers():
    canvas = Canvas(torch.full((2, 3, 20, 30), 50.0), torch.zeros(2, 20, 30, dtype=torch.uint8), True)
    maps = np.stack([translation((-5, -5)), translation((-9, -5))])
    rgb = np.full((1, 6, 6, 3), 200, np.uint8)
    canvas.draw(Layer(rgb, np.full((1, 6, 6), 255, np.uint8), maps), 4)
    assert canvas.labels[0].nonzero().min(dim=0).values.tolist() == [5, 5]
    assert canvas.labels[1].nonzero().min(dim=0).values.tolist() == [5, 9]
    assert torch.equal(canvas.frames[:, 0] > 125, canvas.labels == 4)
    assert int((canvas.labels == 4).sum()) == 72


def test_a_later_layer_hides_an_earlier_one_and_transparency_blends():
    canvas = Canvas(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), True)
    full, faint = np.full((1, 8, 8), 255, np.uint8), np.full((1, 8, 8), 51, np.uint8)
    canvas.draw(Layer(np.full((1, 8, 8, 3), 100, np.uint8), full, still(1)), 1)
    canvas.draw(Layer(np.full((1, 8, 8, 3), 200, np.uint8), faint, still(1)), 2)
    assert bool((canvas.labels == 1).all())
    assert torch.allclose(canvas.frames, torch.tensor(120.0), atol=0.5)


def test_paths_begin_at_rest_and_bends_are_small_and_change():
    rng = np.random.default_rng(1)
    path = smooth_path(rng, 6, 2, 3.0)
    assert path.shape == (6, 2) and np.allclose(path[0], 0) and np.abs(path).max() < 60
    bend = wobble(rng, 3, 0.03)
    assert bend.shape == (3, 2, 5, 5) and float(bend.abs().max()) < 0.3
    assert not torch.equal(bend[0], bend[1])


def test_a_hole_is_painted_with_what_lies_around_it():
    image = np.full((40, 60, 3), 90, np.uint8)
    hole = np.zeros((40, 60), bool)
    hole[10:30, 20:40] = True
    image[hole] = 255
    painted = fill_holes(image, hole)
    assert np.abs(painted.astype(int) - 90).max() <= 3
    untouched = fill_holes(image, np.zeros_like(hole))
    assert np.array_equal(untouched, image)
