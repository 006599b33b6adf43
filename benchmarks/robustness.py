"""What is lost where a video is worse, or framed otherwise, than the sequences that scores are told of.

    python benchmarks/robustness.py --data ../shared/data/dev

Enters: a DAVIS root. Leaves: a Markdown table on stdout. The first frames of each sequence are changed in one way, all
alike, and followed from the first mask and from nothing. J&F is that of all objects as one, without the first and the
last frame, mean over the sequences; masks are compared at the size of the changed frames. Milliseconds are those of a
frame that is followed, from memory to its label map, all frames of the run but its first ten.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import torch
from clips import Clip, Stopwatch, find_clips, score_union
from numpy.typing import NDArray
from PIL import Image
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.errors import DatasetError, RvosError
from rvos_cli.evaluation import read_mask
from rvos_cli.exposure import ExposureRules
from rvos_cli.picture_area import BarRules
from rvos_cli.session import Session
from rvos_cli.views import ViewRules

WARM_UP = 10  # frames
Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]


@dataclass(frozen=True)
class Kind:
    """A way to change frames, (H, W, 3) RGB, and another for their masks, (H, W)."""

    frames: Change
    masks: Change = np.asarray
    rules: ViewRules = field(default_factory=ViewRules)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder with davis/")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="the first N of each sequence [40]")
    chosen = parser.parse_args(words)
    clips = find_clips(chosen.data, None)
    if chosen.frames <= WARM_UP + 1 or min(len(clip.truths) for clip in clips) < chosen.frames:
        raise DatasetError(f"--frames {chosen.frames} is not possible", cure="see how long the sequences are")
    model = rvos.load_model(chosen.weights, device=chosen.device)
    print(f"{date.today()}, {processor()}, torch {torch.__version__}, {chosen.weights} {model.sha256[:8]}\n")
    print(f"`{shown_command('robustness.py', sys.argv[1:])}`\n")
    print("| frames | one-shot | zero-shot | objects found | ms a frame |\n| --- | --- | --- | --- | --- |")
    for name, kind in KINDS.items():
        Session.view_rules = kind.rules
        measured = np.mean([measure(model, clip, kind, chosen.frames) for clip in clips], axis=0)
        print("| {} | {:.3f} | {:.3f} | {:.1f} | {:.1f} |".format(name, *measured), flush=True)
    return 0


def measure(model: rvos.Segmenter, clip: Clip, kind: Kind, count: int) -> tuple[float, float, float, float]:
    """Return J&F one-shot and zero-shot, the mean number of objects found, and milliseconds a frame one-shot."""
    paths = sorted(path for path in clip.frames.iterdir() if path.is_file())[:count]
    frames = [np.ascontiguousarray(kind.frames(np.array(Image.open(path).convert("RGB")))) for path in paths]
    truths = [np.ascontiguousarray(kind.masks(read_mask(path))) for path in clip.truths[:count]]
    stopwatch = Stopwatch(left_out=WARM_UP)
    followed = list(stopwatch.watch(model.stream(frames, first_mask=truths[0])))
    found = list(model.stream(frames))
    objects = float(np.mean([len(np.unique(frame.labels)) - 1 for frame in found]))
    scores = [score_union(iter(run), truths, clip.name) for run in (followed, found)]
    return scores[0], scores[1], objects, 1000 / stopwatch.fps


def between(rows: float, columns: float) -> Change:
    """Return what puts bars around, as shares of the frame's height and width, each."""

    def barred(image: Picture) -> Picture:
        sides = [(round(share * side),) * 2 for share, side in zip((rows, columns), image.shape[:2], strict=True)]
        padded: Picture = np.pad(image, [*sides, *[(0, 0)] * (image.ndim - 2)])
        return padded

    return barred


def upright(image: Picture) -> Picture:
    """Return the middle of a frame or mask, 9 to 16."""
    width = round(image.shape[0] * 9 / 16)
    start = (image.shape[1] - width) // 2
    return image[:, start : start + width]


def resized(height: int, how: int) -> Change:
    """Return what makes frames or masks so high."""

    def smaller(image: Picture) -> Picture:
        width = round(image.shape[1] * height / image.shape[0])
        return np.asarray(cv2.resize(image, (width, height), interpolation=how))

    return smaller


def grey(image: Picture) -> Picture:
    """Take the colours."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def dark(image: Picture) -> Picture:
    """Make it evening."""
    return np.asarray(0.6 * 255 * (image / 255) ** 2.2, np.uint8)


def hazy(image: Picture) -> Picture:
    """Take more than half of the contrast."""
    return np.asarray(np.clip(168 + 0.45 * (image.astype(np.float32) - 128), 0, 255), np.uint8)


def grainy(image: Picture, deviation: float = 18) -> Picture:
    """Add noise of so many levels, the same for the same frame."""
    draw = np.random.default_rng(int(image[::16, ::16].sum()))
    return np.clip(image + draw.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def blurred(image: Picture) -> Picture:
    """Take the focus, with a standard deviation of 3 pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3))


def coarse(image: Picture) -> Picture:
    """Return it as a JPEG of quality 12 leaves it."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, "JPEG", quality=12)
    return np.array(Image.open(held))


def written_on(image: Picture) -> Picture:
    """Return it with a channel's sign and a line of subtitles."""
    height, white, font = image.shape[0], (255, 255, 255), cv2.FONT_HERSHEY_SIMPLEX
    written = cv2.putText(image.copy(), "RVOS 24", (20, height // 10), font, height / 400, (255, 230, 20), 3)
    words = "And where are we going now?"
    return np.asarray(cv2.putText(written, words, (height // 4, height * 11 // 12), font, height / 480, white, 3))


def light(image: Picture) -> NDArray[np.float64]:
    """Return the light of sRGB in BT.2020's primaries, (H, W, 3) in cd/m2, of which white has 203 (ITU-R BT.2408)."""
    values = image / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]  # ITU-R BT.2087
    return np.asarray(203 * linear @ np.transpose(to_2020), np.float64)


def coded_in_pq(image: Picture) -> Picture:
    """Return the signal of SMPTE ST 2084."""
    power = (light(image) / 10000) ** (1305 / 8192)
    return _in_8_bits(((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def coded_in_hlg(image: Picture) -> Picture:
    """Return the signal of ARIB STD-B67 for a screen of 1000 cd/m2, whose system gamma is 1.2."""
    shown = light(image) / 1000
    luminance = np.maximum(shown @ [0.2627, 0.6780, 0.0593], 1e-6)[..., None]
    scene = shown * luminance ** (1 / 1.2 - 1)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return _in_8_bits(np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper))


def _in_8_bits(signal: NDArray[np.float64]) -> Picture:
    return np.rint(255 * np.clip(signal, 0, 1)).astype(np.uint8)


LETTERBOX, PILLARBOX = between(0.17, 0), between(0, 0.5)
EVERYWHERE = ViewRules(bars=BarRules(least=1.0))
AS_IT_IS = ViewRules(exposure=ExposureRules(dark=0, hazy=256))
KINDS = {
    "as they are": Kind(np.asarray),
    "between bars above and below, 2.4 to 1 in 4 to 3": Kind(LETTERBOX, LETTERBOX),
    "the same, bars looked at as well": Kind(LETTERBOX, LETTERBOX, EVERYWHERE),
    "between bars left and right, half of the width": Kind(PILLARBOX, PILLARBOX),
    "these, bars looked at as well": Kind(PILLARBOX, PILLARBOX, EVERYWHERE),
    "upright, 9 to 16 of the middle": Kind(upright, upright),
    "without colours": Kind(grey),
    "dark": Kind(dark),
    "the same, looked at as it is": Kind(dark, rules=AS_IT_IS),
    "dark and grainy": Kind(lambda image: grainy(dark(image), 6)),
    "dark and grainy, looked at as it is": Kind(lambda image: grainy(dark(image), 6), rules=AS_IT_IS),
    "hazy": Kind(hazy),
    "hazy, looked at as it is": Kind(hazy, rules=AS_IT_IS),
    "grainy": Kind(grainy),
    "out of focus": Kind(blurred),
    "JPEG of quality 12": Kind(coarse),
    "136 pixels high": Kind(resized(136, cv2.INTER_AREA), resized(136, cv2.INTER_NEAREST)),
    "written on": Kind(written_on),
    "of high dynamic range (PQ), taken for sRGB": Kind(coded_in_pq, rules=AS_IT_IS),
    "of high dynamic range (HLG), taken for sRGB": Kind(coded_in_hlg, rules=AS_IT_IS),
}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
