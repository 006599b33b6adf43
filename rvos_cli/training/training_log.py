"""What a run writes down: reports enter, lines of CSV and TensorBoard's event files leave.

Only the first process has a log. When a run goes on, lines of what will be done again are dropped.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rvos_cli.errors import UsageError
from rvos_cli.training.run_options import TrainOptions
from rvos_cli.training.step import StepReport
from rvos_cli.training.validation import MODES, ValidationReport
from rvos_cli.whole_files import unwritable, writing_beside

PARTS = ("track", "discover", "empty", "cue")


class Table:
    """A CSV file whose rows begin with a step."""

    def __init__(self, path: Path, columns: Sequence[str], *, below: int) -> None:
        """Keep the rows of an earlier run whose step is smaller than *below*; drop the rest.

        Raises:
            OutputError: the file cannot be written; then it is as it was.
        """
        lines = path.read_text(errors="replace").splitlines(keepends=True)[1:] if path.exists() else []
        # A machine that lost its power may leave half a line, or one of NUL bytes, which csv refuses.
        rows = csv.reader(line for line in lines if line.endswith("\n") and "\0" not in line)
        kept = [row + [""] * (len(columns) - len(row)) for row in rows if row and _is_before(row[0], below)]
        self.rows = kept
        self._path = path
        with writing_beside(path) as beside, beside.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *kept])

    def write(self, row: Sequence[object]) -> None:
        """Add a row.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self._path.open("a", newline="") as file:
                csv.writer(file).writerow(row)
        except OSError as error:
            raise unwritable(self._path, error) from error


class TrainingLog:
    """log.csv with a line a step, validation.csv with a line a validation, and event files if asked for."""

    def __init__(self, options: TrainOptions, step: int) -> None:
        """Prepare the files of a run that has done *step* steps.

        Raises:
            OutputError: a file cannot be written.
            UsageError: event files are asked for, and tensorboard is not installed.
        """
        self._events: Any = _event_files(options.output / "tensorboard", step) if options.tensorboard else None
        self._steps = Table(options.output / "log.csv", ["step", "loss", *PARTS, "seconds", "waited"], below=step)
        self._validations = (
            Table(options.output / "validation.csv", ["step", "score", *MODES, "seconds"], below=step + 1)
            if options.validate is not None
            else None
        )

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Step and score of the validations before this start of the run."""
        return [] if self._validations is None else [(int(row[0]), float(row[1])) for row in self._validations.rows]

    def add_step(self, report: StepReport) -> None:
        """Take in a step."""
        parts = [f"{report.parts[name]:.5f}" if name in report.parts else "" for name in PARTS]
        self._steps.write([report.step, f"{report.loss:.5f}", *parts, f"{report.seconds:.3f}", f"{report.waited:.3f}"])
        if self._events is not None:
            numbers = {"loss/total": report.loss, "rate": report.rate, "seconds a step": report.seconds}
            numbers["seconds waited for clips"] = report.waited
            numbers |= {f"loss/{name}": value for name, value in report.parts.items()}
            self._add(numbers, report.step)

    def add_validation(self, report: ValidationReport) -> None:
        """Take in a validation."""
        scores = [f"{report.scores[mode]:.5f}" if mode in report.scores else "" for mode in MODES]
        if self._validations is not None:
            # The score as it is: a run that goes on compares its next ones with it.
            self._validations.write([report.step, repr(report.score), *scores, f"{report.seconds:.1f}"])
        if self._events is not None:
            self._add({f"validation/{mode}": value for mode, value in report.scores.items()}, report.step)
            with Image.open(report.picture) as picture:
                pixels = np.asarray(picture)
            self._events.add_image("validation", pixels, report.step, dataformats="HWC")

    def _add(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> TrainingLog:
        """Return the log as it is."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the event files; the others are open for a row at a time."""
        if self._events is not None:
            self._events.close()


def _is_before(step: str, below: int) -> bool:
    return step.isdecimal() and int(step) < below


def _event_files(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("event files need tensorboard", cure="pip install 'rvos-cli[train]'") from error
    # TensorBoard shows no earlier events of the steps that are done again.
    return SummaryWriter(str(folder), purge_step=step)
