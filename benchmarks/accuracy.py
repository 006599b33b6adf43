"""How good the masks are: one-shot and zero-shot scores on DAVIS sequences, with the default options.

    python benchmarks/accuracy.py --data ../shared/data/dev

Enters: a DAVIS root (JPEGImages/480p, Annotations/480p), or a folder that holds one as ``davis``. Leaves: two Markdown
tables on stdout, JSON and contact sheets where asked for. What is measured:

- one-shot: the first true mask is given and followed. Union: all objects as one, as in DAVIS-2016. Unmerged: object by
  object, as in DAVIS-2017 (semi-supervised). The first and the last frame are left out.
- zero-shot: nothing is given. Union: all objects found against all true ones, first and last frame left out.
  Unsupervised: as in DAVIS-2017, every frame, found objects are matched to true ones for the whole sequence; if more
  than 20 are found, the 20 with most pixels count.
- objects that are not there: objects with a pixel in the frame, less the one that is matched to the true object; mean
  over the frames of each sequence whose first mask has one object, then over the sequences.
- steadiness: the IoU of the masks of each frame and the next, one-shot, all objects as one, over the pixels whose true
  label does not change between the two. A mask that is wrong but stays so is steady, one that flickers is not.
- frames a second: reading, network and masks, but not scoring; without the first frame, which warms up.

Means are over sequences, but over objects for 'unmerged' and 'unsupervised', as the official tools do.

Six sequences have six first frames, and much hangs on them. ``--cut N`` cuts each sequence into excerpts of N frames
and scores these as sequences of their own: what is found, and followed, from anywhere in a video on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from clips import Clip, Labels, Stopwatch, find_clips, mean, score_one_shot, score_union
from contact_sheet import ContactSheet, against_truth, over_picture
from steadiness import Steadiness

import rvos_cli as rvos
from rvos_cli.errors import RvosError, UsageError
from rvos_cli.evaluation import MAX_PROPOSALS, SequenceScore, SequenceScorer

# Row of the report: what it is called, the first rung, the goal.
GOALS = {
    "one-shot J&F, union": ("0.82", "0.88"),
    "one-shot J&F, unmerged": ("", ""),
    "zero-shot J&F, union": ("0.72", "0.82"),
    "zero-shot J&F, unsupervised protocol": ("0.70", "0.80"),
    "bmx-trees, one-shot J&F, unmerged": ("0.50", "0.65"),
    "objects found that are not there": ("at most 2", "at most 0.5"),
    "steadiness, one-shot": ("", ""),
}
SHORTEST = 4  # frames of an excerpt, of which the first and the last do not count


@dataclass(frozen=True)
class Result:
    """The scores of one sequence; lists have one entry per true object."""

    name: str
    sequence: str
    frames: int
    objects: int
    one_shot_union: float
    one_shot_unmerged: list[float]
    zero_shot_union: float
    zero_shot_unsupervised: list[float]
    surplus: float
    steadiness: float
    track_fps: float
    segment_fps: float


class Sheets:
    """The pictures asked for of one clip and task."""

    def __init__(self, chosen: argparse.Namespace, clip: Clip, task: str) -> None:
        """Plan the sheets of *clip*."""
        name, frames = f"{clip.name}_{task}.png", len(clip.truths)
        self._sheets: dict[Path, ContactSheet] = {}
        if chosen.contact_sheet is not None:
            self._sheets[chosen.contact_sheet / name] = ContactSheet(frames, over_picture)
        if chosen.mask_sheet is not None:
            self._sheets[chosen.mask_sheet / name] = ContactSheet(frames, against_truth, tiles=6, columns=6, width=200)

    def add(self, frame: rvos.FrameMasks, truth: Labels) -> None:
        """Show a frame to every sheet."""
        for sheet in self._sheets.values():
            sheet.add(frame, truth)

    def save(self) -> None:
        """Write all of them."""
        for path, sheet in self._sheets.items():
            sheet.save(path)


def one_shot(model: rvos.Segmenter, clip: Clip, options: dict[str, Any], sheets: Sheets) -> dict[str, Any]:
    """Follow the first mask of *clip* and score it merged and unmerged."""
    watch, steadiness = Stopwatch(), Steadiness()
    options = {key: value for key, value in options.items() if key != "max_objects"}
    stream = model.stream(clip.input(), first_mask=clip.truths[0], **options)

    def compare(frame: rvos.FrameMasks, truth: Labels) -> None:
        steadiness.feed(frame.labels, truth)

    union, unmerged = score_one_shot(watch.watch(stream), clip.labels(), clip.name, compare, sheets.add)
    sheets.save()
    return {
        "one_shot_union": union,
        "one_shot_unmerged": unmerged,
        "steadiness": steadiness.mean,
        "track_fps": watch.fps,
    }


def zero_shot(model: rvos.Segmenter, clip: Clip, options: dict[str, Any], sheets: Sheets) -> dict[str, Any]:
    """Find the objects of *clip* and score them as one and matched."""
    watch = Stopwatch()
    found: list[Labels] = []

    def keep(frame: rvos.FrameMasks, _: Labels) -> None:
        found.append(frame.labels.copy())

    stream = model.stream(clip.input(), **options)
    union = score_union(watch.watch(stream), clip.labels(), clip.name, keep, sheets.add)
    sheets.save()
    matched, surplus = match(clip, found)
    return {
        "zero_shot_union": union,
        "zero_shot_unsupervised": [entry.jf for entry in matched.objects],
        "surplus": surplus,
        "segment_fps": watch.fps,
    }


def match(clip: Clip, found: list[Labels]) -> tuple[SequenceScore, float]:
    """Return the unsupervised scores of the 20 largest objects, and how many objects a frame are not there."""
    counts = np.stack([np.bincount(labels.ravel(), minlength=256) for labels in found])
    counts[:, 0] = 0
    largest = np.argsort(-counts.sum(axis=0), kind="stable")[:MAX_PROPOSALS]
    renumber = np.zeros(256, np.uint8)
    renumber[largest] = np.arange(1, len(largest) + 1)
    renumber[counts.sum(axis=0) == 0] = 0
    scorer = SequenceScorer("unsupervised", name=clip.name)
    for labels, truth in zip(found, clip.labels(), strict=True):
        scorer.feed(renumber[labels], truth)
    score = scorer.finish()
    present = counts > 0
    present[:, [largest[entry.proposal - 1] for entry in score.objects]] = False
    return score, float(present.sum(axis=1).mean())


def summarise(results: Sequence[Result]) -> dict[str, float | None]:
    """Return the rows of ``GOALS``."""
    bmx = [value for result in results if result.sequence == "bmx-trees" for value in result.one_shot_unmerged]
    values = [
        mean([result.one_shot_union for result in results]),
        mean([value for result in results for value in result.one_shot_unmerged]),
        mean([result.zero_shot_union for result in results]),
        mean([value for result in results for value in result.zero_shot_unsupervised]),
        mean(bmx),
        mean([result.surplus for result in results if result.objects == 1]),
        mean([result.steadiness for result in results]),
    ]
    return dict(zip(GOALS, values, strict=True))


def tables(results: Sequence[Result], *, excerpts: bool = False) -> str:
    """Return both tables as Markdown; the goals are not those of *excerpts*."""
    lines = ["| row | measured | first rung | goal |", "| --- | --- | --- | --- |"]
    for row, value in summarise(results).items():
        goals = ("", "") if excerpts else GOALS[row]
        lines.append(f"| {row} | {'-' if value is None else f'{value:.3f}'} | {' | '.join(goals)} |")
    lines += [
        "",
        "| sequence | frames | one-shot union | one-shot unmerged | zero-shot union | unsupervised | not there "
        "| steadiness | track fps | segment fps |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        scores = [
            result.one_shot_union,
            float(np.mean(result.one_shot_unmerged)),
            result.zero_shot_union,
            float(np.mean(result.zero_shot_unsupervised)),
        ]
        cells = [result.name, str(result.frames), *(f"{value:.3f}" for value in scores), f"{result.surplus:.2f}"]
        cells.append(f"{result.steadiness:.3f}")
        lines.append(f"| {' | '.join([*cells, f'{result.track_fps:.1f}', f'{result.segment_fps:.1f}'])} |")
    return "\n".join(lines)


def describe_machine(model: rvos.Segmenter) -> str:
    """Return processor, cores, accelerator and the versions that matter."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    accelerator = f", {torch.cuda.get_device_name(model.device)}" if model.device.type == "cuda" else ""
    return f"{processor}, {cores} cores{accelerator}; device {model.device}; torch {torch.__version__}"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder with davis/")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, help="network short side (default: the weights' own)")
    parser.add_argument("--max-objects", type=int)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--sequences", help="only these, with commas between")
    parser.add_argument(
        "--stride-sequences", type=int, default=1, metavar="N", help="only every N-th, for a quick look"
    )
    parser.add_argument("--cut", type=int, default=0, metavar="N", help="score excerpts of N frames, 4 or more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file")
    parser.add_argument("--contact-sheet", type=Path, metavar="DIR", help="also write pictures with 12 frames each")
    parser.add_argument(
        "--mask-sheet", type=Path, metavar="DIR", help="the same without the pictures: right, missing, too much"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parse(words)
    names = ("size", "max_objects", "threshold")
    options = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    results: list[Result] = []
    try:
        wanted = chosen.sequences.split(",") if chosen.sequences else None
        if chosen.cut and chosen.cut < SHORTEST:
            raise UsageError(f"--cut is {chosen.cut}", cure=f"excerpts need {SHORTEST} frames or more")
        clips = find_clips(chosen.data, wanted, max(chosen.stride_sequences, 1), cut=chosen.cut)
        model = rvos.load_model(chosen.weights, device=chosen.device)
        for clip in clips:
            print(f"{clip.name}: {len(clip.truths)} frames", file=sys.stderr, flush=True)
            scores = one_shot(model, clip, options, Sheets(chosen, clip, "track"))
            scores |= zero_shot(model, clip, options, Sheets(chosen, clip, "segment"))
            objects = len(scores["one_shot_unmerged"])
            shape = {"name": clip.name, "sequence": clip.sequence, "frames": len(clip.truths), "objects": objects}
            results.append(Result(**shape, **scores))
    except RvosError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    head = {
        "command": shlex.join(["python", "benchmarks/accuracy.py", *words]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe_machine(model),
        "weights": f"{model.name} (sha256 {model.sha256})",
        "version": rvos.__version__,
    }
    print(
        "\n".join([*(f"{key}: {value}" for key, value in head.items()), "", tables(results, excerpts=chosen.cut > 0)])
    )
    if chosen.json is not None:
        document = {**head, "rows": summarise(results), "sequences": [asdict(result) for result in results]}
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
