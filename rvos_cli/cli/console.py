"""What the user sees: data on stdout, everything else on stderr, bars on a terminal and plain lines elsewhere.

Enters: summaries, notices, progress. Leaves: text. Beside it only the scores of ``evaluate`` are drawn with Rich.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from rvos_cli.results import RunSummary
    from rvos_cli.segmenter import Segmenter

Report: TypeAlias = Callable[[int, "int | None"], None]
SECONDS_BETWEEN_LINES = 5.0
MOST_DOUBTS = 3  # that are told, the longest
MEGABYTE = 1e6


class Talk:
    """How one command speaks: ``--json``, ``--quiet`` and ``--verbose`` decided once.

    Args:
        as_json: stdout gets one JSON document and nothing else.
        quiet: neither data nor progress is printed, errors only (``as_json`` still prints its document).
        verbose: more detail on stderr.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        """Remember the choice."""
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        self._bars: Progress | None = None
        self._waiting: str | None = None  # said before the first other line, unless that is an error

    def data(self, line: str) -> None:
        """Print a line of the result: on stdout, or on stderr when stdout belongs to JSON."""
        if self.as_json:
            self.note(line)
        elif not self.quiet:
            self._say_waiting()
            _write(line, sys.stdout)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table of the result: with lines and figures flush right on a terminal, plain text elsewhere."""
        if self.as_json or self.quiet or not sys.stdout.isatty():
            self.data(table(headers, rows))
            return
        from rich.console import Console
        from rich.table import Table

        drawn = Table(*headers)
        for column in drawn.columns[1:]:
            column.justify = "right"
        for row in rows:
            drawn.add_row(*row)
        self._say_waiting()
        Console().print(drawn, markup=False, highlight=False)

    def document(self, value: Any) -> None:
        """Print the one JSON document, if JSON was asked for."""
        if self.as_json:
            legible = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
            _write(json.dumps(value, indent=2, ensure_ascii=not legible), sys.stdout)

    def note(self, line: str) -> None:
        """Print a line about the work on stderr."""
        if not self.quiet:
            self._say_waiting()
            self._print(line)

    def detail(self, line: str) -> None:
        """Print a line on stderr for those who asked for more."""
        if self.verbose:
            self.note(line)

    def error(self, line: str, *, of: Exception | None = None) -> None:
        """Print an error on stderr, whatever was asked for; with ``RVOS_DEBUG=1`` the traceback *of* it, too."""
        if of is not None and os.environ.get("RVOS_DEBUG") == "1":
            self._print("".join(traceback.format_exception(of)).rstrip())
        self._print(f"error: {line}")

    def notice(self, kind: str, line: str) -> None:
        """Print what the library wants to be known: ``found`` is data, a ``warning`` is not."""
        if kind == "found":
            self.data(line)
        else:
            self.note(f"{kind}: {line}")

    def _say_waiting(self) -> None:
        line, self._waiting = self._waiting, None
        if line is not None:
            self._print(line)

    def _print(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            _write(line, sys.stderr)

    def load(self, weights: str, *, device: str, half: bool | None) -> Segmenter:
        """Load the model; where it runs and why is said when the work begins, so that a failure stays one line."""
        from rvos_cli.segmenter import load_model

        model = load_model(weights, device=device, half=half)
        told = [f"device {model.device_reason}"]
        if self.verbose:
            told.append(f"weights: {model.name}, sha256 {model.sha256}, short side {model.config.size} by default")
        self._waiting = None if self.quiet else "\n".join(told)
        return model

    def summary(self, summary: RunSummary) -> None:
        """Print what one run did and where the results lie."""
        folder = Path(summary.outputs["summary"]).parent
        objects = len(summary.objects)
        height, width = summary.size
        self.data(
            f"{folder}: {summary.frames} frame{'s' * (summary.frames != 1)} of {width}x{height}, "
            f"{objects} object{'s' * (objects != 1)}, "
            f"{summary.seconds:.1f} s, {summary.frames_per_second:.1f} frames/s"
        )
        for each in summary.objects:
            span = "never seen" if each.first_frame is None else f"frames {each.first_frame} to {each.last_frame}"
            self.detail(
                f"  object {each.id}: {span}, seen in {each.frames_seen}, mean area {each.mean_area:.0f} pixels"
            )
        for name, path in summary.outputs.items():
            self.detail(f"  {name}: {path}")
        worst = sorted(summary.doubts, key=lambda doubt: doubt.first_frame - doubt.last_frame)[:MOST_DOUBTS]
        told = [f"object {each.id} in frames {each.first_frame} to {each.last_frame}" for each in worst]
        if told:
            others = len(summary.doubts) - len(told)
            self.note(f"doubtful: {', '.join(told)}{f', and {others} more in summary.json' if others else ''}")

    @contextmanager
    def progress(self, label: str, *, in_bytes: bool = False) -> Iterator[Report]:
        """Show the progress of one video, or of a download *in_bytes*; the bar appears with its first frame."""
        if self.quiet:
            yield lambda done, total: None
            return
        console = stderr_console()
        if not console.is_terminal:
            tell = lines(label, self.note, in_bytes=in_bytes)

            def count(done: int, total: int | None) -> None:
                self._say_waiting()
                tell(done, total)

            yield count
            return
        bars = make_bars(console, in_bytes=in_bytes)
        task = bars.add_task(label, total=None)

        def report(done: int, total: int | None) -> None:
            if self._bars is None:
                self._say_waiting()
                self._bars = bars
                bars.start()
            bars.update(task, completed=done, total=total)

        with self.drawing(None, bars):
            yield report

    @contextmanager
    def drawing(self, shown: Progress | None, stopped: Progress) -> Iterator[None]:
        """Send all that is printed on stderr above the bars that are *shown*; stop and forget them at the end."""
        self._bars = shown
        try:
            yield
        finally:
            stopped.stop()
            self._bars = None


def silence(stream: TextIO) -> None:
    """Let nothing be written to a stream any more that nobody reads, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(line: str, stream: TextIO | None) -> None:
    if stream is None:  # it was closed before the start
        return
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)  # the work is worth its end: what it writes are files


def stderr_console() -> Console:
    """Return a Rich console on stderr; Rich itself honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True)


def make_bars(console: Console, *, in_bytes: bool = False) -> Progress:
    """Return the bars' design: what, how far, how long still."""
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
        # Rich would send what is printed on stdout to this console, which is stderr.
        redirect_stdout=False,
        redirect_stderr=False,
    )


def lines(label: str, say: Callable[[str], None], *, in_bytes: bool = False) -> Report:
    """Return a report that says a plain line now and then, for logs and pipes."""
    start = last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        rate = done / (now - start)
        if in_bytes:
            of = "" if total is None else f" of {total / MEGABYTE:.1f}"
            say(f"{label}: {done / MEGABYTE:.1f}{of} MB, {rate / MEGABYTE:.1f} MB/s")
        else:
            of = "" if total is None else f"/{total}"
            say(f"{label}: frame {done}{of}, {rate:.1f} frames/s")

    return report


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text with aligned columns; every row has as many cells as *headers*."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headers, *rows)
    )


def want_command(context: typer.Context) -> None:
    """Print the help and end as wrong usage where no command follows; versions of click differ in both."""
    if context.invoked_subcommand is None:
        with redirect_stdout(sys.stderr):
            typer.echo(context.get_help())
        raise typer.Exit(2)
