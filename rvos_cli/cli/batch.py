"""``rvos batch``: a tree of videos in, the same tree of outputs out, and a table of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Report, Talk, lines, make_bars, stderr_console, table
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions, OutputOptions

if TYPE_CHECKING:
    from rich.progress import TaskID

    from rvos_cli.batch import BatchReport, JobResult, Listener
    from rvos_cli.batch_plan import Job


def batch(
    folder: Annotated[
        Path,
        options.path_argument(metavar="FOLDER", help="Searched for videos and frame folders.", show_default=False),
    ],
    first_masks: Annotated[
        Path | None,
        options.path_option(
            "--masks",
            metavar="DIR",
            help="Folder of first masks, <stem>.png or the first PNG of <stem>/; a mask means track, none segment.",
            show_default="<stem>.png beside each input",
        ),
    ] = None,
    frame_masks: Annotated[
        Path | None,
        options.path_option(
            "--frame-masks",
            metavar="DIR",
            help="Folder of corrected masks, <stem>/ for each input, whole, and named as in masks/ of its results.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        options.path_option(
            "--output", "-o", metavar="DIR", help="Root of the tree of outputs.", rich_help_panel=options.FILES
        ),
    ] = Path("rvos-out"),
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            "-f",
            help="Do the finished inputs again, too, and replace results of others.",
            rich_help_panel=options.FILES,
        ),
    ] = False,
    overlay: options.Overlay = True,
    no_masks: Annotated[
        bool, typer.Option("--no-masks", help="Write no masks/<name>.png.", rich_help_panel=options.FILES)
    ] = False,
    objects: options.Objects = True,
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    max_objects: options.MaxObjects = InferenceOptions.max_objects,
    threshold: options.Threshold = InferenceOptions.threshold,
    half: options.Half = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Process every video and frame folder below FOLDER; what is finished already is skipped.

    An input with a mask beside it, <stem>.png, is tracked; in all others the objects are found. A failed input does
    not stop the others.
    """
    inference = InferenceOptions(size=size, max_objects=max_objects, threshold=threshold)
    outputs = OutputOptions(overlay=overlay, masks=not no_masks, objects=objects, force=force)
    from rvos_cli.batch import run_batch
    from rvos_cli.batch_plan import no_first_mask_of, plan, unused_masks

    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    jobs = plan(
        folder, output=output, masks=first_masks, frame_masks=frame_masks
    )  # a wrong folder is said before the weights are loaded
    talk.note(f"{len(jobs)} input{'s' * (len(jobs) != 1)} below {folder}")
    for unused in [] if frame_masks is None else unused_masks(jobs, frame_masks):
        talk.notice("warning", f"the masks in {unused} are of no input below {folder}")
    if first_masks is not None and no_first_mask_of(jobs, folder, first_masks):
        talk.notice("warning", f"no mask in {first_masks} is of an input below {folder}")
    model = talk.load(weights, device=device, half=half)
    listener = _Teller(talk, folder)
    with listener.shown():
        report = run_batch(
            model,
            folder,
            output=output,
            masks=first_masks,
            frame_masks=frame_masks,
            inference=inference,
            outputs=outputs,
            listener=cast("Listener", listener),
        )
    _print_table(report, talk)
    talk.document(report.to_dict())
    if report.failed:
        talk.error(f"{len(report.failed)} of {len(report.results)} inputs failed")
        raise typer.Exit(3)


class _Teller:
    """Shows a bar for all inputs and one for the present one; plain lines where there is no terminal."""

    def __init__(self, talk: Talk, folder: Path) -> None:
        self._talk, self._folder = talk, folder
        self._count, self._ended = 0, 0
        console = stderr_console()
        self._bars = make_bars(console) if console.is_terminal and not talk.quiet else None
        self._tasks: tuple[TaskID, TaskID] | None = None
        self._line: Report | None = None

    def shown(self) -> AbstractContextManager[None]:
        """Draw the bars for as long as the context lasts."""
        if self._bars is None:
            return nullcontext()
        self._bars.start()
        return self._talk.drawing(self._bars, self._bars)

    def planned(self, jobs: Sequence[Job]) -> None:
        self._count = len(jobs)
        if self._bars is not None:
            self._tasks = (self._bars.add_task("all inputs", total=len(jobs)), self._bars.add_task("", total=None))

    def started(self, job: Job) -> None:
        self._line = lines(self._name(job), self._talk.note)
        if self._bars is not None and self._tasks is not None:
            # Rich would keep the number of frames of the input before where it is told None.
            everything, before = self._tasks
            self._bars.remove_task(before)
            self._tasks = everything, self._bars.add_task(self._name(job), total=None)

    def progressed(self, job: Job, done: int, total: int | None) -> None:
        if self._bars is not None and self._tasks is not None:
            share = min(1.0, done / total) if total else 0.0
            self._bars.update(self._tasks[1], completed=done, total=total)
            self._bars.update(self._tasks[0], completed=self._ended + share)
        elif self._line is not None:
            self._line(done, total)

    def noticed(self, job: Job, kind: str, line: str) -> None:
        self._talk.note(f"{self._name(job)}: {line if kind == 'found' else f'{kind}: {line}'}")

    def postponed(self, job: Job) -> None:
        self._talk.note(f"{self._name(job)}: another run is at it; looked at again when the others are done")

    def ended(self, result: JobResult) -> None:
        self._ended += 1
        if self._bars is not None and self._tasks is not None:
            self._bars.update(self._tasks[0], completed=self._ended)
        place = f"[{self._ended}/{self._count}] {self._name(result.job)}"
        if result.status == "failed":
            self._talk.error(f"{place}: {result.error}", of=result.failure)
        else:
            self._talk.note(f"{place}: {result.status}, {result.seconds:.1f} s")

    def _name(self, job: Job) -> str:
        return str(job.input if job.input == self._folder else job.input.relative_to(self._folder))


def _print_table(report: BatchReport, talk: Talk) -> None:
    if talk.as_json:
        return
    rows = []
    for result in report.results:
        done = result.summary
        rows.append(
            (
                str(result.job.input),
                result.job.mode,
                result.status,
                "" if done is None else str(done.frames),
                "" if done is None else str(len(done.objects)),
                "" if done is None else f"{result.seconds:.1f}",
                result.error or str(result.job.output),
            )
        )
    talk.data(table(("input", "mode", "status", "frames", "objects", "seconds", "output"), rows))
