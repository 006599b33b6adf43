"""Photometric change of a clip: colour, drift of the exposure, blur, noise, compression.

A clip (T, 3, h, w) enters and leaves; what is done to it is drawn first, as a small value, so that the arithmetic
could also run for a whole batch on a device.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

MIDDLE = 110.0


@dataclass(frozen=True)
class Photometry:
    """What happens to one clip's pixels.

    Attributes:
        gain: (T, 3) factors of the channels, in every frame.
        offset: (T,) added to every pixel, in 0..255.
        gamma: exponent of the tone curve; below 1 is brighter.
        contrast: factor around the clip's mean.
        saturation: 0 is grey, 1 leaves the colours alone.
        blur: (T,) standard deviation of a Gaussian blur in pixels; 0 for none.
        noise: standard deviation of the noise, in 0..255.
        noise_seed: seed of the noise.
        quality: JPEG quality, or None for no compression.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    gamma: float
    contrast: float
    saturation: float
    blur: NDArray[np.float64]
    noise: float
    noise_seed: int
    quality: int | None


def draw_photometry(
    rng: np.random.Generator, frames: int, *, brightness: float = MIDDLE, strength: float = 1.0
) -> Photometry:
    """Draw a :class:`Photometry` for a clip of *frames* pictures.

    *brightness* is the clip's mean (0 to 255): very dark and very bright clips are rather brought back than led
    further away. *strength* 0 leaves the clip as it is.
    """
    centre = 0.3 * strength * float(np.log(MIDDLE / max(brightness, 8.0)))
    time = np.linspace(0, 1, frames)
    drift = rng.normal(0, 0.05 * strength) * time + rng.normal(0, 0.01 * strength, frames)
    tint = rng.normal(0, 0.05 * strength, 3) + np.outer(time, rng.normal(0, 0.02 * strength, 3))
    blur = np.zeros(frames)
    if rng.random() < 0.2 * strength:
        blur = rng.uniform(0.3, 1.3) * rng.uniform(0.5, 1.3, frames)
    grey = rng.random() < 0.03 * strength
    return Photometry(
        gain=np.exp(rng.normal(centre, 0.12 * strength) + drift[:, None] + tint),
        offset=rng.normal(0, 8 * strength) + np.zeros(frames),
        gamma=float(np.exp(rng.normal(0, 0.15 * strength))),
        contrast=float(np.exp(rng.normal(0, 0.12 * strength))),
        saturation=0.0 if grey else float(np.exp(rng.normal(0, 0.2 * strength))),
        blur=blur,
        noise=float(rng.uniform(1, 9)) if rng.random() < 0.3 * strength else 0.0,
        noise_seed=int(rng.integers(2**31)),
        quality=int(rng.integers(25, 85)) if rng.random() < 0.25 * strength else None,
    )


def apply_photometry(frames: torch.Tensor, photometry: Photometry) -> torch.Tensor:
    """Return the (T, 3, h, w) float32 *frames* (0 to 255) changed by *photometry*, as uint8 of the same shape."""
    changed = _tone(frames, photometry)
    if photometry.blur.any():
        changed = torch.stack(
            [_blur(frame, float(width)) for frame, width in zip(changed, photometry.blur, strict=True)]
        )
    if photometry.noise:
        noise = np.random.default_rng(photometry.noise_seed).standard_normal(changed.shape, dtype=np.float32)
        changed.add_(torch.from_numpy(noise).to(changed.device), alpha=photometry.noise)
    pixels = changed.round_().clamp_(0, 255).byte()
    return pixels if photometry.quality is None else _compress(pixels, photometry.quality)


def _tone(frames: torch.Tensor, photometry: Photometry) -> torch.Tensor:
    def column(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(frames.device)

    changed = frames * column(photometry.gain)[:, :, None, None]
    # In place from here on: to ask for new memory each time takes longer than the arithmetic.
    changed.add_(column(photometry.offset)[:, None, None, None]).clamp_(0, 255)
    changed.div_(255).pow_(photometry.gamma).mul_(255)
    grey = changed.mean(dim=1, keepdim=True)
    middle, contrast, saturation = grey.mean(), photometry.contrast, photometry.saturation
    return changed.mul_(contrast * saturation).add_(grey * (contrast * (1 - saturation)) + middle * (1 - contrast))


def _blur(frame: torch.Tensor, width: float) -> torch.Tensor:
    """Blur one (3, h, w) frame by sums of shifted copies: on a CPU far faster than a convolution this thin."""
    radius = max(1, round(2.5 * width))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(width, 1e-3)) ** 2)
    taps /= taps.sum()
    padded = F.pad(frame[None], (radius, radius, radius, radius), mode="replicate")[0]
    height, breadth = frame.shape[1:]
    rows = torch.stack([float(tap) * padded[:, at : at + height] for at, tap in enumerate(taps)]).sum(0)
    return torch.stack([float(tap) * rows[:, :, at : at + breadth] for at, tap in enumerate(taps)]).sum(0)


def _compress(pixels: torch.Tensor, quality: int) -> torch.Tensor:
    frames = []
    for frame in pixels.permute(0, 2, 3, 1).cpu().numpy():
        packed = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame)).save(packed, "JPEG", quality=quality)
        frames.append(np.array(Image.open(packed)))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous().to(pixels.device)
