"""How objects are followed between several masks that somebody has drawn, against one mask of the first frame.

    python benchmarks/several_masks.py ../shared/data/dev/davis/JPEGImages/480p/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout. The first frame's true mask is given, and those of one, two, four and eight frames more,
evenly spread; objects are those of the first frame, and all of them are in each mask that shows them. J&F is scored
object by object in the frames without a mask, where the object is: in those that have none in any row, so that rows
may be compared, and in all of a row's own.
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

MORE = 0, 1, 2, 4, 8  # masks behind the first
Labels = NDArray[np.uint8]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen, model = begin(clip_parser(__doc__), words, "several_masks.py")
    clips = [measure(model, *read_clip(folder)) for folder in chosen.clips]
    print("| masks behind the first | clips | objects | same frames, J&F | all frames without a mask |")
    print("| --- | --- | --- | --- | --- |")
    for row, more in enumerate(MORE):
        scores = [score for clip in clips for score in clip[row]]
        means = " | ".join(f"{x:.3f}" for x in np.mean(scores, axis=0))
        print(f"| {more} | {len(clips)} | {len(scores)} | {means} |")
    return 0


def measure(model: rvos.Segmenter, frames: list[Labels], truths: list[Labels]) -> list[list[tuple[float, float]]]:
    """Return for each number of masks, and of each object, J&F in the frames that no row gives and in all others."""
    ids = [one for one in np.unique(truths[0]).tolist() if 0 < one < 255]
    truths = [only(truth, ids) for truth in truths]
    given = [[round(n * len(frames) / (more + 1)) for n in range(more + 1)] for more in MORE]
    ever = {index for indices in given for index in indices}
    rows = []
    for indices in given:
        found = list(model.stream(frames, frame_masks={index: truths[index] for index in indices}))
        every = [score(found, truths, one, without=indices) for one in ids]
        common = [score(found, truths, one, without=ever) for one in ids]
        rows.append([pair for pair in zip(common, every, strict=True) if not np.isnan(pair).any()])
    return rows


def score(found: list[rvos.FrameMasks], truths: list[Labels], one: int, *, without: Sequence[int] | set[int]) -> float:
    """Return the mean J&F of an object where it is, in all but some frames; NaN where there is none."""
    pairs = [
        (frame.labels == one, truth == one)
        for frame, truth in zip(found, truths, strict=True)
        if frame.index not in without and (truth == one).any()
    ]
    return float(np.mean([(jaccard(p, t) + boundary_f(p, t)) / 2 for p, t in pairs])) if pairs else float("nan")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
