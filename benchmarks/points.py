"""How objects are outlined from points, and followed from there, against their true masks.

    python benchmarks/points.py ../shared/data/dev/davis/JPEGImages/480p/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout, and the means of all objects below it. Outlines: region score J of each object in every tenth
frame, one object at a time, from the point farthest from its rim, from one and from three random points that are not
on the rim, from one together with two points on what was wrong, and from the box around its true mask. Following:
J&F of the first frame's objects in all other frames, from a random point on each, 0 where rvos refuses these, and from
their true masks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from boxes import EVERY, LEAST, Labels, Mask, box_around, ids_of, row, scores_of
from clip_folders import begin, clip_parser, read_clip
from late import only
from numpy.typing import NDArray
from scipy import ndimage

import rvos_cli as rvos
from rvos_cli.errors import MaskError, RvosError
from rvos_cli.evaluation import jaccard

RIM = 3  # pixels
Point = tuple[float, float]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen, model = begin(clip_parser(__doc__), words, "points.py")
    print(
        "| clip | outlines | middle, J | one, J | three, J | corrected, J | box, J | followed | one, J&F | masks, J&F |"
    )
    print(f"|{' --- |' * 10}")
    outlines, followed = [], []
    for number, folder in enumerate(chosen.clips):
        frames, truths = read_clip(folder)
        rng = np.random.default_rng(number)
        outlines.append(outlined(model, frames, truths, rng))
        followed.append(follow(model, frames, truths, rng))
        print(row(folder.name, outlines[-1:], followed[-1:]), flush=True)
    print(row("all objects alike", outlines, followed))
    return 0


def outlined(
    model: rvos.Segmenter, frames: list[Labels], truths: list[Labels], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return J of each object in every tenth frame from the prompts of the table: (n, 5)."""
    scores = []
    for frame, truth in list(zip(frames, truths, strict=True))[::EVERY]:
        for mask in (truth == one for one in ids_of(truth)):
            if mask.sum() < LEAST:
                continue
            several = [inner_point(mask, rng) for _ in range(3)]
            found = [model.outline(frame, points=[some]) == 1 for some in (middle_of(mask), several[0], several)]
            found.append(corrected(model, frame, mask, several[0], found[1]))
            found.append(model.outline(frame, [box_around(mask)]) == 1)
            scores.append([jaccard(each, mask) for each in found])
    return np.array(scores).reshape(-1, 5)


def corrected(model: rvos.Segmenter, frame: Labels, mask: Mask, point: Point, found: Mask) -> Mask:
    """Return the outline when somebody has pointed twice at the middle of the largest piece that was wrong."""
    points: dict[int, list[Point]] = {1: [point], 0: []}
    for _ in range(2):
        missing, wrong = mask & ~found, found & ~mask
        piece = max((largest(missing), largest(wrong)), key=np.count_nonzero)
        if piece.any():
            points[1 if (piece & mask).any() else 0].append(middle_of(piece))
        found = model.outline(frame, points={one: some for one, some in points.items() if some}) == 1
    return found


def largest(mask: Mask) -> Mask:
    """Return the largest piece of a mask (H, W)."""
    pieces, count = ndimage.label(mask)
    piece: Mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else mask
    return piece


def follow(
    model: rvos.Segmenter, frames: list[Labels], truths: list[Labels], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return J&F of each object of the first frame, where it is in others, from points and from masks: (n, 2)."""
    ids = [one for one in ids_of(truths[0]) if any((truth == one).any() for truth in truths[1:])]
    if not ids:
        return np.zeros((0, 2))
    points = {one: inner_point(truths[0] == one, rng) for one in ids}
    masks = scores_of(list(model.stream(frames, first_mask=only(truths[0], ids))), truths, ids)
    try:
        return np.array([scores_of(list(model.stream(frames, first_points=points)), truths, ids), masks]).T
    except MaskError:
        return np.array([[0.0] * len(ids), masks]).T


def inner_point(mask: Mask, rng: np.random.Generator) -> Point:
    """Return the middle of a random pixel of a mask (H, W) that is not on its rim, if it has such."""
    away = _to_rim(mask)
    return _point(np.argwhere(away >= min(RIM, away.max())), rng.random())


def middle_of(mask: Mask) -> Point:
    """Return the middle of the pixel of a mask (H, W) that is farthest from its rim."""
    away = _to_rim(mask)
    return _point(np.argwhere(away == away.max()), 0.5)


def _to_rim(mask: Mask) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return distances


def _point(places: NDArray[np.int64], share: float) -> Point:
    y, x = places[int(share * len(places))]
    return float(x) + 0.5, float(y) + 0.5


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
