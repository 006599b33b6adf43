"""What is said while a training runs, above all how long it still takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvos_cli.cli import train_progress
from rvos_cli.cli.console import Talk
from rvos_cli.cli.train_progress import Bar, Lines, Pace, duration
from rvos_cli.training.step import StepReport
from rvos_cli.training.validation import ValidationReport


def report(step: int, steps: int = 1000, waited: float = 0.0) -> StepReport:
    return StepReport(step, steps, 0.5, {"track": 0.25}, 1e-3, 2.0, waited)


def test_the_pace_is_that_of_the_steps_of_this_start():
    pace = Pace()
    assert pace.after(901, now=50.0) is None  # goes on at step 900, after 50 seconds of loading
    assert pace.after(903, now=54.0) == 2.0
    assert pace.after(911, now=80.0) == 3.0


def test_lines_tell_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr(train_progress.time, "monotonic", lambda: next(clock))
    lines = Lines(Talk())
    for step in (900, 901, 902):
        lines.step(report(step))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "step 901/1000: loss 0.500 (track 0.250)"
    assert said[1:] == ["step 903/1000: loss 0.500 (track 0.250), 15.00 s a step, 24 min left"]


def test_a_long_wait_for_clips_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr(train_progress.time, "monotonic", lambda: next(clock))
    lines = Lines(Talk())
    for step, waited in ((900, 8.0), (901, 3.0), (902, 6.0)):  # the first step's wait is for the first clips
        lines.step(report(step, waited=waited))
    assert capsys.readouterr().err.splitlines()[1] == (
        "step 903/1000: loss 0.500 (track 0.250), "
        "15.00 s a step (30% of it waiting for clips: give more --workers), 24 min left"
    )


def test_a_validation_is_one_line(capsys: pytest.CaptureFixture[str]):
    Lines(Talk()).validation(ValidationReport(500, {"one-shot": 0.8, "zero-shot": 0.6}, 0.7, True, Path("x.png"), 9.0))
    assert capsys.readouterr().err == (
        "validation after 500 steps: J&F one-shot 0.800, zero-shot 0.600, the best so far\n"
    )


def test_a_bar_begins_where_the_run_goes_on():
    bar = Bar(Talk())
    try:
        bar.step(report(900))
        bar.step(report(901))
        task = bar.bars.tasks[0]
        assert (task.completed, task.total, task.description) == (902, 1000, "loss 0.500")
        assert task.speed is None or task.speed < 1e7
        assert sum(sample.completed for sample in task._progress) == 2
    finally:
        bar.bars.stop()


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12 s"), (100, "2 min"), (3599, "1 h 00 min"), (11_220, "3 h 07 min")]
)
def test_durations_are_short(seconds: float, text: str):
    assert duration(seconds) == text
