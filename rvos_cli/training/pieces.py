"""Things to lay over a scene, cut out of photographs, of real clips, or ready-made.

A :class:`~rvos_cli.training.library.Library` and a random generator enter; a :class:`Piece` leaves: colours and
opacity, for :mod:`rvos_cli.training.scenes` to set in motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from rvos_cli.errors import DatasetError
from rvos_cli.training.library import Library, Sequence
from rvos_cli.training.synthesis import IGNORE, Pixels

Box = tuple[int, int, int, int]
LEAST_PIXELS = 400


@dataclass(frozen=True)
class Piece:
    """A thing cut out of its picture.

    Attributes:
        rgb: (T or 1, H, W, 3) uint8.
        alpha: (T or 1, H, W) uint8 opacity.
        cut_below: its picture ended at its lower side, so only the border of a clip can hide that cut.
    """

    rgb: Pixels
    alpha: Pixels
    cut_below: bool = False


def object_ids(labels: Pixels) -> list[int]:
    """Return the ids in *labels*, ascending, without 0 and the ignored 255."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return [int(label) for label in np.flatnonzero(counts[1:IGNORE]) + 1]


def bounding_box(mask: NDArray[np.bool_], *, margin: int = 0) -> Box:
    """Return top, left, bottom, right (exclusive) of what is set in *mask* (H, W); the whole if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, mask.shape[0], mask.shape[1]
    return (
        max(0, int(rows[0]) - margin),
        max(0, int(columns[0]) - margin),
        min(mask.shape[0], int(rows[-1]) + 1 + margin),
        min(mask.shape[1], int(columns[-1]) + 1 + margin),
    )


def cut_out(images: Pixels, masks: NDArray[np.bool_], *, box: Box | None = None) -> Piece:
    """Cut what *masks* (T, H, W) show out of *images* (T, H, W, 3), with soft edges."""
    shown = np.logical_or.reduce(masks)
    top, left, bottom, right = box or bounding_box(shown, margin=2)
    soft = []
    for mask in masks[:, top:bottom, left:right]:
        blurred = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
        # Opaque a little inside the outline, so that no rim of the old surroundings comes along.
        soft.append(np.clip((np.asarray(blurred, dtype=np.float32) - 127.5) * 1.6 + 105, 0, 255).astype(np.uint8))
    return Piece(images[:, top:bottom, left:right], np.stack(soft), bool(shown[-3:].any()))


def read_frames(
    library: Library, rng: np.random.Generator, sequence: Sequence, *, frames: int, max_gap: int
) -> tuple[Pixels, Pixels]:
    """Read *frames* pictures (T, H, W, 3) and labels (T, H, W) at a random pace, in half of the cases backwards.

    A clip too short for that goes back and forth between its ends.

    Raises:
        DatasetError: one cannot be read, or they are of several sizes.
    """
    count = len(sequence.images)
    gap = max(1, min(int(rng.integers(1, max_gap + 1)), (count - 1) // max(1, frames - 1)))
    steps = int(rng.integers(max(1, count - gap * (frames - 1)))) + gap * np.arange(frames)
    order = np.abs((steps + count - 1) % max(1, 2 * count - 2) - (count - 1)) if count > 1 else 0 * steps
    if rng.random() < 0.5:
        order = order[::-1]
    pairs = [library.pair(sequence.images[index], sequence.masks[index]) for index in order]
    for index, (image, _) in zip(order, pairs, strict=True):
        if image.shape != pairs[0][0].shape:
            raise DatasetError(
                f"{sequence.images[index]} has not the size of {sequence.images[order[0]]}",
                cure="save all frames of a clip in one size",
            )
    images, masks = zip(*pairs, strict=True)
    return np.stack(images), np.stack(masks)


def draw_piece(library: Library, rng: np.random.Generator, *, frames: int, max_gap: int) -> Piece:
    """Draw something to lay over a scene: a cut-out, a thing of a photograph, or a moving one of a real clip."""
    for _ in range(8):
        choice = rng.random()
        if choice < 0.35 and library.cutouts:
            break
        if choice < 0.6 and library.sequences:
            sequence = library.draw_sequence(rng)
            if sequence.merged:
                continue
            images, masks = read_frames(library, rng, sequence, frames=frames, max_gap=max_gap)
        elif library.photographs:
            photograph = library.draw_photograph(rng)
            if not photograph.separate:
                continue
            image, mask = library.pair(photograph.image, photograph.mask)
            images, masks = image[None], mask[None]
        else:
            continue
        ids = object_ids(masks[0])
        chosen = np.equal(masks, ids[int(rng.integers(len(ids)))] if ids else IGNORE)
        if ids and np.count_nonzero(chosen[0]) >= LEAST_PIXELS and (_whole(chosen) or rng.random() < 0.1):
            return cut_out(images, chosen)
    return _ready_made(library, rng)


def adapt(rng: np.random.Generator, piece: Piece, frames: torch.Tensor) -> Pixels:
    """Return the colours of *piece*, their brightness brought part of the way to that of *frames*."""
    weight = piece.alpha[0].astype(np.float32)
    mean = float((piece.rgb[0].mean(axis=2, dtype=np.float32) * weight).sum() / max(1.0, float(weight.sum())))
    shift = rng.uniform(0.0, 0.5) * (float(frames.mean()) - mean)
    table = np.clip(np.arange(256) * np.exp(rng.normal(0, 0.1)) + shift, 0, 255).astype(np.uint8)
    adapted: Pixels = table[piece.rgb]
    return adapted


def _whole(masks: NDArray[np.bool_]) -> bool:
    """Say whether the borders of the picture, the lower one aside, cut nothing off."""
    extent = np.sqrt(np.count_nonzero(masks[0]))
    touching = max(
        np.count_nonzero(masks[:, :2].any(axis=(0, 1))),
        np.count_nonzero(masks[:, :, :2].any(axis=(0, 2))),
        np.count_nonzero(masks[:, :, -2:].any(axis=(0, 2))),
    )
    return bool(touching < 0.12 * extent)


def _ready_made(library: Library, rng: np.random.Generator) -> Piece:
    """Draw a cut-out, or a disc of one colour if the library has none."""
    path = library.draw_cutout(rng)
    if path is not None:
        rgba = library.rgba(path)
        return Piece(rgba[None, ..., :3], rgba[None, ..., 3])
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    alpha = np.where(x * x + y * y < 0.9, 255, 0).astype(np.uint8)
    return Piece(np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (1, 64, 64, 3)).copy(), alpha[None])
