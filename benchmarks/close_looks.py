"""What a closer look at small objects is worth: clips as they are, or small within a large picture.

    python benchmarks/close_looks.py ../shared/data/dev/davis/JPEGImages/480p/* \\
        --scenery ../shared/data/train/backgrounds/free/openimages_crop

Enters: folders of frames, with true masks beside them or below ``Annotations`` instead of ``JPEGImages``. Leaves: a
Markdown table on stdout. With a folder of photographs each clip is shown in one of these, at 1280x720 and a third as
high as that, where it drifts about; without, as it is, and left out if that is looked at in whole throughout. Scored is
J&F of the objects of the first frame, object by object, from their true masks, with whole frames looked at and as rvos
does it; beside it the mean height of the part that it looked at, as a share of the frame's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from clip_folders import begin, clip_parser, read_clip
from numpy.typing import NDArray
from PIL import Image

import rvos_cli as rvos
from rvos_cli.camera import Camera, CameraRules
from rvos_cli.continuity import Cells
from rvos_cli.errors import RvosError
from rvos_cli.evaluation import boundary_f, jaccard
from rvos_cli.session import Session

SIZE, HEIGHT = (720, 1280), 240
FRAMES = 40  # of a clip
DRIFT, PACES = 0.3, (0.05, 0.04)  # of the room that there is, and how fast, in radians a frame
Picture = NDArray[np.uint8]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = clip_parser(__doc__)
    parser.add_argument("--scenery", type=Path, metavar="DIR", help="photographs to show the clips in")
    chosen, model = begin(parser, words, "close_looks.py")
    photographs = sorted(chosen.scenery.glob("*.jpg")) if chosen.scenery else []
    print("| clip | objects | looked at | in whole: J | F | closely: J | F |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    everything = []
    for number, folder in enumerate(chosen.clips):
        frames, truths = (each[:FRAMES] for each in read_clip(folder))
        if photographs:
            frames, truths = within(photographs[7 * number % len(photographs)], frames, truths, number)
        closely, share = follow(model, frames, truths, CameraRules())
        if share < 1:
            whole, _ = follow(model, frames, truths, CameraRules(most=0.0))
            everything.append(np.concatenate([whole, closely], axis=1))
            print(row(folder.name, everything[-1], f"{share:.2f}"), flush=True)
    if everything:
        print(row("all", np.concatenate(everything), ""))
    return 0


def row(name: str, scores: NDArray[np.float64], share: str) -> str:
    """Return a line of the table with the means of (n, 4) scores."""
    return f"| {name} | {len(scores)} | {share} | {' | '.join(f'{mean:.3f}' for mean in scores.mean(axis=0))} |"


def follow(
    model: rvos.Segmenter, frames: list[Picture], truths: list[Picture], rules: CameraRules
) -> tuple[NDArray[np.float64], float]:
    """Return J and F of each object of the first frame, (n, 2), and the mean share that was looked at."""
    shares: list[float] = []
    follow_on = Camera.follow

    def noted(camera: Camera, seen: Mapping[int, Cells]) -> None:
        (top, bottom), _ = camera.view.looked_at.bounds
        shares.append((bottom - top) / frames[0].shape[0])
        follow_on(camera, seen)

    with patch.object(Session, "camera_rules", rules), patch.object(Camera, "follow", noted):
        found = [frame.labels for frame in model.stream(frames, first_mask=truths[0])]
    scores = []
    for one in (one for one in np.unique(truths[0]).tolist() if 0 < one < 255):
        pairs = [(labels == one, truth == one) for labels, truth in zip(found[1:], truths[1:], strict=True)]
        scores.append(np.mean([(jaccard(p, t), boundary_f(p, t)) for p, t in pairs if t.any()], axis=0))
    return np.array(scores), float(np.mean(shares))


def within(
    photograph: Path, frames: list[Picture], truths: list[Picture], number: int
) -> tuple[list[Picture], list[Picture]]:
    """Return frames (H, W, 3) and masks (H, W) in which a clip is shown small in a photograph."""
    ground = covering(photograph)
    size = HEIGHT, round(HEIGHT * frames[0].shape[1] / frames[0].shape[0])
    phases = 2 * math.pi * np.random.default_rng(number).random(2)
    large, masks = [], []
    for index, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        ways = [1 + 2 * DRIFT * math.sin(phase + index * pace) for phase, pace in zip(phases, PACES, strict=True)]
        top, left = (int((room - side) / 2 * way) for room, side, way in zip(SIZE, size, ways, strict=True))
        place = slice(top, top + size[0]), slice(left, left + size[1])
        large.append(ground.copy())
        masks.append(np.zeros(SIZE, np.uint8))
        large[-1][place] = resized(frame, size, Image.Resampling.LANCZOS)
        masks[-1][place] = resized(truth, size, Image.Resampling.NEAREST)
    return large, masks


def covering(photograph: Path) -> Picture:
    """Return the upper left of a photograph that is large enough to cover a frame."""
    with Image.open(photograph) as image:
        scale = max(SIZE[0] / image.height, SIZE[1] / image.width)
        size = math.ceil(scale * image.height), math.ceil(scale * image.width)
        return resized(np.asarray(image.convert("RGB")), size, Image.Resampling.LANCZOS)[: SIZE[0], : SIZE[1]]


def resized(picture: Picture, size: tuple[int, int], how: Image.Resampling) -> Picture:
    """Return a picture (H, W, ...) at another size."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1], how))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
