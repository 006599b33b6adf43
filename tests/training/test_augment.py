import numpy as np
import torch

from rvos_cli.training.augment import apply_photometry, draw_photometry


def test_no_strength_leaves_the_clip_alone():
    frames = torch.randint(0, 256, (3, 3, 16, 20)).float()
    same = apply_photometry(frames, draw_photometry(np.random.default_rng(0), 3, strength=0))
    assert same.dtype == torch.uint8
    assert (same.float() - frames).abs().max() <= 1


def test_every_draw_gives_valid_pixels_and_the_same_seed_the_same_ones():
    frames = torch.rand(3, 3, 24, 32) * 255
    for seed in range(40):
        first, again = (
            apply_photometry(frames, draw_photometry(np.random.default_rng(seed), 3, brightness=127)) for _ in range(2)
        )
        assert first.shape == frames.shape and first.dtype == torch.uint8
        assert torch.equal(first, again)


def test_a_very_dark_clip_is_rather_brightened():
    frames = torch.full((2, 3, 16, 16), 20.0)
    means = [
        float(apply_photometry(frames, draw_photometry(np.random.default_rng(seed), 2, brightness=20)).float().mean())
        for seed in range(30)
    ]
    assert np.median(means) > 25
