"""The kinds of clip: real ones, photographs set in motion, composites of several things, and empty scenes.

A :class:`~rvos_cli.training.library.Library` and a random generator enter; a
:class:`~rvos_cli.training.synthesis.Canvas` leaves, whose labels are still as the source had them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from rvos_cli.training.library import Library
from rvos_cli.training.pieces import (
    Box,
    Piece,
    adapt,
    bounding_box,
    cut_out,
    draw_piece,
    object_ids,
    read_frames,
)
from rvos_cli.training.synthesis import (
    IGNORE,
    Canvas,
    Layer,
    Matrices,
    Pixels,
    Warp,
    fill_holes,
    similarity,
    smooth_path,
    translation,
    wobble,
)


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
        sequence = self.library.draw_sequence(rng)
        images, masks = read_frames(self.library, rng, sequence, frames=self.frames, max_gap=self.max_gap)
        present = (masks[0] > 0) & (masks[0] != IGNORE)
        camera = self._camera(rng, images.shape[1:3], bounding_box(present), motion=0.2, angle=0.04)
        warp = Warp(camera, masks.shape[1:], self.size)
        return Canvas(warp.pictures(images), warp.labels(masks), sequence.complete, sequence.separate)

    def photograph(self, rng: np.random.Generator) -> Canvas:
        """Set a photograph in motion: as a whole, thing by thing, or one of its things before another scene."""
        photograph = self.library.draw_photograph(rng)
        image, mask = self.library.pair(photograph.image, photograph.mask)
        ids = object_ids(mask)
        if not ids:
            return self._moved(rng, image, mask, photograph.complete)
        portrait = image.shape[0] > image.shape[1]
        choice = rng.random()
        if photograph.separate and choice < (0.6 if portrait else 0.2):
            piece = cut_out(image[None], mask[None] == ids[int(rng.integers(len(ids)))])
            return self._obstruct(rng, self._place(rng, self._scene(rng), [piece]))
        box = bounding_box(np.isin(mask, rng.permutation(ids)[: self.max_objects]))
        camera = self._camera(rng, image.shape[:2], box, motion=1.0, angle=0.12)
        if not photograph.separate or choice < 0.55:
            canvas = self._moved(rng, image, mask, photograph.complete, camera)
        else:
            canvas = self._take_apart(rng, image, mask, camera, photograph.complete)
        canvas.separate = photograph.separate
        if photograph.separate and rng.random() < 0.3 and len(ids) < self.max_objects:
            canvas = self._place(rng, canvas, self._pieces(rng, self.max_objects - len(ids)))
        return self._obstruct(rng, canvas)

    def composite(self, rng: np.random.Generator) -> Canvas:
        """Let one to three things cross a scene or a real clip; sometimes two of them are identical twins."""
        on_clip = bool(self.library.sequences) and rng.random() < 0.3
        canvas = self.real(rng) if on_clip else self._scene(rng)
        pieces = self._pieces(rng, max(1, self.max_objects - len(object_ids(canvas.labels.numpy()))))
        if len(pieces) > 1 and rng.random() < 0.3:
            pieces[1] = pieces[0]
        return self._obstruct(rng, self._place(rng, canvas, pieces))

    def empty(self, rng: np.random.Generator) -> Canvas:
        """Let the camera move over a scene with nothing on it."""
        return self._obstruct(rng, self._scene(rng))

    def _pieces(self, rng: np.random.Generator, most: int) -> list[Piece]:
        count = int(rng.integers(1, most + 1))
        return [draw_piece(self.library, rng, frames=self.frames, max_gap=self.max_gap) for _ in range(count)]

    def _scene(self, rng: np.random.Generator) -> Canvas:
        """Let the camera move over a background, nothing on it yet."""
        image, complete = self._background(rng)
        return self._moved(rng, image, np.zeros(image.shape[:2], np.uint8), complete)

    def _background(self, rng: np.random.Generator) -> tuple[Pixels, bool]:
        background = self.library.draw_background(rng)
        if background is None:
            return np.full((*self.size, 3), rng.integers(0, 256, 3), np.uint8), True
        return self.library.rgb(background.image), background.complete

    def _moved(
        self, rng: np.random.Generator, image: Pixels, mask: Pixels, complete: bool, camera: Matrices | None = None
    ) -> Canvas:
        """Let the camera move over a picture that bends as a whole, its labels with it."""
        if camera is None:
            y, x = rng.uniform(0, 0.75, 2) * image.shape[:2]
            box = (int(y), int(x), int(y + image.shape[0] / 4), int(x + image.shape[1] / 4))
            camera = self._camera(rng, image.shape[:2], box, motion=1.0, angle=0.1)
        warp = Warp(camera, mask.shape, self.size, wobble(rng, self.frames, 0.025))
        return Canvas(warp.pictures(image[None]), warp.labels(mask[None]), complete)

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
        chosen = [int(label) for label in rng.permutation(object_ids(mask))[: self.max_objects]]
        moving = np.isin(mask, chosen)
        rest = np.where(moving, 0, mask).astype(np.uint8)
        canvas = self._moved(rng, fill_holes(image, _grown(moving)), rest, complete, camera)
        for label in chosen:
            top, left, bottom, right = box = bounding_box(mask == label, margin=3)
            piece = cut_out(image[None], mask[None] == label, box=box)
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
        taken = object_ids(canvas.labels.numpy())
        extent = float(np.exp(rng.uniform(np.log(0.25), np.log(0.85))))
        for piece in pieces:
            tall, wide = piece.alpha.shape[1:]
            scale = extent * float(np.exp(rng.normal(0, 0.25))) * min(height / tall, 1.2 * width / wide)
            scale = float(np.clip(scale, 0.2 * height / max(tall, wide), 2.2))
            path = _path(rng, self.frames, self.size, scale * float(np.sqrt(tall * wide)))
            if piece.cut_below:
                path[:, 1] = np.maximum(path[:, 1], height - 0.45 * scale * tall)
            move = smooth_path(rng, self.frames, 2, float(np.exp(rng.normal(0, 0.6))))
            turn = rng.normal(0, 0.12) + 0.06 * move[:, 1]
            centre = np.repeat(np.array([[wide / 2, tall / 2]]), self.frames, 0)
            own = similarity(centre, np.exp(0.04 * move[:, 0]) / scale, turn, mirror=bool(rng.random() < 0.5))
            maps = own @ np.stack([translation(-step) for step in path])
            bend = wobble(rng, self.frames, 0.04) if rng.random() < 0.7 else None
            label = next(free for free in range(1, IGNORE) if free not in taken)
            taken = [*taken, label]
            canvas.draw(Layer(adapt(rng, piece, canvas.frames), piece.alpha, maps, bend), label)
        return canvas

    def _obstruct(self, rng: np.random.Generator, canvas: Canvas) -> Canvas:
        """Sometimes set posts, cut out of a scene, in front of everything; they are background."""
        if rng.random() > 0.12:
            return canvas
        height, width = self.size
        image, _ = self._background(rng)
        move = smooth_path(rng, self.frames, 1, 0.02 * width)
        turn = np.full(self.frames, rng.normal(0, 0.15))
        for _ in range(int(rng.integers(1, 4))):
            breadth = int(rng.integers(3, 16)) * image.shape[0] // (2 * height) + 2
            left = int(rng.integers(max(1, image.shape[1] - breadth)))
            strip = image[None, :, left : left + breadth]
            opaque = np.full(strip.shape[:3], 255, np.uint8)
            place = rng.uniform(0, width) + move[:, 0]
            centre = np.repeat(np.array([[strip.shape[2] / 2, strip.shape[1] / 2]]), self.frames, 0)
            maps = similarity(centre, np.full(self.frames, image.shape[0] / (2 * height)), turn)
            maps = maps @ np.stack([translation((-x, -height / 2)) for x in place])
            canvas.draw(Layer(adapt(rng, Piece(strip, opaque), canvas.frames), opaque, maps), 0)
        return canvas


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(3))) > 0


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
    """Return the (T, 2) x and y of a thing about *span* pixels large: wandering, crossing, or out and back."""
    height, width = size
    start: Matrices = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.2, 0.85) * height])
    pace = 0.3 * span * float(np.exp(rng.normal(-0.6, 0.7)))
    wander: Matrices = start + smooth_path(rng, frames, 2, min(pace, 0.25 * width))
    kind, time = rng.random(), np.linspace(0, 1, frames)[:, None]
    if kind < 0.25:
        end = np.array([width - start[0], rng.uniform(0.2, 0.85) * height])
        wander = start + (end - start) * time * rng.uniform(0.5, 1.0) + (wander - start) * 0.2
    elif kind < 0.35 and frames > 2:
        side = -0.5 * span if start[0] < width / 2 else width + 0.5 * span
        away = np.sin(np.pi * time) ** float(rng.uniform(0.5, 1.5))
        wander = wander + (np.array([side, start[1]]) - start) * away
    return wander
