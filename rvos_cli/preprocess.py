"""Pixels to network input: uint8 RGB frames enter, normalised tensors of the network's size leave.

Knows numpy and torch, no files. ``postprocess`` is the way back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.config import ModelConfig

STRIDE = 32  # of the coarsest features
POINT_RADIUS = 6.0  # pixels of the network's picture
LONGEST = 4  # short sides; a very long picture is shrunk to it, or its cost would know no bounds


def network_size(source: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (h, w), multiples of 32, for a source of (H, W): the short side as asked, the shape as near as can be.

    Of a picture more than four times as long as wide the long side is four times the short side asked for.
    """
    height, width = source
    scale = min(short_side / min(height, width), LONGEST * short_side / max(height, width))
    return _round(height * scale), _round(width * scale)


def network_size_of_part(source: tuple[int, int], side: float) -> tuple[int, int]:
    """Return (h, w), multiples of 32, for a part of a picture, (H, W): as many pixels as a square of *side*, its shape.

    Of one that is more than four times as long as wide the long side is twice the square's, and the short one less.
    """
    height, width = source
    scale = min(side / math.sqrt(height * width), math.sqrt(LONGEST) * side / max(height, width))
    return _round(height * scale), _round(width * scale)


def box_plane(
    box: tuple[float, float, float, float],
    rows: slice,
    columns: slice,
    size: tuple[int, int],
    device: torch.device,
) -> Tensor:
    """Return (1, 1, h, w) float32, 0..1: how much of each pixel is in a box, if a picture's part is resized to *size*.

    Args:
        box: left, top, right, bottom in the picture.
        rows: of the part.
        columns: of the part.
        size: (h, w).
        device: where the plane is wanted.
    """
    left, top, right, bottom = box
    vertical, horizontal = _covered(top, bottom, rows, size[0]), _covered(left, right, columns, size[1])
    return torch.from_numpy(np.outer(vertical, horizontal).astype(np.float32)).to(device)[None, None]


def point_plane(
    points: Sequence[tuple[float, float]], rows: slice, columns: slice, size: tuple[int, int], device: torch.device
) -> Tensor:
    """Return (1, 1, h, w) float32, 0..1: how much of each pixel is close to points, if a picture's part is resized.

    Args:
        points: (x, y) in the picture, also beside the part.
        rows: of the part.
        columns: of the part.
        size: (h, w), to which the part is resized; a point is a disc of ``POINT_RADIUS`` of its pixels.
        device: where the plane is wanted.
    """
    plane = np.zeros(size, np.float32)
    for across, down in points:
        y, x = (_scaled(place, part, n) for place, part, n in zip((down, across), (rows, columns), size, strict=True))
        patch = tuple(_reach(place, n) for place, n in zip((y, x), size, strict=True))
        here, there = (np.arange(part.start, part.stop) + 0.5 for part in patch)
        away = np.hypot(here[:, None] - y, there - x)
        plane[patch] = np.maximum(plane[patch], np.clip(POINT_RADIUS + 0.5 - away, 0, 1))
    return torch.from_numpy(plane).to(device)[None, None]


def _scaled(place: float, part: slice, count: int) -> float:
    begin, end = int(part.start), int(part.stop)
    return (place - begin) * count / (end - begin)


def _reach(place: float, count: int) -> slice:
    """Return which of *count* pixels the disc around a place may touch."""
    first, last = math.floor(place - POINT_RADIUS - 1), math.ceil(place + POINT_RADIUS + 1)
    return slice(min(max(first, 0), count), min(max(last, 0), count))


def _covered(first: float, last: float, part: slice, count: int) -> NDArray[np.float64]:
    """Return how much of each of *count* equal pieces of a *part* lies between first and last."""
    edges = np.linspace(part.start, part.stop, count + 1)
    covered = np.minimum(edges[1:], last) - np.maximum(edges[:-1], first)
    share: NDArray[np.float64] = np.clip(covered * count / (part.stop - part.start), 0, 1)
    return share


def _round(length: float) -> int:
    return max(STRIDE, STRIDE * round(length / STRIDE))


def frame_tensor(
    image: NDArray[np.uint8], size: tuple[int, int], config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Turn a frame (H, W, 3) uint8 RGB into (1, 3, h, w), resized to *size* (antialiased) and normalised.

    On a processor a frame is resized in 8 bits, which rounds to whole levels and takes a quarter of the time.
    """
    return network_input(picture_tensor(image)[None].to(device), size, config).to(dtype)


def picture_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Return a frame (H, W, 3) as a tensor, in its own memory if it lies there in order."""
    return torch.from_numpy(np.require(image, requirements=("C", "W")))


def network_input(pictures: Tensor, size: tuple[int, int], config: ModelConfig) -> Tensor:
    """Do what ``frame_tensor`` does, on the device of *pictures*, (B, H, W, 3) uint8, in float32: (B, 3, h, w)."""
    pixels = pictures.permute(0, 3, 1, 2)
    if pixels.device.type != "cpu":
        pixels = pixels.float()
    if pixels.shape[-2:] != size:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
    mean, std = (_channels(values, pixels.device) for values in (config.mean, config.std))
    return pixels.float().div_(255 * std).sub_(mean / std).contiguous(memory_format=torch.channels_last)


@cache  # not a few of them: a graph reads what was there when it was recorded
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return (1, 3, 1, 1); a GPU would be waited for each time that one is sent there."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)


def mask_tensor(labels: NDArray[np.uint8], ids: tuple[int, ...], size: tuple[int, int], device: torch.device) -> Tensor:
    """Turn a label map (H, W) into masks (1, N, h, w) float32, 0..1: one plane per id, area-averaged to *size*."""
    planes = (torch.from_numpy(labels == identity).to(device)[None, None].float() for identity in ids)
    return torch.cat([F.interpolate(plane, size=size, mode="area") for plane in planes], dim=1)  # large ones one by one
