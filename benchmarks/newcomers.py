"""How well what comes into the picture later is found, where nobody points at it.

    python benchmarks/newcomers.py ../shared/data/dev/davis/JPEGImages/480p/* ../shared/data/train/clips/davis2016/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout. Of each clip, forwards or backwards, a part is cut out such that nothing of its things is in
the picture for six frames and more, and seven tenths of them, a hundredth of the picture and more, in eight frames or
more of the 34 behind; clips without such a part are left out. Scored is the mean region score J of these frames: of
all that was found, of the one object that fits best, and, as what could be reached, of all that is found by who begins
with the first of them. Then the same there and back again: the clip backwards, in which the things are there at first
and leave, and forwards, where they return; J of the object that they were at first, and of the one that fits best.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.errors import DatasetError, RvosError
from rvos_cli.evaluation import jaccard

OUTSIDE, BEHIND, INSIDE = 6, 34, 8  # frames without anything, looked at behind them, and with the things at least
WHOLE, SIZE = 0.7, 0.01  # of the things are inside, and fill the picture, at least
WIDTHS, HEIGHTS = (0.4, 0.5, 0.6, 0.7), (0.5, 0.7, 1.0)  # of parts, of the whole
ACROSS, DOWN = 9, 5  # places of parts
Labels = NDArray[np.uint8]
Masks = NDArray[np.bool_]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen, model = begin(clip_parser(__doc__), words, "newcomers.py")
    print("| clip | comes in: all | best object | begun there | comes back: as the same | best object | objects |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for folder in chosen.clips:
        part = coming_in(*read_clip(folder))
        if part is not None:
            rows.append(measure(model, part))
            print_row(folder.name, rows[-1])
    if not rows:
        raise DatasetError("in none of these clips does anything come in", cure="name more of them")
    print_row(f"mean of {len(rows)}", np.mean(rows, axis=0).tolist())
    return 0


def print_row(name: str, scores: Sequence[float]) -> None:
    """Print a row of the table."""
    print(f"| {name} | {' | '.join(f'{x:.3f}' for x in scores[:-1])} | {scores[-1]:.1f} |", flush=True)


@dataclass(frozen=True)
class Part:
    """A part of a clip into which things come.

    Attributes:
        frames: (h, w, 3) each.
        things: (T, h, w), where they are.
        inside: the numbers of the frames in which they are.
    """

    frames: list[Labels]
    things: Masks
    inside: list[int]


def coming_in(frames: list[Labels], labels: list[Labels]) -> Part | None:
    """Return the part of a clip with the most frames in which its things are, by its size; None without any."""
    things = (np.stack(labels) > 0) & (np.stack(labels) < 255)
    best, found = 0.0, None
    whole = things.sum(axis=(1, 2))
    for width, height in product(WIDTHS, HEIGHTS):
        for box in boxes(things.shape[1:], width, height):
            area = box[0].stop - box[0].start, box[1].stop - box[1].start
            there = things[:, box[0], box[1]].sum(axis=(1, 2))
            for way in (1, -1):
                seen = (there[::way] > WHOLE * whole[::way]) & (there[::way] > SIZE * area[0] * area[1])
                for start in range(0, len(frames) - OUTSIDE - INSIDE, 2):
                    if there[::way][start : start + OUTSIDE].any():
                        continue
                    inside = OUTSIDE + np.flatnonzero(seen[start + OUTSIDE : start + OUTSIDE + BEHIND])
                    if len(inside) >= INSIDE and len(inside) * width * height > best:
                        best = len(inside) * width * height
                        found = box, way, slice(start, start + int(inside[-1]) + 1), inside.tolist()
    if found is None:
        return None
    box, way, shown, inside = found
    pictures = [np.ascontiguousarray(frame[box]) for frame in frames[::way][shown]]
    return Part(pictures, things[::way][shown][:, box[0], box[1]], inside)


def boxes(size: tuple[int, ...], width: float, height: float) -> Iterator[tuple[slice, slice]]:
    """Yield parts of a picture (H, W) of this share of its width and height, rows and columns."""
    rows, columns = (int(full * share) // 2 * 2 for full, share in zip(size, (height, width), strict=True))
    for left in np.unique(np.linspace(0, size[1] - columns, ACROSS).astype(int)).tolist():
        for top in np.unique(np.linspace(0, size[0] - rows, DOWN).astype(int)).tolist():
            yield slice(top, top + rows), slice(left, left + columns)


def measure(model: rvos.Segmenter, part: Part) -> tuple[float, ...]:
    """Return the scores of a row."""
    found = labels_of(model, part.frames)
    begun = labels_of(model, part.frames[part.inside[0] :])
    pairs = [(found[place], part.things[place]) for place in part.inside]
    anew = [(begun[place - part.inside[0]], part.things[place]) for place in part.inside]
    last = len(part.frames) - 1
    both = labels_of(model, [*part.frames[::-1], *part.frames[1:]])
    leaving = [(both[last - place], part.things[place]) for place in part.inside]
    back = [(both[last + place], part.things[place]) for place in part.inside]
    at_first, _ = best_of(leaving)
    count = len(np.unique(np.stack(both))) - 1
    return of_all(pairs), best_of(pairs)[1], of_all(anew), of_one(back, at_first), best_of(back)[1], count


def labels_of(model: rvos.Segmenter, frames: list[Labels]) -> list[Labels]:
    """Return the labels (H, W) of frames in which nothing was given."""
    return [frame.labels for frame in model.stream(frames)]


def of_all(pairs: Sequence[tuple[Labels, Masks]]) -> float:
    """Return the mean J of all objects as one."""
    return float(np.mean([jaccard(labels > 0, things) for labels, things in pairs]))


def of_one(pairs: Sequence[tuple[Labels, Masks]], identity: int) -> float:
    """Return the mean J of one object; 0 names none."""
    return float(np.mean([jaccard(labels == identity, things) for labels, things in pairs])) if identity else 0.0


def best_of(pairs: Sequence[tuple[Labels, Masks]]) -> tuple[int, float]:
    """Return the object that fits best, and its mean J; 0 where there is none."""
    ids = {one for labels, _ in pairs for one in np.unique(labels).tolist()} - {0}
    return max(((one, of_one(pairs, one)) for one in ids), key=lambda pair: pair[1], default=(0, 0.0))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
