"""How lite's cost grows over a video's length, with the number of objects, and with the size it looks at.

Enters: a worker (``speed_worker.py``). Leaves: a CSV of seconds per frame, and a picture of it beside the CSV.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

LENGTH, STEP = 300, 10
OBJECTS = range(1, 11)
SIZES = (256, 320, 384, 480, 576, 720)
TURNS, COUNTED = 3, 6
UNCOUNTED = 2  # the first was encoded when the turn before ended; the second's size may have to be compiled again
SETTLING = 16  # frames until lite's memory of the video is as large as it gets

Growth = dict[str, list[tuple[int, float]]]
AXES = {
    "frame": f"frame of the video (means of {STEP}; three objects)",
    "objects": "objects",
    "size": "short side at which the network looks (two objects)",
}


class Worker(Protocol):
    """Whatever carries out commands."""

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Send a command and return its answer."""


def measure_growth(worker: Worker, path: Path, say: Callable[[str], None], *, times: int = 1) -> Growth:
    """Measure the three curves and write them to *path*; points of a curve take turns of *times* as many frames."""
    say(f"growth: {LENGTH} frames")
    worker.ask("open", key="long", program="lite", objects=3)
    taken = worker.ask("take", key="long", frames=LENGTH)["seconds"]
    worker.ask("close", key="long")
    growth = {
        "frame": [(first + STEP, statistics.fmean(taken[first : first + STEP])) for first in range(0, LENGTH, STEP)],
        "objects": _curve(worker, "objects", {count: {"objects": count} for count in OBJECTS}, say, times),
        "size": _curve(worker, "size", {size: {"objects": 2, "size": size} for size in SIZES}, say, times),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("against", "value", "seconds_per_frame"))
        for name, points in growth.items():
            writer.writerows((name, x, f"{seconds:.6f}") for x, seconds in points)
    return growth


def draw_growth(growth: Growth, path: Path, title: str, say: Callable[[str], None]) -> bool:
    """Draw the curves side by side and return True; without matplotlib say so and draw nothing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        say("no picture: it needs matplotlib (pip install 'rvos-cli[plot]')")
        return False
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, points) in zip(figure.subplots(1, len(growth)), growth.items(), strict=True):
        axes.plot([x for x, _ in points], [1000 * seconds for _, seconds in points], marker=".", color="#2f6fdf")
        axes.set_xlabel(AXES[name])
        axes.set_ylabel("milliseconds a frame")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=100)
    return True


def _curve(
    worker: Worker, name: str, points: dict[int, dict[str, int]], say: Callable[[str], None], times: int
) -> list[tuple[int, float]]:
    turns: dict[int, list[float]] = {x: [] for x in points}
    for x, options in points.items():
        say(f"growth: {name} {x}")
        worker.ask("open", key=f"{name} {x}", program="lite", **options)
        worker.ask("take", key=f"{name} {x}", frames=SETTLING)
    for _ in range(TURNS):
        for x in points:
            seconds = worker.ask("take", key=f"{name} {x}", frames=UNCOUNTED + COUNTED * times)["seconds"]
            turns[x].append(statistics.fmean(seconds[UNCOUNTED:]))
    for x in points:
        worker.ask("close", key=f"{name} {x}")
    return [(x, statistics.median(values)) for x, values in turns.items()]
