"""How well an object's confidence in a frame tells whether its mask is right.

    python benchmarks/confidence.py ../shared/data/dev/davis/JPEGImages/480p/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout. All objects are followed from the true first mask; of every object that is seen in a frame, J
is compared with the confidence: the area under the ROC curve for masks with a J of less than 0.5, and than 0.7; and
what is doubtful. Last, over objects whose J varies: the rank correlation of the two within each.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import jaccard
from rvos_cli.results import DOUBTFUL

WRONG, PARTLY = 0.5, 0.7  # J of less
FEWEST, VARIES = 10, 0.08  # frames of an object, and the standard deviation of its J, for a rank correlation
Values = NDArray[np.float64]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = clip_parser(__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth frame")
    chosen, model = begin(parser, words, "confidence.py")
    objects = [pair for clip in chosen.clips for pair in measure(model, clip, chosen.every)]
    print(f"{len(chosen.clips)} clips, {len(objects)} objects\n")
    score, sure = (np.concatenate([pair[place] for pair in objects]) for place in (0, 1))
    print(
        f"| frames | J < {WRONG} | area | J < {PARTLY} | area | doubtful | of these J < {WRONG} | J < {PARTLY} |",
        end="",
    )
    print(f" of all with J < {WRONG} |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    wrong, partly, doubtful = score < WRONG, score < PARTLY, sure < DOUBTFUL
    found = [share(wrong, doubtful), share(partly, doubtful), share(doubtful, wrong)]
    print(
        f"| {len(score)} | {wrong.mean():.0%} | {area(-sure, wrong):.3f} | {partly.mean():.0%} "
        f"| {area(-sure, partly):.3f} | {doubtful.mean():.0%} | {' | '.join(f'{x:.0%}' for x in found)} |\n"
    )
    varied = [pair for pair in objects if len(pair[0]) > FEWEST and pair[0].std() > VARIES]
    within = [float(np.corrcoef(ranks(one), ranks(other))[0, 1]) for one, other in varied]
    if within:
        print(f"within {len(within)} objects: {np.mean(within):.2f} in the mean, {min(within):.2f} at least")
    return 0


def measure(model: rvos.Segmenter, clip: Path, every: int) -> Iterator[tuple[Values, Values]]:
    """Yield J and confidence of each object of a clip in the frames in which it is seen, but for the first."""
    frames, labels = (items[::every] for items in read_clip(clip))
    truths = [np.where(mask == 255, 0, mask).astype(np.uint8) for mask in labels]
    pairs: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for frame in model.stream(frames, first_mask=truths[0]):
        for one, confidence in frame.confidence.items():
            found, there = frame.labels == one, truths[frame.index] == one
            if frame.index and (found.any() or there.any()):
                pairs[one].append((jaccard(found, there), confidence))
    for rows in pairs.values():
        scores, sure = np.array(rows).T
        yield scores, sure


def ranks(values: Values) -> Values:
    """Return the rank of each value; of equal ones the mean of theirs."""
    order = np.sort(values)
    first, behind = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
    return (first + behind - 1) / 2


def area(values: Values, positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of values that are to be larger where it is *positive*."""
    count, rest = int(positive.sum()), int((~positive).sum())
    return float((ranks(values)[positive].sum() - count * (count - 1) / 2) / max(1, count * rest))


def share(some: NDArray[np.bool_], all_: NDArray[np.bool_]) -> float:
    """Return how many of *all_* are *some*, 0..1."""
    return float((some & all_).sum() / max(1, all_.sum()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
