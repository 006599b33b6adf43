"""What an object loses that is named while others are followed already, against one that is named alone.

    python benchmarks/late.py ../shared/data/train/clips/davis2017/schoolgirls --weights lite-free

Enters: folders of clips with several objects, frames and palette masks of the same stems side by side. Leaves: a
Markdown table on stdout. Of the objects that both the first and the eleventh frame show (of a short clip, the frame
after a third) every second one is named in the first and the others in the later one; then the other way round. What
was named later is scored from the next frame on, object by object, and so it is where the clip begins with that frame
and nobody else was followed before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from numpy.typing import NDArray

import rvos_cli as rvos
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import boundary_f, jaccard

LATER = 10  # the frame in which the others are named
Labels = NDArray[np.uint8]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen, model = begin(clip_parser(__doc__), words, "late.py")
    print("| clip | objects | named while others are followed, J&F | alone |")
    print("| --- | --- | --- | --- |")
    everything = []
    for clip in chosen.clips:
        scores = measure(model, *read_clip(clip))
        everything += scores
        print(
            f"| {clip.name} | {len(scores)} | {' | '.join(f'{x:.3f}' for x in np.mean(scores, axis=0))} |", flush=True
        )
    print(f"| all | {len(everything)} | {' | '.join(f'{x:.3f}' for x in np.mean(everything, axis=0))} |")
    return 0


def measure(model: rvos.Segmenter, frames: list[Labels], truths: list[Labels]) -> list[tuple[float, float]]:
    """Return J&F of each object that was named later, while others were followed and alone."""
    later = min(LATER, len(frames) // 3)
    ids = [one for one in np.unique(truths[later]).tolist() if 0 < one < 255 and (truths[0] == one).any()]
    scores = []
    for late, early in ((ids[::2], ids[1::2]), (ids[1::2], ids[::2])):
        named = only(truths[later], late)
        beside = list(model.stream(frames, first_mask=only(truths[0], early), masks={later: named}))
        alone = list(model.stream(frames[later:], first_mask=named))
        for one in late:
            scores.append(tuple(score(found[-len(alone) :], truths[later:], one) for found in (beside, alone)))
    return scores


def only(labels: Labels, ids: Sequence[int]) -> Labels:
    """Return a mask with some of its objects."""
    return np.where(np.isin(labels, ids), labels, 0).astype(np.uint8)


def score(found: Sequence[rvos.FrameMasks], truths: Sequence[Labels], one: int) -> float:
    """Return J&F of an object behind the first of the frames, where it is there."""
    pairs = [(frame.labels == one, truth == one) for frame, truth in zip(found[1:], truths[1:], strict=True)]
    return float(np.mean([(jaccard(p, t) + boundary_f(p, t)) / 2 for p, t in pairs if t.any()]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
