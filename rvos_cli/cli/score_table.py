"""The figures of ``rvos evaluate`` as a table for people.

Enters: a ``DatasetScore``. Leaves: text that fits the terminal, or wide text without colours where there is none.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvos_cli.evaluation import DatasetScore

# Rich cuts a table to 80 columns where there is no terminal; this one has nothing that could be cut.
PIPE_WIDTH = 120
FULL_WIDTH = 100  # of a terminal that has room for the columns' whole names


def score_table(score: DatasetScore) -> str:
    """Return the figures as a table that fits the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from rvos_cli.evaluation.report import COLUMNS, rows

    here = Console()
    text = io.StringIO()
    console = Console(file=text, force_terminal=here.is_terminal, width=here.width if here.is_terminal else PIPE_WIDTH)
    narrow = console.width < FULL_WIDTH
    title = f"{score.task}, sequences: {len(score.sequences)}, objects: {len(score.objects)}"
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 1))
    table.add_column("sequence", overflow="fold")
    table.add_column("object", justify="right")
    for column in COLUMNS:
        name = column.removesuffix("-Mean")
        if narrow:
            name = name.replace("-Recall", "-Rec").replace("-Decay", "-Dec")
        table.add_column(name, justify="right", no_wrap=True)
    several = {sequence.name for sequence in score.sequences if len(sequence.objects) > 1}
    for row in rows(score):
        total = row["sequence"] == "all" and row["object"] == "all"
        if row["object"] == "all" and not total and row["sequence"] not in several:
            continue
        if total:
            table.add_section()
        table.add_row(str(row["sequence"]), str(row["object"]), *(f"{row[column]:.3f}" for column in COLUMNS))
    console.print(table)
    return text.getvalue().rstrip("\n")
