"""What is found and followed behind the cuts of a video, told shot by shot and told nothing of them.

    python benchmarks/cuts.py --data ../shared/data/dev

Enters: a DAVIS root, all of one size. Leaves: a Markdown table on stdout. Each sequence begins a film of three shots:
16 frames of it, 16 of the next one and, by the kind of film, 16 of a third or the 16 that come next in the first. J&F
is that of all objects as one, each shot by itself without its first and last frame, mean over the films. Then the same
with 12 more frames between two shots, in which both go on and one fades into the other. Then all of each sequence, as
it was filmed: how many cuts and fades are seen where there is none.

Then the objects of the first frame are given and followed: in films that go back to the first scene, J&F there, and
what is taken for them in the second shot, which has none; and in films whose second shot is the same scene again, 30
frames from its beginning, mirrored or enlarged as if from another camera, J&F in that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from clips import Clip, find_clips, score_union
from numpy.typing import NDArray
from PIL import Image
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.ahead import ReadAhead
from rvos_cli.errors import DatasetError, RvosError
from rvos_cli.evaluation import read_mask
from rvos_cli.session import Session
from rvos_cli.shots import ShotRules, Shots

SHOT = 16  # frames
FADE = 12  # frames of a fade
LATER = 30  # the frame with which another view begins
BLIND = replace(ShotRules(), change=256.0, fades=replace(ShotRules().fades, change=256.0, plain=256.0))
FORMS = {"told nothing": BLIND, "shot by shot": ShotRules()}


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder with davis/")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    clips = find_clips(chosen.data, None)
    short = next((clip for clip in clips if len(clip.truths) < LATER + SHOT), None)
    if short is not None:
        raise DatasetError(f"{short.name} has {len(short.truths)} frames", cure=f"films need {LATER + SHOT} of each")
    model = rvos.load_model(chosen.weights, device=chosen.device)
    print(f"{date.today()}, {processor()}, torch {torch.__version__}, {chosen.weights} {model.sha256[:8]}\n")
    print(f"`{shown_command('cuts.py', sys.argv[1:])}`\n")
    print("| film | | first shot | second | third | ids that the third shares with the first |")
    print("| --- | --- | --- | --- | --- | --- |")
    kinds = [
        (name, back, fade)
        for fade in (0, FADE)
        for name, back in (("three scenes", False), ("back to the first", True))
    ]
    for name, back, fade in kinds:
        for form, rules in FORMS.items():
            shots = films(clips, back, fade)
            scores, shared = zip(*(score(model, film, fade, rules) for film in shots), strict=True)
            first, second, third = np.mean(scores, axis=0)
            print(
                f"| {named(name, fade)} | {form} | {first:.3f} | {second:.3f} | {third:.3f} | {sum(shared)} |",
                flush=True,
            )
    print("\n| followed | | first shot | third | second: frames with anything | % of pixels | mirrored | enlarged |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for fade, (form, rules) in ((fade, form) for fade in (0, FADE) for form in FORMS.items()):
        Session.shot_rules = rules
        back = np.mean([follow(model, film, fade) for film in films(clips, True, fade)], axis=0)
        views = [] if fade else [follow_views(model, clips, view) for view in (mirrored, enlarged)]
        numbers = " | ".join(
            [*(f"{value:.3f}" for value in (*back[:3], 100 * back[3], *views)), *([""] * bool(fade) * 2)]
        )
        print(f"| {named('back to the first', fade)} | {form} | {numbers} |", flush=True)
    seen = sum(shots_in(pictures(clip, 0, None)) - 1 for clip in clips)
    print(f"\n{seen} cuts and fades are seen in {len(clips)} sequences without one.")
    return 0


def named(film: str, fade: int) -> str:
    """Return what a kind of film is called."""
    return f"{film}, faded" if fade else film


def films(clips: Sequence[Clip], back: bool, fade: int = 0) -> list[list[tuple[Clip, int]]]:
    """Return the shots of each film: which sequence, and from which frame on; there are *fade* others before it."""
    count = len(clips)
    return [
        [
            (clip, 0),
            (clips[(n + 1) % count], fade),
            (clip, SHOT + fade) if back else (clips[(n + count // 2) % count], SHOT),
        ]
        for n, clip in enumerate(clips)
    ]


def filmed(film: Sequence[tuple[Clip, int]], fade: int) -> list[NDArray[np.uint8]]:
    """Return the frames of a film: those of each shot, and between two of them *fade* mixtures of those around."""
    frames: list[NDArray[np.uint8]] = []
    for (clip, start), following in zip(film, [*film[1:], None], strict=True):
        frames += pictures(clip, start, SHOT)
        if following is None or not fade:
            continue
        leaving = pictures(clip, start + SHOT, fade)
        coming = pictures(following[0], following[1] - fade, fade)
        for n, (one, other) in enumerate(zip(leaving, coming, strict=True)):
            share = (n + 1) / (fade + 1)
            frames.append(np.rint((1 - share) * one + share * other).astype(np.uint8))
    return frames


def pictures(clip: Clip, start: int, count: int | None) -> list[NDArray[np.uint8]]:
    """Read *count* frames (H, W, 3) of a sequence from *start* on, all with None."""
    paths = sorted(path for path in clip.frames.iterdir() if path.is_file())[start:][:count]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def score(model: rvos.Segmenter, film: list[tuple[Clip, int]], fade: int, rules: ShotRules) -> tuple[list[float], int]:
    """Segment a film; return J&F of each shot, and how many ids of the first shot are in the third, too."""
    Session.shot_rules = rules
    found = list(model.stream(filmed(film, fade)))
    values, ids = [], []
    for place, (clip, start) in enumerate(film):
        part = found[place * (SHOT + fade) :][:SHOT]
        values.append(score_union(iter(part), map(read_mask, clip.truths[start : start + SHOT]), clip.name))
        ids.append(set(np.unique([frame.labels for frame in part]).tolist()) - {0})
    return values, len(ids[0] & ids[2])


def follow(model: rvos.Segmenter, film: list[tuple[Clip, int]], fade: int) -> tuple[float, float, float, float]:
    """Follow the first frame's objects through a film that goes back to its first scene.

    Returns:
        J&F of the first and the third shot; of the second the share of frames in which more than a thousandth is taken
        for an object, and the share of all pixels.
    """
    found = list(model.stream(filmed(film, fade), first_mask=read_mask(film[0][0].truths[0])))
    shots = [found[place * (SHOT + fade) :][:SHOT] for place in range(3)]
    first, third = (
        score_union(iter(shots[place]), map(read_mask, clip.truths[start : start + SHOT]), clip.name)
        for place, (clip, start) in ((0, film[0]), (2, film[2]))
    )
    taken = [float(np.mean(frame.labels > 0)) for frame in shots[1]]
    return first, third, float(np.mean([share > 0.001 for share in taken])), float(np.mean(taken))


View = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]


def follow_views(model: rvos.Segmenter, clips: Sequence[Clip], view: View) -> float:
    """Return the mean over *clips* of what ``follow_view`` does."""
    return float(np.mean([follow_view(model, clip, view) for clip in clips]))


def follow_view(model: rvos.Segmenter, clip: Clip, view: View) -> float:
    """Follow the first frame's objects into another *view* of the same scene; return J&F there."""
    truths = [read_mask(path) for path in clip.truths[LATER : LATER + SHOT]]
    frames = pictures(clip, 0, SHOT) + [view(image, truths[0]) for image in pictures(clip, LATER, SHOT)]
    found = list(model.stream(frames, first_mask=read_mask(clip.truths[0])))
    return score_union(iter(found[SHOT:]), [view(truth, truths[0]) for truth in truths], clip.name)


def mirrored(image: NDArray[np.uint8], _: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mirror image of a picture or mask."""
    return np.ascontiguousarray(image[:, ::-1])


def enlarged(image: NDArray[np.uint8], around: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of a picture or mask that is 1/1.6 of it high and wide and around the objects of a mask."""
    sides = [round(side / 1.6) for side in around.shape]
    middle = [float(places.mean()) for places in np.nonzero(around)]
    top, left = (
        round(min(max(m - part / 2, 0), side - part)) for m, part, side in zip(middle, sides, around.shape, strict=True)
    )
    part = Image.fromarray(image[top : top + sides[0], left : left + sides[1]])
    how = Image.Resampling.NEAREST if image.ndim == 2 else Image.Resampling.BILINEAR
    return np.asarray(part.resize(around.shape[::-1], how))


def shots_in(frames: Sequence[NDArray[np.uint8]]) -> int:
    """Return how many shots there seem to be."""
    shots, count = Shots(ReadAhead(map(Picture, frames)), ShotRules()), 1
    for _ in frames:
        if shots.cut(0) is not None:
            shots.begin()
            count += 1
        shots.take()
    return count


@dataclass(frozen=True)
class Picture:
    """A frame (H, W, 3) uint8."""

    image: NDArray[np.uint8]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
