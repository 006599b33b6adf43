"""What `rvos segment` finds behind the cuts of a video, told shot by shot and told nothing of them.

    python benchmarks/cuts.py --data ../shared/data/dev

Enters: a DAVIS root, all of one size. Leaves: a Markdown table on stdout. Each sequence begins a film of three shots:
16 frames of it, 16 of the next one and, by the kind of film, 16 of a third or the 16 that come next in the first. J&F
is that of all objects as one, each shot by itself without its first and last frame, mean over the films. Then all of
each sequence, as it was filmed: how many cuts are seen where there is none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from clips import Clip, find_clips, score_union
from numpy.typing import NDArray
from PIL import Image
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import read_mask
from rvos_cli.session import Session
from rvos_cli.shots import ShotRules, is_cut, small_copy

SHOT = 16  # frames
FORMS = {"told nothing": replace(ShotRules(), change=256.0), "shot by shot": ShotRules()}


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder with davis/")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    model = rvos.load_model(chosen.weights, device=chosen.device)
    clips = find_clips(chosen.data, None)
    print(f"{date.today()}, {processor()}, torch {torch.__version__}, {chosen.weights} {model.sha256[:8]}\n")
    print(f"`{shown_command('cuts.py', sys.argv[1:])}`\n")
    print("| film | | first shot | second | third | ids that the third shares with the first |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, shots in {"three scenes": films(clips, False), "back to the first": films(clips, True)}.items():
        for form, rules in FORMS.items():
            scores, shared = zip(*(score(model, film, rules) for film in shots), strict=True)
            first, second, third = np.mean(scores, axis=0)
            print(f"| {name} | {form} | {first:.3f} | {second:.3f} | {third:.3f} | {sum(shared)} |", flush=True)
    seen = sum(cuts_in(pictures(clip, 0, None)) for clip in clips)
    print(f"\n{seen} cuts are seen in {len(clips)} sequences without one.")
    return 0


def films(clips: Sequence[Clip], back: bool) -> list[list[tuple[Clip, int]]]:
    """Return the shots of each film: which sequence, and from which frame on."""
    count = len(clips)
    return [
        [(clip, 0), (clips[(n + 1) % count], 0), (clip, SHOT) if back else (clips[(n + count // 2) % count], SHOT)]
        for n, clip in enumerate(clips)
    ]


def pictures(clip: Clip, start: int, count: int | None) -> list[NDArray[np.uint8]]:
    """Read *count* frames (H, W, 3) of a sequence from *start* on, all with None."""
    paths = sorted(path for path in clip.frames.iterdir() if path.is_file())[start:][:count]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def score(model: rvos.Segmenter, film: list[tuple[Clip, int]], rules: ShotRules) -> tuple[list[float], int]:
    """Segment a film; return J&F of each shot, and how many ids of the first shot are in the third, too."""
    frames = [image for clip, start in film for image in pictures(clip, start, SHOT)]
    Session.shot_rules = rules
    found = list(model.stream(frames))
    values, ids = [], []
    for place, (clip, start) in enumerate(film):
        part = found[place * SHOT : (place + 1) * SHOT]
        values.append(score_union(iter(part), map(read_mask, clip.truths[start : start + SHOT]), clip.name))
        ids.append(set(np.unique([frame.labels for frame in part]).tolist()) - {0})
    return values, len(ids[0] & ids[2])


def cuts_in(frames: Sequence[NDArray[np.uint8]]) -> int:
    """Return how many cuts are seen."""
    small = [small_copy(frame) for frame in frames]
    return sum(is_cut(small, at, ShotRules()) for at in range(len(small)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
