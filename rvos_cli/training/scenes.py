"""The three kinds of clip: real ones, photographs set in motion, and composites of several things.

A :class:`~rvos_cli.training.library.Library` and a random generator enter; a
:class:`~rvos_cli.training.synthesis.Canvas` leaves, whose labels are still as the source had them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from rvos_cli.training.library import CUTOUT_CAPS, Background, Library, Photograph, Sequence
from rvos_cli.training.synthesis import (
    IGNORE,
    Canvas,
    Layer,
    Matrices,
    Pixels,
    fill_holes,
    similarity,
    smooth_path,
    translation,
    warp,
    warp_labels,
    wobble,
)

Box = tuple[int, int, int, int]
# Outlines of regions, not of things: they may move with their picture but are not cut out.
NOT_CUT_OUT = frozenset({"bsds_regions", "camvid_things"})


@dataclass(frozen=True)
class Piece:
    """A thing cut out of its picture: (T or 1, H, W, 3) colours and (T or 1, H, W) opacity, both uint8."""

    rgb: Pixels
    alpha: Pixels


@dataclass(frozen=True)
class SceneMaker:
    """Makes clips of one size from one library.

    Attributes:
        library: the media.
        size: height and width of the clips.
        frames: frames per clip, T.
        max_objects: how many things a composite may have.
        max_gap: largest step between two frames of a real clip, in stored frames.
    """

    library: Library
    size: tuple[int, int]
    frames: int
    max_objects: int
    max_gap: int = 6

    def real(self, rng: np.random.Generator) -> Canvas:
        """Cut a window out of a real clip, at a random pace, in half of the cases backwards."""
        sequence = self._draw_sequence(rng)
        images, masks = self._read_frames(rng, sequence)
        present = (masks[0] > 0) & (masks[0] != IGNORE)
        if not present.any():
            present = (masks > 0).any(axis=0)
        camera = self._camera(rng, images.shape[1:3], bounding_box(present), motion=0.2, angle=0.04)
        return Canvas(warp(images, camera, self.size), warp_labels(masks, camera, self.size), sequence.complete)

    def photograph(self, rng: np.random.Generator) -> Canvas:
        """Set a photograph in motion: as a whole, thing by thing, or its things before another scene."""
        photograph = self._draw_photograph(rng)
        image, mask = self.library.rgb(photograph.image), self.library.labels(photograph.mask)
        ids = _object_ids(mask)
        if not ids:
            return self._still(rng, image, mask, photograph.complete)
        separable = photograph.collection.rpartition("/")[2] not in NOT_CUT_OUT
        portrait = image.shape[0] > image.shape[1]
        choice = rng.random()
        if separable and (choice < 0.2 or (portrait and choice < 0.6)):
            chosen = [ids[int(rng.integers(len(ids)))]]
            pieces = [piece for piece in (cut_out(image[None], mask[None] == chosen[0]),) if piece is not None]
            return self._place(rng, self._scene(rng), pieces)
        box = bounding_box(np.isin(mask, rng.permutation(ids)[: self.max_objects]))
        camera = self._camera(rng, image.shape[:2], box, motion=1.0, angle=0.12)
        if not separable or choice < 0.55:
            bend = wobble(rng, self.frames, 0.025)
            labels = warp_labels(mask[None], camera, self.size, bend=bend)
            return Canvas(warp(image[None], camera, self.size, bend=bend), labels, photograph.complete)
        canvas = self._take_apart(rng, image, mask, camera, photograph.complete)
        if rng.random() < 0.5 and len(ids) < self.max_objects:
            more = [self._draw_piece(rng) for _ in range(rng.integers(1, self.max_objects - len(ids) + 1))]
            canvas = self._place(rng, canvas, more)
        return canvas

    def composite(self, rng: np.random.Generator) -> Canvas:
        """Let one to three things cross a scene or a real clip; sometimes two of them are identical twins."""
        if self.library.sequences and rng.random() < 0.3:
            canvas = self.real(rng)
        else:
            canvas = self._scene(rng)
        room = max(1, self.max_objects - len(_object_ids(canvas.labels.numpy())))
        pieces = [self._draw_piece(rng) for _ in range(rng.integers(1, room + 1))]
        if len(pieces) > 1 and rng.random() < 0.3:
            pieces[1] = pieces[0]
        return self._place(rng, canvas, pieces)

    def _draw_sequence(self, rng: np.random.Generator) -> Sequence:
        weights = np.array([min(2.0, len(item.images) / 20) for item in self.library.sequences])
        return self.library.sequences[int(rng.choice(len(weights), p=weights / weights.sum()))]

    def _read_frames(self, rng: np.random.Generator, sequence: Sequence) -> tuple[Pixels, Pixels]:
        """Return (T, H, W, 3) pictures and (T, H, W) labels; short clips turn round at their ends."""
        count = len(sequence.images)
        gap = int(rng.integers(1, self.max_gap + 1))
        gap = max(1, min(gap, (count - 1) // max(1, self.frames - 1)))
        start = int(rng.integers(max(1, count - gap * (self.frames - 1))))
        steps = start + gap * np.arange(self.frames)
        order = np.abs((steps + count - 1) % max(1, 2 * count - 2) - (count - 1)) if count > 1 else 0 * steps
        if rng.random() < 0.5:
            order = order[::-1]
        images = np.stack([self.library.rgb(sequence.images[index]) for index in order])
        return images, np.stack([self.library.labels(sequence.masks[index]) for index in order])

    def _draw_photograph(self, rng: np.random.Generator) -> Photograph:
        names = list(self.library.photographs)
        weights = np.array([np.sqrt(len(self.library.photographs[name])) for name in names])
        group = self.library.photographs[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return group[int(rng.integers(len(group)))]

    def _draw_piece(self, rng: np.random.Generator) -> Piece:
        """Draw something to lay over a scene: from a photograph, a real clip or the cut-outs."""
        for _ in range(6):
            choice, piece = rng.random(), None
            if choice < 0.35 and self.library.cutouts:
                break
            if choice < 0.6 and self.library.sequences:
                images, masks = self._read_frames(rng, self._draw_sequence(rng))
                ids = _object_ids(masks[0])
                if ids:
                    piece = cut_out(images, masks == ids[int(rng.integers(len(ids)))])
            elif self.library.photographs:
                photograph = self._draw_photograph(rng)
                if photograph.collection.rpartition("/")[2] in NOT_CUT_OUT:
                    continue
                mask = self.library.labels(photograph.mask)
                ids = _object_ids(mask)
                if ids:
                    image = self.library.rgb(photograph.image)
                    piece = cut_out(image[None], mask[None] == ids[int(rng.integers(len(ids)))])
            if piece is not None:
                return piece
        return self._draw_cutout(rng)

    def _draw_cutout(self, rng: np.random.Generator) -> Piece:
        names = list(self.library.cutouts)
        if not names:
            return _plain_disc(rng)
        shares = np.array([CUTOUT_CAPS.get(name.rpartition("/")[2], 0.0) for name in names])
        free = np.array([np.sqrt(len(self.library.cutouts[name])) for name in names]) * (shares == 0)
        if free.sum() > 0:
            shares = shares + free / free.sum() * (1 - shares.sum())
        group = self.library.cutouts[names[int(rng.choice(len(names), p=shares / shares.sum()))]]
        rgba = self.library.rgba(group[int(rng.integers(len(group)))])
        return Piece(rgba[None, ..., :3], rgba[None, ..., 3])

    def _draw_background(self, rng: np.random.Generator) -> tuple[Pixels, bool]:
        names = list(self.library.backgrounds)
        if not names:
            photograph = self._draw_photograph(rng) if self.library.photographs else None
            path = photograph.image if photograph else self._draw_sequence(rng).images[0]
            return self.library.rgb(path), False
        weights = np.array([np.sqrt(len(self.library.backgrounds[name])) for name in names])
        group = self.library.backgrounds[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        background: Background = group[int(rng.integers(len(group)))]
        return self.library.rgb(background.image), background.complete

    def _scene(self, rng: np.random.Generator) -> Canvas:
        """Let the camera move over a background, nothing on it yet."""
        image, complete = self._draw_background(rng)
        return self._still(rng, image, np.zeros(image.shape[:2], np.uint8), complete)

    def _still(self, rng: np.random.Generator, image: Pixels, mask: Pixels, complete: bool) -> Canvas:
        camera = self._camera(rng, image.shape[:2], (0, 0, *image.shape[:2]), motion=1.0, angle=0.1)
        bend = wobble(rng, self.frames, 0.02)
        labels = warp_labels(mask[None], camera, self.size, bend=bend)
        return Canvas(warp(image[None], camera, self.size, bend=bend), labels, complete)

    def _camera(
        self, rng: np.random.Generator, source: tuple[int, ...], box: Box, *, motion: float, angle: float
    ) -> Matrices:
        """Return (T, 3, 3) maps of a window of *source* around *box* that moves, zooms and turns a little."""
        height, width = self.size
        zoom, centre = _window(rng, (source[0], source[1]), box, self.size)
        pace = motion * float(np.exp(rng.normal(0, 0.6)))
        drift = smooth_path(rng, self.frames, 4, pace) * np.array(
            [0.025 * width * zoom, 0.02 * height * zoom, 0.015, 0.015]
        )
        turn = rng.normal(0, angle) + drift[:, 3]
        scale = zoom * np.exp(drift[:, 2])
        stretch = float(np.exp(rng.normal(0, 0.06)))
        maps = similarity(centre + drift[:, :2], scale, turn, stretch=stretch, mirror=bool(rng.random() < 0.5))
        return maps @ translation((-width / 2, -height / 2))

    def _take_apart(
        self, rng: np.random.Generator, image: Pixels, mask: Pixels, camera: Matrices, complete: bool
    ) -> Canvas:
        """Move every thing of a photograph on its own over a picture in which it has been painted over."""
        ids = _object_ids(mask)
        chosen = [int(label) for label in rng.permutation(ids)[: self.max_objects]]
        hole = _grown(np.isin(mask, chosen))
        rest = np.where(mask == IGNORE, IGNORE, 0).astype(np.uint8)
        bend = wobble(rng, self.frames, 0.02)
        canvas = Canvas(
            warp(fill_holes(image, hole)[None], camera, self.size, bend=bend),
            warp_labels(rest[None], camera, self.size, bend=bend),
            complete and len(chosen) == len(ids),
        )
        for label in chosen:
            box = bounding_box(mask == label, margin=3)
            piece = cut_out(image[None], mask[None] == label, box=box, least=1)
            if piece is None:
                continue
            top, left, bottom, right = box
            middle = np.array([(left + right) / 2, (top + bottom) / 2])
            span = float(np.sqrt((bottom - top) * (right - left)))
            move = smooth_path(rng, self.frames, 4, float(np.exp(rng.normal(0, 0.6))))
            own = similarity(np.repeat(middle[None], self.frames, 0), np.exp(0.03 * move[:, 2]), 0.04 * move[:, 3])
            back = np.stack([translation(-middle - 0.06 * span * step) for step in move[:, :2]])
            maps = translation((-left, -top)) @ own @ back @ camera
            canvas.draw(Layer(piece.rgb, piece.alpha, maps, wobble(rng, self.frames, 0.03)), label)
        return canvas

    def _place(self, rng: np.random.Generator, canvas: Canvas, pieces: list[Piece]) -> Canvas:
        """Draw *pieces*, each on a path of its own, with fresh labels."""
        height, width = self.size
        taken = _object_ids(canvas.labels.numpy())
        extent = float(np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
        for number, piece in enumerate(pieces):
            tall, wide = piece.alpha.shape[1:]
            scale = extent * float(np.exp(rng.normal(0, 0.25))) * min(height / tall, 1.2 * width / wide)
            scale = float(np.clip(scale, 18 / max(tall, wide), 2.2))
            span = scale * float(np.sqrt(tall * wide))
            path = _path(rng, self.frames, self.size, span)
            move = smooth_path(rng, self.frames, 2, float(np.exp(rng.normal(0, 0.6))))
            turn = rng.normal(0, 0.12) + 0.06 * move[:, 1]
            centre = np.repeat(np.array([[wide / 2, tall / 2]]), self.frames, 0)
            own = similarity(centre, np.exp(0.04 * move[:, 0]) / scale, turn, mirror=bool(rng.random() < 0.5))
            maps = own @ np.stack([translation(-step) for step in path])
            rgb = _adapt(rng, piece, canvas.frames)
            bend = wobble(rng, self.frames, 0.04) if rng.random() < 0.7 else None
            label = next(free for free in range(1, 255) if free not in taken)
            taken = [*taken, label]
            canvas.draw(Layer(rgb, piece.alpha, maps, bend), label)
        return canvas


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


def cut_out(images: Pixels, masks: NDArray[np.bool_], *, box: Box | None = None, least: int = 400) -> Piece | None:
    """Cut what *masks* (T, H, W) show out of *images* (T, H, W, 3); None if the first shows under *least* pixels."""
    if np.count_nonzero(masks[0]) < least:
        return None
    top, left, bottom, right = box or bounding_box(masks.any(axis=0), margin=2)
    soft = []
    for mask in masks[:, top:bottom, left:right]:
        blurred = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
        # Opaque a little inside the outline, so that no rim of the old surroundings comes along.
        soft.append(np.clip((np.asarray(blurred, dtype=np.float32) - 127.5) * 1.6 + 105, 0, 255).astype(np.uint8))
    return Piece(images[:, top:bottom, left:right], np.stack(soft))


def _object_ids(labels: Pixels) -> list[int]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return [int(label) for label in np.flatnonzero(counts[1:IGNORE]) + 1]


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(7))) > 0


def _window(
    rng: np.random.Generator, source: tuple[int, int], box: Box, target: tuple[int, int]
) -> tuple[float, NDArray[np.float64]]:
    """Choose source pixels per output pixel and the centre (x, y) of a window in which *box* is mostly seen."""
    largest = min(source[0] / target[0], source[1] / target[1])
    top, left, bottom, right = box
    needed = 0.95 * max((bottom - top) / target[0], (right - left) / target[1])
    smallest = min(largest, max(needed, 0.35 * largest))
    if rng.random() < 0.4:
        zoom = largest * float(rng.uniform(0.9, 1.0))
    else:
        zoom = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    centre = []
    for axis, (low, high) in ((1, (left, right)), (0, (top, bottom))):
        half, slack = zoom * target[axis] / 2, 0.15 * (high - low)
        first, last = high - half - slack, low + half + slack
        if first > last:
            first = last = float(rng.uniform(last, first))
        bounds = (half, max(half, source[axis] - half))
        centre.append(float(np.clip(rng.uniform(first, last), *bounds)))
    return zoom, np.array(centre)


def _path(rng: np.random.Generator, frames: int, size: tuple[int, int], span: float) -> Matrices:
    """Return the (T, 2) x and y of a thing about *span* pixels large: wandering, crossing, or leaving and coming back."""
    height, width = size
    start = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.2, 0.85) * height])
    pace = 0.3 * span * float(np.exp(rng.normal(-0.6, 0.7)))
    wander = start + smooth_path(rng, frames, 2, min(pace, 0.25 * width))
    kind, time = rng.random(), np.linspace(0, 1, frames)[:, None]
    if kind < 0.25:
        end = np.array([width - start[0], rng.uniform(0.2, 0.85) * height])
        return start + (end - start) * time * rng.uniform(0.5, 1.0) + (wander - start) * 0.2
    if kind < 0.33 and frames > 2:
        side = -0.5 * span if start[0] < width / 2 else width + 0.5 * span
        away = np.sin(np.pi * time) ** float(rng.uniform(0.5, 1.5))
        return wander + (np.array([side, start[1]]) - start) * away
    return wander


def _adapt(rng: np.random.Generator, piece: Piece, frames: torch.Tensor) -> Pixels:
    """Bring the brightness of *piece* part of the way to that of the clip it is laid on."""
    weight = piece.alpha[0].astype(np.float32)
    mean = float((piece.rgb[0].mean(axis=2) * weight).sum() / max(1.0, float(weight.sum())))
    shift = rng.uniform(0.0, 0.5) * (float(frames.mean()) - mean)
    table = np.clip(np.arange(256) * np.exp(rng.normal(0, 0.1)) + shift, 0, 255).astype(np.uint8)
    return table[piece.rgb]


def _plain_disc(rng: np.random.Generator) -> Piece:
    """Return a disc of one colour, for a library that has nothing to cut out."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    alpha = np.where(x * x + y * y < 0.9, 255, 0).astype(np.uint8)
    return Piece(np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (1, 64, 64, 3)).copy(), alpha[None])
