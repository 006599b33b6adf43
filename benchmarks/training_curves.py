"""Curves of a training run: the run's log.csv enters, a PNG and a thinned CSV for docs/training/ leave.

python benchmarks/training_curves.py runs/lite/log.csv docs/training/lite-1
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

PARTS = ("loss", "track", "discover", "empty", "cue")
WINDOW = 50


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a log; what a step did not have is NaN."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def windows(values: np.ndarray) -> np.ndarray:
    """Return the mean of every WINDOW steps, leaving out what is NaN."""
    whole = len(values) // WINDOW * WINDOW
    blocks = np.ma.masked_invalid(values[:whole].reshape(-1, WINDOW))
    return np.asarray(blocks.mean(axis=1).filled(np.nan))


def main(log: Path, target: Path) -> None:
    """Write ``<target>.png`` and ``<target>.csv``."""
    columns = read(log)
    steps = windows(columns["step"])
    target.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name in PARTS:
        axes.plot(steps, windows(columns[name]), label=name)
    axes.set(xlabel="step", ylabel=f"mean of {WINDOW} steps", yscale="log", title=target.name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target.with_suffix(".png"), dpi=110)
    with target.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *PARTS, "seconds"])
        table = np.stack([steps, *(windows(columns[name]) for name in (*PARTS, "seconds"))], axis=1)
        writer.writerows([int(row[0]), *(f"{value:.4f}" for value in row[1:])] for row in table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, metavar="LOG", help="the run's log.csv")
    parser.add_argument("target", type=Path, metavar="TARGET", help="what is written, without .png and .csv")
    chosen = parser.parse_args()
    main(chosen.log, chosen.target)
