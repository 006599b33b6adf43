"""The stages of a frame as bars.

Enters: seconds per stage. Leaves: a picture, complete or not at all. Needs matplotlib, the extra ``plot``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from rvos_cli.errors import UsageError
from rvos_cli.whole_files import writing_beside

TITLE_WIDTH = 90  # characters
SUFFIXES = {".png", ".svg", ".pdf"}
BEFORE, NETWORK, AFTER = "#7a869a", "#2f6fdf", "#e08b2d"
# Stages outside the network and the colour of their bars.
COLOURS = {"decode": BEFORE, "overlay": AFTER, "write": AFTER}


def check_chart(path: Path) -> None:
    """Check that a chart can be drawn as *path*, before anything is measured.

    Raises:
        UsageError: matplotlib is not installed, or the suffix is none of .png, .svg and .pdf.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"no plot can be written as {path.name}", cure="name a file that ends in .png, .svg or .pdf")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError("a plot needs matplotlib", cure="pip install 'rvos-cli[plot]'") from error


def draw_chart(path: Path, seconds: Mapping[str, float], title: str) -> None:
    """Draw a bar per stage, in milliseconds a frame; the suffix is the format.

    Raises:
        UsageError: as for ``check_chart``.
        OutputError: the file cannot be written.
    """
    check_chart(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.4 * len(seconds) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [1000 * value for value in seconds.values()]
    bars = axes.barh(list(seconds), values, color=[COLOURS.get(stage, NETWORK) for stage in seconds])
    axes.bar_label(bars, labels=[f"{value:.1f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("milliseconds a frame")
    axes.set_title(textwrap.fill(title, TITLE_WIDTH), fontsize="medium", parse_math=False)  # a name may have dollars
    axes.spines[["top", "right"]].set_visible(False)
    with writing_beside(path) as draft:
        figure.savefig(draft, dpi=100, format=path.suffix[1:].lower())
