"""How objects are outlined from boxes, and followed from there, against their true masks.

    python benchmarks/boxes.py ../shared/data/dev/davis/JPEGImages/480p/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout, and the means of all objects below it. Outlines: region score J of each object in every tenth
frame, from the box around its true mask, one object at a time; beside it that of an ellipse in the box. Following: J&F
of the first frame's objects in all other frames, from their boxes together, and from their true masks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from late import only
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import boundary_f, jaccard

EVERY = 10
LEAST = 200  # pixels of an object whose outline is scored
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen, model = begin(clip_parser(__doc__), words, "boxes.py")
    print("| clip | outlines | ellipse, J | outlines, J | objects followed | from boxes, J&F | from masks, J&F |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    outlines, followed = [], []
    for folder in chosen.clips:
        frames, truths = read_clip(folder)
        outlines.append(outlined(model, frames, truths))
        followed.append(follow(model, frames, truths))
        print(row(folder.name, outlines[-1:], followed[-1:]), flush=True)
    print(row("all objects alike", outlines, followed))
    return 0


def row(name: str, outlines: list[NDArray[np.float64]], followed: list[NDArray[np.float64]]) -> str:
    """Return a line of the table with how many scores (n, k) there are, and their means."""
    parts = []
    for scores in (np.concatenate(outlines), np.concatenate(followed)):
        means = [f"{mean:.3f}" for mean in scores.mean(axis=0)] if len(scores) else [""] * scores.shape[1]
        parts += [str(len(scores)), *means]
    return f"| {name} | {' | '.join(parts)} |"


def outlined(model: rvos.Segmenter, frames: list[Labels], truths: list[Labels]) -> NDArray[np.float64]:
    """Return J of an ellipse and of the outline, for each object in every tenth frame: (n, 2)."""
    scores = []
    for frame, truth in list(zip(frames, truths, strict=True))[::EVERY]:
        for mask in (truth == one for one in ids_of(truth)):
            if mask.sum() >= LEAST:
                found = model.outline(frame, [box_around(mask)]) == 1
                scores.append((jaccard(ellipse(mask), mask), jaccard(found, mask)))
    return np.array(scores).reshape(-1, 2)


def follow(model: rvos.Segmenter, frames: list[Labels], truths: list[Labels]) -> NDArray[np.float64]:
    """Return J&F of each object of the first frame, where it is in others, from boxes and from masks: (n, 2)."""
    ids = [one for one in ids_of(truths[0]) if any((truth == one).any() for truth in truths[1:])]
    if not ids:
        return np.zeros((0, 2))
    boxes = {one: box_around(truths[0] == one) for one in ids}
    ways = [model.stream(frames, first_boxes=boxes), model.stream(frames, first_mask=only(truths[0], ids))]
    return np.array([scores_of(list(way), truths, ids) for way in ways]).T


def scores_of(found: list[rvos.FrameMasks], truths: list[Labels], ids: list[int]) -> list[float]:
    """Return J&F of each object in the frames behind the first in which it is."""
    scores = []
    for one in ids:
        pairs = [(frame.labels == one, truth == one) for frame, truth in zip(found, truths, strict=True)]
        there = [(p, t) for p, t in pairs[1:] if t.any()]
        scores.append(float(np.mean([(jaccard(p, t) + boundary_f(p, t)) / 2 for p, t in there])))
    return scores


def ids_of(truth: Labels) -> list[int]:
    """Return the objects of a true mask (H, W)."""
    return [one for one in np.unique(truth).tolist() if 0 < one < 255]


def box_around(mask: Mask) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def ellipse(mask: Mask) -> Mask:
    """Return the ellipse in the box around a mask (H, W)."""
    left, top, right, bottom = box_around(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    radii = (bottom - top) / 2, (right - left) / 2
    inside: Mask = ((y - top) / radii[0] - 1) ** 2 + ((x - left) / radii[1] - 1) ** 2 <= 1
    return inside


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
