"""What accuracy costs: J&F against milliseconds a frame, for several sizes and weights, on DAVIS sequences.

    python benchmarks/frontier.py --data ../shared/data/dev
    python benchmarks/frontier.py --data ../shared/data/dev --write     also the table in README.md and the picture

One pass over a sequence gives both. J&F is that of ``accuracy.py``: one-shot, of the union and object by object; with
``--zero-shot`` also the union of what is found, in a pass of its own. Milliseconds are those of the one-shot pass, from
a frame in memory to its label map in memory, pre- and postprocessing included, reading and scoring not; the median over
the frames of all sequences, of which each one's first three warm up and do not count.

Machines drift, so sizes and weights take turns: all of them go through the first sequence, then through the second.
A row is on the frontier if no other is at least as fast and as good (one-shot union), and better in one of the two.

Enters: a DAVIS root (JPEGImages/480p, Annotations/480p), or a folder that holds one as ``davis``. Leaves: conditions
and a Markdown table on stdout, progress on stderr; JSON, the README's section and the picture where asked for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clips import Clip, Labels, Stopwatch, find_clips, mean, score_one_shot, score_union
from frontier_report import Point, draw, frontier_of, table
from speed_machine import processor, shown_command, surroundings
from speed_table import split_section, write_section

import rvos_cli as rvos
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions
from rvos_cli.errors import DatasetError, RvosError, UsageError

HERE = Path(__file__).resolve().parent
SIZES = "192,256,320,352,384,448"
WARM_UP = 3


@dataclass(frozen=True)
class Series:
    """One set of weights in one precision, loaded: what becomes one line of the picture."""

    label: str
    precision: str
    model: rvos.Segmenter


@dataclass(frozen=True)
class Pass:
    """One sequence at one size: J&F, and the seconds of each frame that counts."""

    sequence: str
    grid: str
    union: float
    unmerged: list[float]
    zero_shot: float | None
    seconds: list[float]


@dataclass
class Run:
    """One series at one size: its passes so far."""

    series: Series
    size: int
    passes: list[Pass] = field(default_factory=list)

    def point(self) -> Point:
        """Return the row: means over sequences, over objects for 'unmerged', and the median over frames."""
        found = [each.zero_shot for each in self.passes if each.zero_shot is not None]
        return Point(
            series=self.series.label,
            size=self.size,
            default=self.size == self.series.model.config.size,
            grid=", ".join(dict.fromkeys(each.grid for each in self.passes)),
            ms=1000 * statistics.median(seconds for each in self.passes for seconds in each.seconds),
            union=statistics.fmean(each.union for each in self.passes),
            unmerged=statistics.fmean(value for each in self.passes for value in each.unmerged),
            zero_shot=mean(found),
        )


def load(names: Sequence[str], device: str, half: bool) -> list[Series]:
    """Load every set of weights in the device's own precision; with *half* in 32 and in 16 bits.

    Raises:
        RvosError: weights or device are not to be had.
        UsageError: weights are given twice.
    """
    from rvos_cli.device import choose_dtype

    models = [
        rvos.load_model(name, device=device, half=each)
        for name in names
        for each in ((False, True) if half else (None,))
    ]
    stems: dict[str, set[str]] = {}
    for model in models:
        stems.setdefault(model.name, set()).add(model.sha256)
    series: dict[str, Series] = {}
    for model in models:
        name = model.name if len(stems[model.name]) == 1 else f"{model.name} {model.sha256[:8]}"
        precision = str(choose_dtype(model.device, model.half)).removeprefix("torch.")
        label = f"{name}, {precision}"
        if label in series:
            raise UsageError(f"the weights {name} are given twice", cure="name each once")
        series[label] = Series(label, precision, model)
    return list(series.values())


def prepare(chosen: argparse.Namespace) -> tuple[list[Clip], list[Run]]:
    """Find the sequences and load the networks; whatever is wrong with either is said before anything is measured."""
    sizes = read_sizes(chosen.sizes)
    if chosen.frames is not None and chosen.frames <= WARM_UP:
        raise UsageError(f"--frames {chosen.frames} is too few", cure=f"the first {WARM_UP} of a sequence do not count")
    clips = find_clips(chosen.data, chosen.sequences.split(",") if chosen.sequences else None)
    clips = [replace(clip, truths=clip.truths[: chosen.frames]) for clip in clips]
    for clip in clips:
        if len(clip.truths) <= WARM_UP:
            raise DatasetError(
                f"{clip.name} has {len(clip.truths)} frames", cure=f"the first {WARM_UP} do not count: leave it out"
            )
    every = load(chosen.weights or [DEFAULT_WEIGHTS], chosen.device, chosen.half)
    for series in every:
        series.model.stream([], first_mask=clips[0].truths[0])  # raises at once if these weights cannot follow
        if chosen.zero_shot:
            series.model.stream([])
    if chosen.write:
        check_places(chosen, every[0].model.device.type)
    return clips, [Run(series, size) for series in every for size in sizes]


def read_sizes(text: str) -> list[int]:
    """Read short sides with commas between; return them from the smallest on, each once.

    Raises:
        UsageError: one is no number, or out of bounds.
    """
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise UsageError(f"--sizes {text} are not numbers with commas between", cure=f"such as {SIZES}") from None
    for size in sizes:
        InferenceOptions(size=size)
    return sizes


def check_places(chosen: argparse.Namespace, device: str) -> None:
    """Raise before the measurement what would keep it from being written."""
    from rvos_cli.benchmarking import check_chart

    check_chart(picture_of(chosen, device))
    try:
        split_section(chosen.readme, device, kind="frontier")
    except (OSError, ValueError) as error:
        raise UsageError(str(error), cure="leave out --write, or add the lines") from error


def picture_of(chosen: argparse.Namespace, device: str) -> Path:
    """Return where the picture goes."""
    return Path(chosen.images) / f"frontier-{device}.png"


def measure(clips: Sequence[Clip], runs: Sequence[Run], zero_shot: bool) -> None:
    """Let all runs go through the first clip, then through the second, and so on."""
    for clip in clips:
        images, truths = read_images(clip), list(clip.labels())
        for run in sorted(runs, key=lambda run: run.size):
            run.passes.append(go_through(clip, images, truths, run, zero_shot))
            ms, union = 1000 * statistics.median(run.passes[-1].seconds), run.passes[-1].union
            line = f"{clip.name}, {run.series.label}, {run.size}: {ms:.1f} ms a frame, J&F {union:.3f}"
            print(line, file=sys.stderr, flush=True)


def read_images(clip: Clip) -> list[Labels]:
    """Return the frames (H, W, 3) that have a true mask, decoded."""
    from rvos_cli.sources import open_source

    with open_source(clip.frames) as source:
        return [frame.image for frame in itertools.islice(source, len(clip.truths))]


def go_through(clip: Clip, images: list[Labels], truths: list[Labels], run: Run, zero_shot: bool) -> Pass:
    """Follow the first mask through one clip, and with *zero_shot* find its objects in a second pass."""
    from rvos_cli.preprocess import network_size

    model, watch = run.series.model, Stopwatch(left_out=WARM_UP)
    stream = model.stream(images, first_mask=clip.truths[0], size=run.size)
    union, unmerged = score_one_shot(watch.watch(stream), truths, clip.name)
    found = score_union(model.stream(images, size=run.size), truths, clip.name) if zero_shot else None
    height, width = network_size(truths[0].shape[:2], run.size)
    return Pass(clip.name, f"{width}x{height}", union, unmerged, found, watch.seconds)


def describe(clips: Sequence[Clip], runs: Sequence[Run], words: Sequence[str]) -> str:
    """Return the paragraph that says where, when, with what and how the figures came about."""
    import torch

    machine = {"gpu": gpu_of(runs), "cuda": torch.version.cuda, "python": platform.python_version()}
    weights = {run.series.label: f"{run.series.label} (sha256 {run.series.model.sha256[:8]}...)" for run in runs}
    frames = sum(len(clip.truths) for clip in clips)
    return (
        f"{surroundings(machine, {'rvos': rvos.__version__, 'torch': str(torch.__version__)})}; "
        f"threads: {torch.get_num_threads()}. {'; '.join(weights.values())}. "
        f"Sequences: {len(clips)}, with {frames} frames.\n\n`{shown_command('frontier.py', words)}`"
    )


def gpu_of(runs: Sequence[Run]) -> str | None:
    """Return the GPU's name, None on a CPU."""
    import torch

    device = runs[0].series.model.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def document(runs: Sequence[Run], conditions: str) -> dict[str, Any]:
    """Return everything as plain values."""
    points = [run.point() for run in runs]
    rows = [
        {
            **asdict(point),
            "precision": run.series.precision,
            "sha256": run.series.model.sha256,
            "on_frontier": best,
            "passes": [asdict(each) for each in run.passes],
        }
        for run, point, best in zip(runs, points, frontier_of(points), strict=True)
    ]
    return {"conditions": conditions, "rows": rows}


def write(chosen: argparse.Namespace, runs: Sequence[Run], text: str) -> None:
    """Draw the picture, and put *text* and the picture into the README's section of this device."""
    device = runs[0].series.model.device.type
    picture = picture_of(chosen, device)
    picture.parent.mkdir(parents=True, exist_ok=True)
    place = gpu_of(runs) or processor()
    title = f"Accuracy against speed; sequences: {len(runs[0].passes)}; {place}"
    draw([run.point() for run in runs], picture, title)
    link = Path(os.path.relpath(picture, chosen.readme.parent)).as_posix()
    write_section(chosen.readme, device, f"{text}\n\n![J&F over milliseconds a frame]({link})", kind="frontier")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a DAVIS root, or a folder with davis/")
    parser.add_argument("--weights", action="append", metavar="NAME|PATH", help="default: lite; may be given again")
    parser.add_argument("--sizes", default=SIZES, metavar="N,N", help=f"short sides (default: {SIZES})")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--half", action="store_true", help="32 and 16 bits, instead of what the device takes by itself"
    )
    parser.add_argument("--zero-shot", action="store_true", help="also find the objects, in a second pass")
    parser.add_argument("--sequences", metavar="NAME,NAME", help="only these")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N of each sequence")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file")
    parser.add_argument("--write", action="store_true", help="also write the README's table and the picture")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="whose section --write fills")
    parser.add_argument("--images", type=Path, default=HERE / "images", help="where the picture of --write goes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write what is asked for, and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parse(words)
    try:
        clips, runs = prepare(chosen)
        measure(clips, runs, chosen.zero_shot)
        conditions = describe(clips, runs, words)
        text = f"{conditions}\n\n{table([run.point() for run in runs])}"
        print(text, flush=True)
        if chosen.json is not None:
            chosen.json.parent.mkdir(parents=True, exist_ok=True)
            chosen.json.write_text(json.dumps(document(runs, conditions), indent=2) + "\n", encoding="utf-8")
        if chosen.write:
            write(chosen, runs, text)
    except RvosError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
