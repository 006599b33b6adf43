import io
from pathlib import Path

import pytest
from rich.console import Console

from rvos_cli.batch_plan import Job
from rvos_cli.cli import batch, console
from rvos_cli.cli.console import Talk, lines, stderr_console, table


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let stderr be a terminal, and return what is drawn on it."""
    screen = io.StringIO()
    monkeypatch.setattr(
        console, "stderr_console", lambda: Console(file=screen, force_terminal=True, width=100, no_color=True)
    )
    return screen


def test_a_terminal_gets_a_bar_with_the_number_of_frames(terminal: io.StringIO):
    talk = Talk()
    with talk.progress("street.mp4") as report:
        for done in range(1, 51):
            report(done, 50)
        talk.note("a warning above the bar")
    drawn = terminal.getvalue()
    assert "street.mp4" in drawn
    assert "50/50" in drawn
    assert "a warning above the bar" in drawn


def test_a_batch_forgets_the_number_of_frames_of_the_input_before(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch, "stderr_console", console.stderr_console)
    jobs = [Job(input=Path("videos", name), first_mask=None, output=Path("out")) for name in ("a.mp4", "b.mkv")]
    teller = batch._Teller(Talk(), Path("videos"))
    with teller.shown():
        teller.planned(jobs)
        for job, total in zip(jobs, (5, None), strict=True):
            teller.started(job)
            teller.progressed(job, 2, total)
            teller._bars.refresh()
    drawn = terminal.getvalue()
    assert "2/5" in drawn and "2/?" in drawn.rpartition("b.mkv")[2]


def test_a_pipe_gets_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("rvos_cli.cli.console.time.monotonic", lambda: float(next(clock)))
    said: list[str] = []
    report = lines("street.mp4", said.append)
    for done in range(1, 10):
        report(done, None if done < 5 else 9)
    assert said == [
        "street.mp4: frame 3, 0.5 frames/s",
        "street.mp4: frame 6/9, 0.5 frames/s",
        "street.mp4: frame 9/9, 0.5 frames/s",
    ]


def test_a_download_is_told_in_megabytes(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    with Talk().progress("big", in_bytes=True) as report:
        report(6_291_456, 8_316_872)
    assert "6.3/8.3 MB" in terminal.getvalue()
    clock = iter([0.0, 6.0, 12.0])
    monkeypatch.setattr("rvos_cli.cli.console.time.monotonic", lambda: next(clock))
    said: list[str] = []
    report = lines("big", said.append, in_bytes=True)
    report(6_291_456, 8_316_872)
    report(8_316_872, None)
    assert said == ["big: 6.3 of 8.3 MB, 1.0 MB/s", "big: 8.3 MB, 0.7 MB/s"]


def test_quiet_draws_nothing(terminal: io.StringIO, capsys: pytest.CaptureFixture[str]):
    talk = Talk(quiet=True)
    with talk.progress("street.mp4") as report:
        report(1, 2)
    talk.note("nothing")
    talk.data("nothing")
    assert (terminal.getvalue(), capsys.readouterr()) == ("", ("", ""))


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert stderr_console().no_color


def test_a_table_stands_in_columns():
    assert table(("a", "long name"), [("value", "1"), ("v", "22")]) == "a      long name\nvalue  1\nv      22"
