"""How far a training is: reports of steps and validations enter; a bar on a terminal, plain lines elsewhere leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rvos_cli.cli.console import Talk, make_bars, stderr_console

if TYPE_CHECKING:
    from rvos_cli.training.step import StepReport
    from rvos_cli.training.validation import ValidationReport

SECONDS_BETWEEN_LINES = 20.0
TOO_LONG = 0.1  # share of the time that a run may wait for its clips before that is worth a word


class Pace:
    """How long a step takes, measured since this start of the run: validations and saving count, earlier starts do not.

    The first step does not count either: it waits for the first clips.
    """

    def __init__(self) -> None:
        """Wait for the first step."""
        self._first: tuple[int, float] | None = None
        self._waited = self._passed = 0.0

    def after(self, step: int, now: float, waited: float = 0.0) -> float | None:
        """Return the mean seconds a step once *step* steps are done, the last after *waited*; None after the first."""
        if self._first is None:
            self._first = step, now
            return None
        done, began = self._first
        self._waited, self._passed = self._waited + waited, now - began
        return self._passed / (step - done)

    @property
    def delay(self) -> str:
        """What to say of the wait for clips; nothing if it is short."""
        share = self._waited / self._passed if self._passed else 0.0
        return f"{share:.0%} of it waiting for clips" if share > TOO_LONG else ""


class Lines:
    """A plain line now and then, for logs and pipes."""

    def __init__(self, talk: Talk) -> None:
        """Speak through *talk*."""
        self._talk, self._pace, self._last = talk, Pace(), 0.0

    def step(self, report: StepReport) -> None:
        """Take in a step."""
        now, done = time.monotonic(), report.step + 1
        seconds = self._pace.after(done, now, report.waited)
        if now - self._last < SECONDS_BETWEEN_LINES and done < report.steps:
            return
        self._last = now
        said = f"step {done}/{report.steps}: loss {report.loss:.3f} ({_parts(report)})"
        if seconds is not None:
            delay = f" ({self._pace.delay}: give more --workers)" if self._pace.delay else ""
            said += f", {seconds:.2f} s a step{delay}, {duration(seconds * (report.steps - done))} left"
        self._talk.note(said)

    def validation(self, report: ValidationReport) -> None:
        """Take in a validation."""
        self._talk.note(_verdict(report))


class Bar:
    """A bar with the time left; validations are printed above it."""

    def __init__(self, talk: Talk) -> None:
        """Speak through *talk*; nothing is shown before the first step."""
        self._talk, self._pace = talk, Pace()
        self.bars = make_bars(stderr_console())
        self._task = self.bars.add_task("training", total=None)

    def step(self, report: StepReport) -> None:
        """Take in a step."""
        if not self.bars.tasks[
            0
        ].total:  # where the run goes on is where the bar begins: no pace in what was done before
            self.bars.reset(self._task, total=report.steps, completed=report.step)
            self.bars.start()
        self._pace.after(report.step + 1, time.monotonic(), report.waited)
        said = ", ".join(filter(None, [f"loss {report.loss:.3f}", self._pace.delay]))
        self.bars.update(self._task, completed=report.step + 1, description=said)

    def validation(self, report: ValidationReport) -> None:
        """Take in a validation."""
        self._talk.note(_verdict(report))


@contextmanager
def training_progress(talk: Talk) -> Iterator[Lines | Bar]:
    """Show how far a training is, in the way that suits where stderr goes."""
    if talk.quiet or not stderr_console().is_terminal:
        yield Lines(talk)
        return
    bar = Bar(talk)
    with talk.drawing(bar.bars, bar.bars):
        yield bar


def duration(seconds: float) -> str:
    """Return ``3 h 07 min``, ``12 min`` or ``40 s``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _parts(report: StepReport) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in report.parts.items())


def _verdict(report: ValidationReport) -> str:
    scores = ", ".join(f"{mode} {value:.3f}" for mode, value in report.scores.items())
    return f"validation after {report.step} steps: J&F {scores}{', the best so far' if report.best else ''}"
