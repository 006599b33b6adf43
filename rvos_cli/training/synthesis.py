"""Geometry of made-up clips: smooth motion, warping of layers, and a canvas that keeps pixels and labels together.

Source pictures with masks and random numbers enter; (T, 3, h, w) frames with (T, h, w) labels leave. Maps are 3x3
matrices from output pixels to source pixels, so that a camera and an object's own motion compose by multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Matrices = NDArray[np.float64]
IGNORE = 255
CONTROL_POINTS = 5
BEND_STEP = 4  # pixels from one known bend to the next


def similarity(
    centre: Matrices, scale: Matrices, angle: Matrices, *, stretch: float = 1.0, mirror: bool = False
) -> Matrices:
    """Return (T, 3, 3) maps that turn, scale and then move the origin to *centre*.

    Args:
        centre: (T, 2) x and y where the origin goes.
        scale: (T,) factors.
        angle: (T,) radians.
        stretch: how much more x is scaled than y (the aspect distortion).
        mirror: flip x first.
    """
    maps = np.zeros((len(centre), 3, 3))
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    sign, root = (-1.0 if mirror else 1.0), float(np.sqrt(stretch))
    maps[:, 0, 0], maps[:, 0, 1] = sign * cosine * root, -sine / root
    maps[:, 1, 0], maps[:, 1, 1] = sign * sine * root, cosine / root
    maps[:, :2, 2], maps[:, 2, 2] = centre, 1.0
    return maps


def translation(offset: tuple[float, float] | NDArray[np.float64]) -> Matrices:
    """Return the (3, 3) map that adds *offset* (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = offset
    return matrix


def smooth_path(rng: np.random.Generator, frames: int, size: int, speed: float) -> Matrices:
    """Return a (T, size) path from 0 with steps of about *speed*: a steady drift, bending, with a little shake."""
    time = np.arange(frames, dtype=np.float64)[:, None]
    velocity = rng.normal(0, speed, (1, size))
    bend = rng.normal(0, 0.3 * speed, (1, size)) * time * (time - 1) / max(2.0, 0.7 * frames)
    shake = rng.normal(0, 0.15 * speed, (frames, size))
    shake[0] = 0
    path: Matrices = velocity * time + bend + shake
    # Long clips drift less per frame, or everything would leave the picture.
    return path / max(1.0, frames / 5)


def wobble(rng: np.random.Generator, frames: int, amplitude: float) -> torch.Tensor:
    """Return (T, 2, 5, 5) control points of a smooth displacement that changes from frame to frame.

    The unit is half a source picture; *amplitude* is the standard deviation of a control point.
    """
    phase = np.cumsum(np.concatenate([[0.0], rng.uniform(0.3, 1.2, frames - 1)]))[:, None, None, None]
    first, second = rng.normal(0, amplitude, (2, 1, 2, CONTROL_POINTS, CONTROL_POINTS))
    return torch.from_numpy((first * np.cos(phase) + second * np.sin(phase)).astype(np.float32))


@dataclass(frozen=True)
class Layer:
    """Something to draw: pixels, how opaque they are, and where they go in every frame.

    Attributes:
        rgb: (T or 1, H, W, 3) uint8.
        alpha: (T or 1, H, W) uint8, 0 transparent to 255 opaque.
        maps: (T, 3, 3) from output pixels to pixels of ``rgb``.
        bend: (T, 2, 5, 5) control points from :func:`wobble`, or None for a rigid layer.
    """

    rgb: Pixels
    alpha: Pixels
    maps: Matrices
    bend: torch.Tensor | None = None


class Warp:
    """Where each pixel of a clip comes from in its source pictures: pictures and their labels take the same way."""

    def __init__(
        self, maps: Matrices, source: tuple[int, int], target: tuple[int, int], bend: torch.Tensor | None = None
    ) -> None:
        """Work out the way of every pixel.

        Args:
            maps: (T, 3, 3) from pixels of the clip to those of the source.
            source: height and width of the source pictures.
            target: height h and width w of the clip.
            bend: (T, 2, 5, 5) control points from :func:`wobble`, or None.
        """
        self._grid = sampling_grid(maps, source, target, bend)
        self._step = float(np.sqrt(np.abs(np.linalg.det(maps[:, :2, :2])).max()))  # source pixels per pixel

    def pictures(self, stack: Pixels) -> torch.Tensor:
        """Warp (T or 1, H, W, C) uint8 pictures to (T, C, h, w) float32, antialiased, mirrored beyond their border."""
        return self._sampled(self._planes(stack), "bilinear", "reflection")

    def labels(self, stack: Pixels) -> torch.Tensor:
        """Warp (T or 1, H, W) uint8 labels to (T, h, w) uint8 with the nearest label, mirrored beyond their border."""
        planes = torch.from_numpy(np.ascontiguousarray(stack))[:, None].float()
        return self._sampled(planes, "nearest", "reflection")[:, 0].byte()

    def layer(self, rgb: Pixels, alpha: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (T, 3, h, w) colours, already multiplied by their (T, 1, h, w) opacity in 0..1, nothing beyond."""
        planes = self._planes(np.concatenate([rgb, alpha[..., None]], axis=-1))
        planes[:, 3:] /= 255
        planes[:, :3] *= planes[:, 3:]
        drawn = self._sampled(planes, "bilinear", "zeros")
        return drawn[:, :3], drawn[:, 3:]

    def _planes(self, stack: Pixels) -> torch.Tensor:
        """Turn pictures into float planes, of a size in which no pixel is skipped."""
        if self._step > 1.2:
            stack = np.stack([_shrink(picture, self._step) for picture in stack])
        return torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2))).float()

    def _sampled(self, planes: torch.Tensor, mode: str, beyond: str) -> torch.Tensor:
        planes = planes.expand(len(self._grid), -1, -1, -1)
        return F.grid_sample(planes, self._grid, mode=mode, padding_mode=beyond, align_corners=False)


def sampling_grid(
    maps: Matrices, source: tuple[int, int], target: tuple[int, int], bend: torch.Tensor | None = None
) -> torch.Tensor:
    """Turn *maps* into the (T, h, w, 2) grid that ``grid_sample`` wants, for a *source* and a *target* size."""
    to_unit = np.array([[2 / source[1], 0, -1], [0, 2 / source[0], -1]])
    unit_maps = torch.from_numpy((to_unit @ maps).astype(np.float32))
    grid = _sent_places(unit_maps, *(torch.arange(length) + 0.5 for length in target))
    if bend is None:
        return grid
    # So smooth a bend is known well enough from a few pixels: of all, it would take longer than the pictures.
    few = (torch.linspace(0.5, length - 0.5, -(-length // BEND_STEP) + 1) for length in target)
    shift = F.grid_sample(
        bend, _sent_places(unit_maps, *few), mode="bicubic", padding_mode="border", align_corners=True
    )
    return grid + F.interpolate(shift, target, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


def _sent_places(maps: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return where (T, 2, 3) *maps* send the places of *rows* (h,) and *columns* (w,): (T, h, w, 2)."""
    across, down, start = (vector[:, None, :] for vector in maps.unbind(-1))
    return (columns[:, None] * across + start)[:, None] + (rows[:, None] * down)[:, :, None]


def _shrink(pixels: Pixels, factor: float) -> Pixels:
    """Scale (H, W[, C]) uint8 pixels down by *factor* with antialiasing."""
    height, width = pixels.shape[:2]
    size = (max(2, round(width / factor)), max(2, round(height / factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


@dataclass
class Canvas:
    """The clip being drawn.

    Attributes:
        frames: (T, 3, h, w) float32, 0 to 255.
        labels: (T, h, w) uint8: 0 background, 255 ignore, else an object.
        complete: nothing that stands out is without a label.
        separate: each label is one thing by itself.
    """

    frames: torch.Tensor
    labels: torch.Tensor
    complete: bool
    separate: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[-2], self.frames.shape[-1]

    def draw(self, layer: Layer, label: int) -> None:
        """Lay *layer* over everything drawn so far; its pixels (opacity above one half) get *label*."""
        height, width = layer.alpha.shape[1:]
        colours, opacity = Warp(layer.maps, (height, width), self.size, layer.bend).layer(layer.rgb, layer.alpha)
        self.frames = torch.addcmul(colours, self.frames, 1 - opacity)
        self.labels = torch.where(opacity[:, 0] > 0.5, torch.full_like(self.labels, label), self.labels)


def fill_holes(image: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Paint over the *hole* (H, W) of an (H, W, 3) *image*: colours flow in from around, texture from beside."""
    known = torch.from_numpy(~hole).float()[None, None]
    colours = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None]
    smooth = _flow_in(colours * known, known)
    columns = np.flatnonzero(hole.any(axis=0))
    if not len(columns):
        return image
    shift = int(columns[-1] - columns[0]) + 2
    local = _box_mean(colours * known) / _box_mean(known).clamp_min(1e-3)
    detail = torch.roll((colours - local) * known, shift if columns[0] > hole.shape[1] - columns[-1] else -shift, 3)
    painted = smooth + detail * (1 - known)
    return painted.clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()


def _box_mean(planes: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.avg_pool2d(planes, (9, 1), 1, (4, 0)), (1, 9), 1, (0, 4))


def _flow_in(weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Fill where *weight* is 0 from ever coarser averages (pull, then push)."""
    if min(weight.shape[-2:]) <= 2 or bool((weight > 0).all()):
        return weighted / weight.clamp_min(1e-3)
    coarse = _flow_in(F.avg_pool2d(weighted, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True))
    around = F.interpolate(coarse, weight.shape[-2:], mode="bilinear", align_corners=False)
    keep = weight.clamp(0, 1)
    return weighted / weight.clamp_min(1e-3) * keep + around * (1 - keep)
