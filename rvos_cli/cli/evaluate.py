"""``rvos evaluate``: scores stored masks, or runs weights on a data set and scores them.

Enters: folders of masks, or the root of a data set. Leaves: a table or JSON on stdout; CSV, a plot and a submission
where asked for.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.cli.score_table import score_table
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions
from rvos_cli.errors import UsageError

if TYPE_CHECKING:
    from rvos_cli.evaluation import Dataset, DatasetScore, Submission, Task
    from rvos_cli.segmenter import Segmenter

STORED, DATASET = "Stored masks", "Data set"


class TaskName(str, Enum):
    """The protocols, as the command line names them."""

    semi_supervised = "semi-supervised"
    unsupervised = "unsupervised"
    foreground = "foreground"
    youtube_vos = "youtube-vos"


class DatasetName(str, Enum):
    """The data sets, as the command line names them."""

    davis2016 = "davis2016"
    davis2017 = "davis2017"
    youtube_vos = "youtube-vos"
    folder = "folder"


def evaluate(
    pred: Annotated[
        Path | None,
        options.path_option(
            "--pred",
            help="Predicted masks: a folder of PNGs per sequence, or what rvos batch wrote.",
            show_default=False,
            rich_help_panel=STORED,
        ),
    ] = None,
    gt: Annotated[
        Path | None,
        options.path_option(
            "--gt",
            help="True masks: likewise, or a DAVIS root.",
            show_default=False,
            rich_help_panel=STORED,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes.", show_default="one per core", rich_help_panel=STORED),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(
            "--dataset", help="Run the weights on this data set.", show_default=False, rich_help_panel=DATASET
        ),
    ] = None,
    root: Annotated[
        Path | None,
        options.path_option(
            "--root", help="Where it lies, in its official layout.", show_default=False, rich_help_panel=DATASET
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, val, test-dev, ...; valid_all_frames for all frames of YouTube-VOS.",
            show_default="val, or valid",
            rich_help_panel=DATASET,
        ),
    ] = None,
    submission: Annotated[
        Path | None,
        options.path_option(
            "--submission",
            metavar="FILE.zip",
            help="Also write the masks as the official server wants them.",
            show_default=False,
            rich_help_panel=DATASET,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a submission that is there.", rich_help_panel=DATASET)
    ] = False,
    task: Annotated[
        TaskName,
        typer.Option(
            "--task",
            help="semi-supervised: ids as given, one-shot. unsupervised: objects are matched, zero-shot. "
            "foreground: all objects as one (DAVIS 2016). youtube-vos: objects count from their own first mask on.",
        ),
    ] = TaskName.semi_supervised,
    sequences: Annotated[
        str | None,
        typer.Option("--sequences", help="Only these: names with commas between, or a text file with a name a line."),
    ] = None,
    csv: Annotated[Path | None, options.path_option("--csv", help="Also write the figures to this CSV file.")] = None,
    plot: Annotated[
        Path | None,
        options.path_option(
            "--plot", help="Also draw bars and curves per frame to this file (.png, .svg, .pdf; needs matplotlib)."
        ),
    ] = None,
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
    """Score masks as the official tools do: J (region), F (boundary), their mean, recall and decay.

    Either stored masks (--pred and --gt), or those that weights compute on a data set (--dataset and --root).
    """
    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    names = _chosen(sequences) if sequences is not None else None
    if plot is not None:
        from rvos_cli.evaluation.report import require_plot

        require_plot(plot)
    document: dict[str, Any] = {}
    score: DatasetScore | None
    if dataset is None:
        if pred is None or gt is None:
            raise UsageError(
                "nothing to score is named",
                cure="give --pred and --gt for stored masks, or --dataset and --root to run weights on a data set",
            )
        switches = {"--root": root, "--split": split, "--submission": submission}
        if of_dataset := [name for name, value in switches.items() if value is not None]:
            raise UsageError(f"of no use to stored masks: {', '.join(of_dataset)}", cure="leave it out")
        score = _score_stored(pred, gt, task.value, names, workers, talk)
    else:
        if root is None or pred is not None or gt is not None:
            raise UsageError("--dataset needs --root, and neither --pred nor --gt", cure="name the data set's folder")
        from rvos_cli.evaluation import Submission, load_dataset

        inference = InferenceOptions(size=size, max_objects=max_objects, threshold=threshold, half=half)
        data = load_dataset(dataset.value, root, split=split, task=task.value, sequences=names)
        _require_use(data, submission, csv, plot)
        archive = None if submission is None else Submission(submission, folder=data.archive_folder, force=force)
        model = talk.load(weights, device=device, half=half)
        score, document = _score_dataset(model, data, task.value, inference, archive, talk)
    _report(score, document, csv, plot, talk)


def _report(
    score: DatasetScore | None, document: dict[str, Any], csv: Path | None, plot: Path | None, talk: Talk
) -> None:
    from rvos_cli.evaluation.report import write_csv, write_plot

    # Whatever fails, the rest is told: the figures can have cost hours.
    with ExitStack() as stack:
        if score is not None and plot is not None:
            stack.callback(write_plot, plot, score)
        if score is not None and csv is not None:
            stack.callback(write_csv, csv, score)
        if score is not None and not talk.as_json:
            talk.data(score_table(score))
        talk.document({**document, **(score.to_dict() if score is not None else {})})


def _score_stored(
    pred: Path, gt: Path, task: Task, names: list[str] | None, workers: int | None, talk: Talk
) -> DatasetScore:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rvos_cli.evaluation import evaluate_folders, sequence_names

    names = sequence_names(gt, task) if names is None else names
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=talk.quiet or talk.as_json or not console.is_terminal,
    )
    with progress:
        bar = progress.add_task("scoring", total=len(names))
        score = evaluate_folders(
            pred, gt, task, sequences=names, workers=workers, on_sequence=lambda _: progress.advance(bar)
        )
    for line in (line for sequence in score.sequences for line in sequence.notices):
        talk.notice("warning", line)
    return score


def _require_use(data: Dataset, submission: Path | None, csv: Path | None, plot: Path | None) -> None:
    """Refuse a run whose results would go nowhere, before the weights are loaded."""
    reason = data.unscorable()
    if reason and submission is None:
        raise data.useless()
    if reason and (csv is not None or plot is not None):
        raise UsageError(f"{reason}, so there are no scores for --csv and --plot", cure="leave them out")


def _score_dataset(
    model: Segmenter,
    data: Dataset,
    task: Task,
    inference: InferenceOptions,
    archive: Submission | None,
    talk: Talk,
) -> tuple[DatasetScore | None, dict[str, Any]]:
    from rvos_cli.evaluation import DatasetRun

    for line in data.notices:
        talk.note(f"warning: {line}")
    with archive or nullcontext():
        run = DatasetRun(model, data, task, options=inference, submission=archive)
        for number, sequence in enumerate(data.sequences, start=1):
            place = f"[{number}/{len(data.sequences)}] {sequence.name}"
            with talk.progress(place) as report:
                score = run.run(sequence, progress=report)
            scored = f", J&F {score.jf:.3f}" if score is not None and score.objects else ""
            talk.note(f"{place}: {len(sequence.frames)} frames{scored}")
            for line in () if score is None else score.notices:
                talk.notice("warning", line)
    speed = run.frames / run.seconds if run.seconds else 0.0
    talk.note(f"{run.frames} frames, {run.seconds:.1f} s, {speed:.1f} frames/s")
    if archive is not None:
        count = len(data.sequences)
        talk.data(f"{archive.path}: {archive.masks} masks of {count} sequence{'s' * (count != 1)}")
    total = run.result()  # which may fail; the submission is finished then
    if total is None:
        upload = "" if data.name == "folder" else "; upload the zip to the official server"
        talk.note(f"not scored: {data.unscorable()}{upload}")
    return total, {
        "dataset": data.name,
        "split": data.split,
        "task": run.protocol,
        "mode": "segment" if task == "unsupervised" else "track",
        "scored": total is not None,
        "submission": None if archive is None else str(archive.path),
        "frames": run.frames,
        "seconds": round(run.seconds, 3),
        "frames_per_second": round(speed, 3),
        "device": str(model.device),
        "weights": {"name": model.name, "sha256": model.sha256},
    }


def _chosen(text: str) -> list[str]:
    """Return the sequences that ``--sequences`` names."""
    try:
        # Only a new line ends a name; some editors put a mark before the first.
        parts = Path(os.path.expanduser(text)).read_text(encoding="utf-8-sig").split("\n")
    except OSError:  # names, of which there may be more than a path is long
        parts = text.split(",")
    except UnicodeDecodeError as error:
        raise UsageError(f"{text} is no text file", cure="give names with commas between, or a text file") from error
    names = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        raise UsageError("--sequences names no sequence", cure="give names with commas between, or a text file")
    return names
