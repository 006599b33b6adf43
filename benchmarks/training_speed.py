"""Who waits for whom in training: how fast clips are made, and how fast a network learns from them.

    python benchmarks/training_speed.py --data ../shared/data

Enters: a data folder, as `rvos train` takes it. Leaves: a Markdown table on stdout, a row for each size of clips that
the recipes have. A worker's clips a second are made in this process, by one thread. The network's are those of a short
`rvos train` of that size on the device, its waits for clips and its first steps left out. The last column says how many
workers keep it busy; by itself `rvos train` starts one on a CPU, and on a GPU one a core but one, at most 16.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from speed_machine import shown_command, surroundings

from rvos_cli.device import choose_device
from rvos_cli.errors import RvosError
from rvos_cli.training.batches import clip_dataset
from rvos_cli.training.loop import train
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import Stage, TrainOptions
from rvos_cli.version import __version__

WARM_CLIPS, CLIPS = 20, 100
WARM_STEPS = 3


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    chosen = parse(words)
    device = choose_device(chosen.device)
    gpu = torch.cuda.get_device_name(device.device) if device.device.type == "cuda" else ""
    facts = {"gpu": gpu, "cuda": torch.version.cuda, "python": sys.version.split()[0]}
    print(surroundings(facts, {"rvos": __version__, "torch": str(torch.__version__)}) + "\n")
    print(f"`{shown_command('training_speed.py', sys.argv[1:])}`\n")
    print("| clips | a worker makes, clips/s | the network learns from, clips/s | workers that keep it busy |")
    print("| --- | --- | --- | --- |")
    for name, stage in stages(chosen.recipes):
        options = TrainOptions(
            data=chosen.data,
            output=Path(),
            recipe=recipe(name, stages=(stage,), steps=WARM_STEPS + chosen.steps, batch=chosen.batch, divided=0.0),
            init=chosen.init,
            device=chosen.device,
        )
        made, learned = clips_made(options, stage), clips_learned(options)
        height, width = stage.size
        needed = math.ceil(learned / made)
        print(f"| {stage.frames} frames, {height}x{width} | {made:.1f} | {learned:.2f} | {needed} |", flush=True)
    return 0


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with train/")
    parser.add_argument("--recipes", default="lite,lite-full", help="with commas between")
    parser.add_argument("--init", default="lite", metavar="NAME|PATH", help="the network's weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--steps", type=int, default=6, help="steps that are measured, after three that are not")
    return parser.parse_args(words)


def stages(recipes: str) -> list[tuple[str, Stage]]:
    """Return a stage of every size of clips, the smallest first, each with the recipe that it is of."""
    sizes = {
        (stage.frames, *stage.size): (name, replace(stage, until=1.0))
        for name in recipes.split(",")
        for stage in recipe(name).stages
    }
    return [sizes[size] for size in sorted(sizes)]


def clips_made(options: TrainOptions, stage: Stage) -> float:
    """Return how many clips a second this process makes with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    clips = clip_dataset(options, stage)
    for index in range(WARM_CLIPS):
        clips[index]
    began = time.perf_counter()
    for index in range(WARM_CLIPS, WARM_CLIPS + CLIPS):
        clips[index]
    seconds = time.perf_counter() - began
    torch.set_num_threads(threads)
    return CLIPS / seconds


def clips_learned(options: TrainOptions) -> float:
    """Return how many clips a second the network learns from when it never waits for one."""
    with tempfile.TemporaryDirectory() as folder:
        train(replace(options, output=Path(folder)))
        with (Path(folder) / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))[WARM_STEPS:]
    return len(rows) * options.recipe.batch / sum(float(row["seconds"]) - float(row["waited"]) for row in rows)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RvosError as error:
        sys.exit(f"error: {error}")
