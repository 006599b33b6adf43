"""Writes scores for machines and for eyes: CSV, a plot.

Enters: a ``DatasetScore``. Leaves: files, complete or not at all. Only a plot needs matplotlib (the extra ``plot``).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rvos_cli.errors import UsageError
from rvos_cli.evaluation.scores import DatasetScore, SequenceScore
from rvos_cli.whole_files import writing_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


def rows(score: DatasetScore) -> Iterator[dict[str, str | int | float]]:
    """Yield one row per object, one per sequence (``object`` is ``all``) and one for everything (``sequence`` too)."""
    for sequence in score.sequences:
        for entry in sequence.objects:
            values = entry.to_dict()
            yield {
                "sequence": sequence.name,
                "object": entry.id,
                "proposal": entry.proposal,
                **{column: values[column] for column in COLUMNS},
            }
        values = sequence.to_dict()
        yield {
            "sequence": sequence.name,
            "object": "all",
            "proposal": "",
            **{column: values[column] for column in COLUMNS},
        }
    yield {"sequence": "all", "object": "all", "proposal": "", **score.figures()}


def write_csv(path: str | Path, score: DatasetScore) -> None:
    """Write ``rows`` with six decimals.

    Raises:
        OutputError: the file cannot be written.
    """
    with writing_beside(Path(path)) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ("sequence", "object", "proposal", *COLUMNS))
        writer.writeheader()
        for row in rows(score):
            writer.writerow({key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()})


def require_plot(path: Path) -> None:
    """Refuse a plot that cannot be drawn before there is anything to draw.

    Raises:
        UsageError: matplotlib is not installed, or it does not know the suffix.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise UsageError("a plot needs matplotlib", cure="pip install 'rvos-cli[plot]'") from error
    if path.suffix[1:].lower() not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(f"no plot can be written as {path.name}", cure="name a file that ends in .png, .svg or .pdf")


def write_plot(path: str | Path, score: DatasetScore) -> None:
    """Draw a bar of J and F per sequence and, below, each sequence's (J+F)/2 frame by frame; the suffix is the format.

    Raises:
        UsageError: matplotlib is not installed, or it does not know the suffix.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    require_plot(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(score.sequences))
    curve_rows = -(-len(score.sequences) // columns)
    figure = Figure(figsize=(4 * columns + 1, 3 + 2 * curve_rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(curve_rows + 1, columns, height_ratios=[1.4, *[1.0] * curve_rows])
    _draw_bars(figure.add_subplot(grid[0, :]), score)
    for index, sequence in enumerate(score.sequences):
        _draw_curves(figure.add_subplot(grid[1 + index // columns, index % columns]), sequence)
    with writing_beside(path) as draft:
        figure.savefig(draft, dpi=100, format=path.suffix[1:].lower())


def _draw_bars(axes: Axes, score: DatasetScore) -> None:
    values = [sequence.to_dict() for sequence in score.sequences]
    places = range(len(values))
    axes.bar([place - 0.2 for place in places], [value["J-Mean"] for value in values], 0.4, label="J (region)")
    axes.bar([place + 0.2 for place in places], [value["F-Mean"] for value in values], 0.4, label="F (boundary)")
    axes.axhline(score.jf, color="black", linewidth=0.8, linestyle="--", label=f"mean J&F {score.jf:.3f}")
    crowded = len(values) > 8
    axes.set_xticks(list(places), [sequence.name for sequence in score.sequences], rotation=60 if crowded else 0)
    axes.set_ylim(0, 1)
    axes.set_title(f"{score.task}: J and F per sequence")
    axes.legend(loc="lower right", fontsize="small")


def _draw_curves(axes: Axes, sequence: SequenceScore) -> None:
    for entry in sequence.objects:
        curve = [(j + f) / 2 for j, f in zip(entry.region.values, entry.boundary.values, strict=True)]
        axes.plot(curve, linewidth=1, label=f"object {entry.id}: {entry.jf:.3f}")
    axes.set_ylim(0, 1)
    axes.set_title(f"{sequence.name}: (J+F)/2 per frame", fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.legend(loc="lower left", fontsize="x-small")
