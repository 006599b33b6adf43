"""How an object is followed on whose first mask was wrong, from the frame on in which a right mask corrects it.

    python benchmarks/corrections.py --data ../shared/data/dev

Enters: DAVIS sequences, all their objects at once. Leaves: a Markdown table on stdout. The first mask lacks the lower
half of every object, is too wide by a twentieth of the frame's height, or lies somewhere else; in the 21st frame the
true mask is given, and J&F of the nineteen frames before it and the fifteen behind it are scored, object by object.
Beside it: the same without that mask, with a right first mask, and begun with that frame by who knows nothing of those
before. Before it the mask is given as one that says all of its frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from clips import Clip, Labels, find_clips
from late import score
from PIL import Image
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.errors import RvosError

CORRECTED, SCORED = 20, 15
Wrong = Callable[[Labels], Labels]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder of one")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    clips = find_clips(chosen.data, None)
    model = rvos.load_model(chosen.weights, device=chosen.device)
    print(f"{date.today()}, {processor()}, torch {torch.__version__}, {chosen.weights} {model.sha256[:8]}\n")
    print(f"`{shown_command('corrections.py', sys.argv[1:])}`\n")
    print("| first mask | sequences | before it: not corrected | corrected | behind: not | corrected | begun there |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for what, wrong in FIRST_MASKS.items():
        scores = np.mean([measure(model, clip, wrong) for clip in clips], axis=0)
        print(f"| {what} | {len(clips)} | {' | '.join(f'{x:.3f}' for x in scores)} |", flush=True)
    return 0


def measure(model: rvos.Segmenter, clip: Clip, wrong: Wrong) -> tuple[float, ...]:
    """Return the mean J&F of a clip's objects: before the mask not corrected and corrected, behind it, begun there."""
    count = CORRECTED + 1 + SCORED
    frames = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(clip.frames.glob("*.jpg"))[:count]]
    truths = [np.where(labels == 255, 0, labels).astype(np.uint8) for labels in islice(clip.labels(), count)]
    first, right = wrong(truths[0]), truths[CORRECTED]
    plain = list(model.stream(frames, first_mask=first))
    corrected = list(model.stream(frames, first_mask=first, masks={CORRECTED: right}))
    whole = list(model.stream(frames[: CORRECTED + 1], first_mask=first, frame_masks={CORRECTED: right}))
    begun = list(model.stream(frames[CORRECTED:], first_mask=right))
    before, behind = truths[:CORRECTED], truths[CORRECTED:]
    pairs = [(run[:CORRECTED], before) for run in (plain, whole)]
    pairs += [(run, behind) for run in (plain[CORRECTED:], corrected[CORRECTED:], begun)]
    ids = [one for one in np.unique(right).tolist() if one]
    return tuple(float(np.mean([score(run, truth, one) for one in ids])) for run, truth in pairs)


def half(labels: Labels) -> Labels:
    """Return the upper half of every object."""
    upper = np.zeros_like(labels)
    for one in np.unique(labels[labels > 0]):
        rows = np.flatnonzero((labels == one).any(axis=1))
        middle = (rows[0] + rows[-1] + 1) // 2
        upper[:middle][labels[:middle] == one] = one
    return upper


def wide(labels: Labels) -> Labels:
    """Return the objects, too wide by a twentieth of the height to each side."""
    width = len(labels) // 20
    return np.asarray(cv2.dilate(labels, np.ones((2 * width + 1, 2 * width + 1), np.uint8)), np.uint8)


def elsewhere(labels: Labels) -> Labels:
    """Return the objects a third of the frame away."""
    height, width = labels.shape
    return np.roll(labels, (height // 3, width // 3), axis=(0, 1))


FIRST_MASKS: dict[str, Wrong] = {
    "right": lambda labels: labels,
    "the upper half": half,
    "too wide": wide,
    "somewhere else": elsewhere,
}

if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
