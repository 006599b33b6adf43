"""``rvos evaluate``: scores stored masks and prints a table, or JSON.

Enters: folders of masks. Leaves: the table on stdout, CSV and a plot where asked for.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rvos_cli.errors import UsageError

if TYPE_CHECKING:
    from rvos_cli.evaluation import DatasetScore

# Rich cuts a table to 80 columns where there is no terminal; this one has nothing that could be cut.
PIPE_WIDTH = 120


class TaskName(str, Enum):
    """The protocols, as the command line names them."""

    semi_supervised = "semi-supervised"
    unsupervised = "unsupervised"
    foreground = "foreground"


def evaluate(
    pred: Annotated[
        Path, typer.Option("--pred", help="Predicted masks: a folder of PNGs per sequence, or what rvos batch wrote.")
    ],
    gt: Annotated[Path, typer.Option("--gt", help="True masks: a folder of PNGs per sequence, or a DAVIS root.")],
    task: Annotated[
        TaskName,
        typer.Option(
            "--task",
            help="semi-supervised: ids as given, one-shot. unsupervised: objects are matched, zero-shot. "
            "foreground: all objects as one (DAVIS-2016).",
        ),
    ] = TaskName.semi_supervised,
    sequences: Annotated[
        str | None,
        typer.Option("--sequences", help="Only these: names with commas between, or a text file with a name a line."),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the figures to this CSV file.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw bars and curves per frame to this PNG (needs matplotlib).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; by default one per core.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Score masks as the official DAVIS tools do: J (region), F (boundary), their mean, recall and decay."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rvos_cli.evaluation import evaluate_folders, sequence_names
    from rvos_cli.evaluation.report import write_csv, write_plot

    names = _chosen(sequences) if sequences is not None else sequence_names(gt, task.value)
    progress = Progress(
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or as_json,
    )
    with progress:
        bar = progress.add_task("scoring", total=len(names))
        score = evaluate_folders(
            pred, gt, task.value, sequences=names, workers=workers, on_sequence=lambda _: progress.advance(bar)
        )
    if csv is not None:
        write_csv(csv, score)
    if plot is not None:
        write_plot(plot, score)
    if as_json:
        typer.echo(json.dumps(score.to_dict(), indent=2))
    else:
        _print_table(score)


def _chosen(text: str) -> list[str]:
    """Return the sequences that ``--sequences`` names."""
    path = Path(text)
    parts = path.read_text(encoding="utf-8").split() if path.is_file() else text.split(",")
    names = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        raise UsageError("--sequences names no sequence", cure="give names with commas between, or a text file")
    return names


def _print_table(score: DatasetScore) -> None:
    from rich.console import Console
    from rich.table import Table

    from rvos_cli.evaluation.report import COLUMNS, rows

    table = Table(title=f"{score.task}, sequences: {len(score.sequences)}, objects: {len(score.objects)}")
    table.add_column("sequence", no_wrap=True)
    table.add_column("object", justify="right")
    for column in COLUMNS:
        table.add_column(column.removesuffix("-Mean"), justify="right")
    several = {sequence.name for sequence in score.sequences if len(sequence.objects) > 1}
    for row in rows(score):
        total = row["sequence"] == "all" and row["object"] == "all"
        if row["object"] == "all" and not total and row["sequence"] not in several:
            continue
        if total:
            table.add_section()
        table.add_row(str(row["sequence"]), str(row["object"]), *(f"{row[column]:.3f}" for column in COLUMNS))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)
