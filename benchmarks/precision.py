"""Whether the fast forms of a network give the same masks: agreement, J&F and speed beside float32 in torch alone.

    python benchmarks/precision.py --data ../shared/data/dev

Every form follows the objects of the first true mask (one-shot) of each sequence. All go through a sequence, one after
the other, before the next sequence begins. Agreement is the mean IoU of an object's mask with the reference's, over the
frames and objects in which either has a pixel. ``speed`` is the median over the sequences of the ratio of the seconds
that the reference and the form take for a frame (medians, the first frames of each sequence left out).

Enters: a DAVIS root, or a folder that holds one as ``davis``. Leaves: conditions and a Markdown table on stdout.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from clips import Clip, Labels, Stopwatch, find_clips
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import SequenceScorer

WARM_UP = 3
# Form -> arguments of load_model(); the first is the reference.
FORMS: dict[str, dict[str, bool | None]] = {
    "float32, torch alone": {"half": False, "compiled": False},
    "float32, compiled": {"half": False, "compiled": True},
    "default": {"half": None, "compiled": True},
    "`--half`": {"half": True, "compiled": True},
}


@dataclass
class Tally:
    """One form: what it got so far."""

    overlaps: list[float] = field(default_factory=list)
    worst: float = 1.0
    scores: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def compare(clip: Clip, models: dict[str, rvos.Segmenter], tallies: dict[str, Tally], size: int | None) -> None:
    """Let every model go through *clip*, one after the other."""
    reference: list[Labels] = []
    needed: list[float] = []
    for model, tally in zip(models.values(), tallies.values(), strict=True):
        watch, scorer = Stopwatch(left_out=WARM_UP), SequenceScorer("foreground", name=clip.name)
        frames = watch.watch(model.stream(clip.frames, first_mask=clip.truths[0], size=size))
        labels = [frame.labels for frame in frames]
        for mask, truth in zip(labels, clip.labels(), strict=True):
            scorer.feed(mask, truth)
        reference, needed = reference or labels, needed or watch.seconds
        overlaps = [each for pair in zip(reference, labels, strict=True) for each in agreement(*pair)]
        tally.overlaps += overlaps
        tally.worst = min(tally.worst, statistics.fmean(overlaps))
        tally.scores.append(scorer.finish().jf)
        tally.ratios.append(statistics.median(needed) / statistics.median(watch.seconds))


def agreement(first: Labels, second: Labels) -> list[float]:
    """Return the IoU of each object in two label maps (H, W)."""
    ids = np.union1d(np.unique(first), np.unique(second))
    return [
        float(np.sum((first == each) & (second == each)) / np.sum((first == each) | (second == each)))
        for each in ids
        if each
    ]


def table(tallies: dict[str, Tally]) -> str:
    """Return the rows."""
    lines = [
        "| form | mean IoU with the first row | worst sequence | J&F, union | speed |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {statistics.fmean(tally.overlaps):.4f} | {tally.worst:.4f} | {statistics.fmean(tally.scores):.4f} "
        f"| {statistics.median(tally.ratios):.2f} |"
        for name, tally in tallies.items()
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Compare and print."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="DAVIS root, or the folder that holds it as davis")
    parser.add_argument("--weights", default="lite", help="name or file")
    parser.add_argument("--sequences", help="names, with commas between; all if left out")
    parser.add_argument("--size", type=int, help="short side; the weights' own if left out")
    chosen = parser.parse_args(given)
    try:
        clips = find_clips(chosen.data, chosen.sequences.split(",") if chosen.sequences else None)
        models = {name: rvos.load_model(chosen.weights, device="cpu", **form) for name, form in FORMS.items()}
        tallies = {name: Tally() for name in FORMS}
        for clip in clips:
            compare(clip, models, tallies, chosen.size)
            print(f"{clip.name} done", file=sys.stderr, flush=True)
    except RvosError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    model = next(iter(models.values()))
    installed = [name for name in ("torch", "openvino") if find_spec(name)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in installed)
    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {versions}, {torch.get_num_threads()} threads;", end=" ")
    print(f"{model.name} {model.sha256[:8]}, {len(clips)} sequences\n")
    print(f"`{shown_command('precision.py', given)}`\n\n{table(tallies)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
