"""What becomes of objects that go out of sight while the camera runs on: what is taken for them, how they return.

    python benchmarks/out_of_sight.py --scenery ../shared/data/train/backgrounds/free/openimages_crop \\
        ../shared/data/dev/davis/JPEGImages/480p/* ../shared/data/train/clips/davis2016/*

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``, and a folder
of photographs. Leaves: a Markdown table on stdout. In one kind of film the camera swings from one clip past a
photograph to the next clip (by name), stays there, and swings back; in the other a wall, a strip of a photograph wider
than the object, passes in front of it. Both are followed from the true mask and segmented without any; of what is
found, the object that fits the first frames best counts; films in which nothing is found there are left out. Behind a
wall it is followed once more with an empty mask in the middle of the frames in which it is out of sight. Scored
are J before it is out of sight; the share of the picture that is taken for it while it is; how much of the next clip's
object is, while the camera stays there; in how many films the object that fits that one best is the same; and J of the
object while it comes out behind a wall, and when it is back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from newcomers import best_of, of_one
from numpy.typing import NDArray
from PIL import Image

import rvos_cli as rvos
from rvos_cli.errors import DatasetError, RvosError

SIZE = 270, 480
STAY, SWING = 12, 30  # frames
SEAM = 16  # pixels on either side in which one scene becomes the next
WALLED, BEFORE, BEHIND = 40, 6, 8  # frames of a film with a wall, without it at first, and in the end
HIDDEN = 0.02  # of an object are seen at most where it counts as out of sight
Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Way: TypeAlias = Literal["track", "track, told", "segment"]


@dataclass(frozen=True)
class Clip:
    """A clip: frames (H, W, 3), and where its things are, (H, W) each."""

    frames: list[Picture]
    things: list[Mask]

    def at(self, time: int) -> tuple[Picture, Mask]:
        """Return the frame and things of a time; behind the last the clip goes back, and so on."""
        last = len(self.frames) - 1
        place = last - abs(last - time % (2 * last))
        return self.frames[place], self.things[place]


@dataclass(frozen=True)
class Film:
    """A film in which an object goes out of sight.

    Attributes:
        frames: (H, W, 3) each.
        object: where it is, (H, W) each,
        other: and where what comes in instead is.
        begin: the frames by which the object is known,
        away: those in which it is out of sight,
        visited: those of them in which the other may be scored,
        coming: in which it is coming back,
        back: and in which it is back.
    """

    frames: list[Picture]
    object: list[Mask]
    other: list[Mask]
    begin: Sequence[int]
    away: Sequence[int]
    visited: Sequence[int]
    coming: Sequence[int]
    back: Sequence[int]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = clip_parser(__doc__)
    parser.add_argument("--scenery", type=Path, required=True, metavar="DIR", help="a folder of photographs")
    chosen, model = begin(parser, words, "out_of_sight.py")
    clips = [small_clip(folder) for folder in sorted(chosen.clips, key=lambda folder: folder.name)]
    photographs = [scenery(path) for path in sorted(chosen.scenery.glob("*.jpg"))]
    if len(clips) < 2 or not photographs:
        raise DatasetError("there is nothing to make films of", cure="name two clips and a folder of photographs")
    print("| film | | films | before | taken for it: of the picture | of the other | films | coming back | back |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    ways: dict[str, tuple[Way, ...]] = {"swing": ("track", "segment"), "wall": ("track", "track, told", "segment")}
    for kind, films in (("swing", swings(clips, photographs)), ("wall", walls(clips, photographs))):
        rows = [[measure(model, film, way) for way in ways[kind]] for film in films]
        for way, scores in zip(ways[kind], zip(*rows, strict=True), strict=True):
            print_row(kind, way, scores)
    return 0


def print_row(kind: str, way: str, scores: Sequence[tuple[float, ...] | None]) -> None:
    """Print a row of the table."""
    rows = [row for row in scores if row is not None]
    before, picture, other, same, coming, back = np.mean(rows, axis=0).tolist() if rows else [0.0] * 6
    told = " | " if np.isnan(other) else f"{other:.3f} | {round(same * len(rows))}"
    came = "" if np.isnan(coming) else f"{coming:.3f}"
    print(f"| {kind} | {way} | {len(rows)} | {before:.3f} | {picture:.2%} | {told} | {came} | {back:.3f} |", flush=True)


def small_clip(folder: Path) -> Clip:
    """Return a clip at half the size and pace of DAVIS, which the training clips have."""
    frames, labels = read_clip(folder)
    step = 2 if frames[0].shape[0] > SIZE[0] else 1
    size = SIZE[::-1]
    pictures = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames[::step]]
    masks = [np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in labels[::step]]
    return Clip(pictures, [(mask > 0) & (mask < 255) for mask in masks])


def scenery(path: Path) -> Picture:
    """Return a photograph as large as a frame, filled from its upper left corner."""
    picture = Image.open(path).convert("RGB")
    scale = max(SIZE[1] / picture.width, SIZE[0] / picture.height)
    picture = picture.resize((round(picture.width * scale) + 1, round(picture.height * scale) + 1))
    return np.asarray(picture.crop((0, 0, SIZE[1], SIZE[0])))


def swings(clips: Sequence[Clip], photographs: Sequence[Picture]) -> Iterator[Film]:
    """Yield films in which the camera swings from each clip to the next one and back."""
    width = SIZE[1]
    way = np.linspace(0, 2 * width, SWING).astype(int).tolist()
    lefts = [*[0] * STAY, *way, *[2 * width] * STAY, *way[::-1], *[0] * STAY]
    visited = range(STAY + SWING + 2, 2 * STAY + SWING)
    back = range(len(lefts) - 9, len(lefts))
    for place, (one, other) in enumerate(pairwise(clips)):
        photograph, nothing = photographs[place % len(photographs)], np.zeros(SIZE, np.bool_)
        frames, objects, others = [], [], []
        for time, left in enumerate(lefts):
            (first, its), (second, theirs) = one.at(time), other.at(time)
            window = slice(left, left + width)
            frames.append(np.ascontiguousarray(panorama([first, photograph, second])[:, window]))
            objects.append(np.hstack([its, nothing, nothing])[:, window])
            others.append(np.hstack([nothing, nothing, theirs])[:, window])
        away = [time for time, there in enumerate(objects) if time >= STAY and not there.any()]
        yield Film(frames, objects, others, range(4, STAY), away, visited, (), back)


def panorama(scenes: Sequence[Picture]) -> Picture:
    """Return scenes (H, W, 3) side by side, each fading over the seam into the mirror image of its margin."""
    wide = np.hstack(scenes).astype(np.float32)
    share = np.linspace(0, 1, 2 * SEAM)[None, :, None]
    for place, (left, right) in enumerate(pairwise(scenes), start=1):
        seam = slice(place * SIZE[1] - SEAM, place * SIZE[1] + SEAM)
        ending, beginning = left[:, -SEAM:], right[:, :SEAM]
        ending, beginning = np.hstack([ending, ending[:, ::-1]]), np.hstack([beginning[:, ::-1], beginning])
        wide[:, seam] = (1 - share) * ending + share * beginning
    return wide.astype(np.uint8)


def walls(clips: Sequence[Clip], photographs: Sequence[Picture]) -> Iterator[Film]:
    """Yield films in which a wall passes in front of each clip's object, where it is hidden for two frames or more."""
    for place, clip in enumerate(clips):
        count = min(WALLED, len(clip.frames))
        columns = [np.flatnonzero(things.any(axis=0)) for things in clip.things[:count]]
        widest = max(int(there[-1] - there[0] + 1) for there in columns if there.size)
        width, end = min(SIZE[1] - 2 * SEAM, int(1.15 * widest) + 20), count - BEHIND
        frames, objects = [], []
        for time, (frame, things) in enumerate(zip(clip.frames[:count], clip.things[:count], strict=True)):
            left = SIZE[1] - int(np.clip((time - BEFORE) / (end - BEFORE), 0, 1) * (SIZE[1] + width))
            wall, seen = slice(max(0, left), max(0, left + width)), slice(max(0, -left), min(width, SIZE[1] - left))
            frame, things = frame.copy(), things.copy()
            frame[:, wall], things[:, wall] = photographs[place % len(photographs)][:, :width][:, seen], False
            frames.append(frame)
            objects.append(things)
        shares = [seen.sum() / max(1, whole.sum()) for seen, whole in zip(objects, clip.things[:count], strict=True)]
        hidden = [time for time, share in enumerate(shares) if share < HIDDEN]
        if len(hidden) >= 2 and hidden[-1] < end:
            begin, coming, back = range(1, BEFORE), range(hidden[-1] + 1, end + 1), range(end + 1, count)
            yield Film(frames, objects, objects, begin, hidden, (), coming, back)


def measure(model: rvos.Segmenter, film: Film, way: Way) -> tuple[float, ...] | None:
    """Return the scores of a film; None where nothing is found."""
    first = None if way == "segment" else film.object[0].astype(np.uint8)
    middle = film.away[len(film.away) // 2]
    nobody = {middle: np.zeros(SIZE, np.uint8)} if way == "track, told" else None
    labels = [frame.labels for frame in model.stream(film.frames, first_mask=first, frame_masks=nobody)]
    known, before = best_of([(labels[time], film.object[time]) for time in film.begin])
    if not known:
        return None
    picture = float(np.mean([(labels[time] == known).mean() for time in film.away]))
    other, same, coming = np.nan, 0.0, np.nan
    if film.visited:
        pairs = [(labels[time], film.other[time]) for time in film.visited]
        other = float(np.mean([((found == known) & there).sum() / max(1, there.sum()) for found, there in pairs]))
        best, fits = best_of(pairs)
        same = float(best == known and fits > 0.3)
    if film.coming:
        coming = of_one([(labels[time], film.object[time]) for time in film.coming], known)
    back = of_one([(labels[time], film.object[time]) for time in film.back], known)
    return before, picture, other, same, coming, back


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
