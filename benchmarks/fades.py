"""Which cuts and fades are seen where there are none, and which where there are some; no network is run.

    python benchmarks/fades.py ../shared/data/dev/davis/JPEGImages/480p/* ../shared/data/train/clips/*/* \\
        --photographs ../shared/data/train/backgrounds/*/*

Enters: folders of frames, each filmed in one go; folders of photographs. Leaves: a few lines on stdout. The clips are
looked at forwards and backwards, at their own pace, at twice and at three times it. Then each is cut to the next, and
to the one behind that, and fades into them over 8, 12, 16, 25 and 50 frames in which both go on, once into each other
and once through black; a fade counts as seen up to 8 frames behind its end, and one through black if the black and what
comes out of it are a shot each. Of those into each other it is told as well for how many faded shots the end that is
told is so near to the last frame before the fade that the shot would go on with that. Over each photograph a camera
moves: across, down and nearer, each within 30 frames.
``--look`` changes all frames before: they get black bars, or are dark or hazy.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_cli.fades import faded_from, lights_up
from rvos_cli.shots import ShotRules, cut_from, goes_on
from rvos_cli.small_copies import SIZE, Small, comparable, likeness, small_copy

RULES = ShotRules()
LENGTHS = (8, 12, 16, 25, 50)
BLACK = [np.zeros((*SIZE, 3), np.float32)] * 5
MOVE = 30  # frames
LATE = 8
Look = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
LOOKS: dict[str, Look] = {
    "as-it-is": np.asarray,
    "letterbox": lambda frame: np.pad(frame, [(len(frame) // 6,) * 2, (0, 0), (0, 0)]),
    "pillarbox": lambda frame: np.pad(frame, [(0, 0), (frame.shape[1],) * 2, (0, 0)]),
    "dark": lambda frame: (frame * 0.25).astype(np.uint8),
    "hazy": lambda frame: (frame * 0.35 + 150).astype(np.uint8),
}


def main(words: Sequence[str] | None = None) -> int:
    """Look and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="a folder of frames")
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], metavar="DIR", help="folders of photographs")
    parser.add_argument("--look", choices=LOOKS, default="as-it-is", help="of all frames")
    chosen = parser.parse_args(words)
    look = LOOKS[chosen.look]
    clips = [frames for frames in (read_clip(folder, look) for folder in chosen.clips) if len(frames) > 10]
    played = [clip[:: pace * way] for clip in clips for pace in (1, 2, 3) for way in (1, -1)]
    false = sum(len(shots(frames)) for frames in played)
    print(f"{len(clips)} clips, {sum(map(len, played))} frames: {false} cuts and fades are seen.")
    cuts = [(len(one), shots([*one, *other])) for one, other in pairs(clips)]
    seen = sum(end in places for end, places in cuts)
    elsewhere = sum(place != end for end, places in cuts for place in places)
    print(f"{len(cuts)} cuts: {seen} are seen, and {elsewhere} shots begin elsewhere.")
    for name, between in (("into each other", []), ("through black", BLACK)):
        seen, elsewhere, fades, told = 0, 0, list(faded(clips, between)), []
        for frames, ends, pure in fades:
            begun = shots(frames)
            late = [[place for place in begun if -3 <= place - end <= LATE] for end in ends]
            seen += all(late)
            elsewhere += len(begun) - sum(map(bool, late))
            told += [(frames, late[0][0], pure)] if late[0] and not between else []
        print(f"{len(fades)} fades {name}: {seen} are seen, and {elsewhere} shots begin elsewhere.")
        if told:
            print_ends(told)
    moves = [
        move for folder in chosen.photographs for path in sorted(folder.glob("*.jpg")) for move in moved(path, look)
    ]
    print(f"{len(moves)} moves over photographs: in {sum(bool(shots(move)) for move in moves)} a cut or fade is seen.")
    return 0


def read_clip(folder: Path, look: Look) -> list[Small]:
    """Return small copies of a folder's frames."""
    return [small_copy(look(np.asarray(Image.open(path).convert("RGB")))) for path in sorted(folder.glob("*.jpg"))]


def pairs(clips: Sequence[list[Small]]) -> Iterator[tuple[list[Small], list[Small]]]:
    """Yield each clip with the next and with the one behind that, if they differ."""
    for place, step in itertools.product(range(len(clips)), (1, 2)):
        one, other = clips[place], clips[(place + step) % len(clips)]
        if likeness(*comparable([one[-1], other[0]])) <= RULES.likeness:
            yield one, other


def shots(frames: Sequence[Small]) -> list[int]:
    """Return the places at which a shot begins behind the first."""
    begun = [0]
    for at in range(1, len(frames)):
        shot = frames[begun[-1] :]
        here = at - begun[-1]
        cut = cut_from(frames, at, RULES) is not None or lights_up(shot, here, RULES.fades)
        if cut or faded_from(shot, here, RULES.fades) is not None:
            begun.append(at)
    return begun[1:]


def print_ends(fades: Sequence[tuple[list[Small], int, int]]) -> None:
    """Say how many shots that have faded would go on with their own last frame, by the end that is told of them.

    Args:
        fades: films, where each fade is told, and the last frame that shows the first scene alone.
    """
    told, may = 0, 0
    for frames, place, pure in fades:
        before = faded_from(frames, place, RULES.fades)
        told += before is not None and goes_on(frames[before], frames[pure], RULES)
        may += goes_on(frames[pure - 1], frames[pure], RULES)
    print(f"{len(fades)} faded shots: {told} go on with their last frame by the end told, {may} by the one before it.")


def faded(clips: Sequence[list[Small]], between: list[Small]) -> Iterator[tuple[list[Small], list[int], int]]:
    """Yield films of two clips that differ, the one fading into the other.

    With each, where shots begin behind the first, and the place of the last frame that shows the first alone.
    """
    for (one, other), length in itertools.product(pairs(clips), LENGTHS):
        if min(len(one), len(other)) < length + 8:
            continue
        shares = np.linspace(0, 1, length + 2)[1:-1]
        if between:
            leaving = [(1 - share) * frame for share, frame in zip(shares, one[-length:], strict=True)]
            coming = [share * frame for share, frame in zip(shares, other, strict=False)]
            mixed = [*leaving, *between, *coming]
        else:
            both = zip(shares, one[-length:], other, strict=False)
            mixed = [(1 - share) * leaving + share * coming for share, leaving, coming in both]
        behind = [len(one), len(one) + len(between)] if between else [len(one)]
        frames = [*one[:-length], *map(np.rint, mixed), *other[length:]]  # 8-bit frames hold whole numbers
        yield frames, behind, len(one) - length - 1


def moved(path: Path, look: Look) -> Iterator[list[Small]]:
    """Yield what a camera sees that moves over a photograph: across, down, and nearer."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    rest = [0.0] * 6
    shares = [*rest, *np.linspace(0, 1, MOVE), *(1 + one for one in rest)]
    across = [(share * 0.6 * width, 0.2 * height, (share * 0.6 + 0.4) * width, 0.6 * height) for share in shares]
    down = [(0.0, share * 0.6 * height, width, (share * 0.6 + 0.4) * height) for share in shares]
    nearer = [(x * width, x * height, (1 - x) * width, (1 - x) * height) for x in (0.375 * share for share in shares)]
    for boxes in (across, down, nearer):
        seen = (image.resize((128, 72), Image.Resampling.BILINEAR, box) for box in boxes)
        yield [small_copy(look(np.asarray(one))) for one in seen]


if __name__ == "__main__":
    sys.exit(main())
