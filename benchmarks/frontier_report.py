"""Accuracy against milliseconds: which points nothing beats, the table of all, and the picture.

Enters: measured points. Leaves: a Markdown table, and a picture; the picture needs matplotlib, the extra ``plot``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos_cli.whole_files import writing_beside

LIVE = 200.0  # milliseconds a frame: five frames a second
NEAR = 3.0  # the line of LIVE is drawn if it is within this factor of the points, or it would push them together
MARGIN = 1.15  # factor by which the axis goes beyond the points
COLOURS = ("#2f6fdf", "#e08b2d", "#2a9d5c", "#b0413e", "#7a4fb5", "#7a869a")
TICKS = tuple(digit * 10.0**power for power in range(-1, 5) for digit in (1, 1.5, 2, 3, 4, 5, 6, 8))


@dataclass(frozen=True)
class Point:
    """One network at one size.

    Args:
        series: which weights in which precision, in words.
        size: short side in pixels.
        default: whether it is the weights' own size.
        grid: what the network looks at, width x height.
        ms: milliseconds a frame.
        union, unmerged, zero_shot: J&F, 0..1; None if it was not measured.
    """

    series: str
    size: int
    default: bool
    grid: str
    ms: float
    union: float
    unmerged: float
    zero_shot: float | None = None


def on_frontier(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tell of each (cost, score) whether no other is at least as cheap and as good, and better in one of the two."""
    return [
        not any(
            cost <= own_cost and score >= own_score and (cost, score) != (own_cost, own_score) for cost, score in points
        )
        for own_cost, own_score in points
    ]


def frontier_of(points: Sequence[Point]) -> list[bool]:
    """Tell which points are on the frontier of milliseconds and one-shot union."""
    return on_frontier([(point.ms, point.union) for point in points])


def table(points: Sequence[Point]) -> str:
    """Return the Markdown table; weights are named if there are several, zero-shot if it was measured."""
    several = len({point.series for point in points}) > 1
    zero_shot = any(point.zero_shot is not None for point in points)
    head = ["size", "grid", "ms a frame", "frames/s", "one-shot union", "one-shot unmerged"]
    head = ["weights"] * several + head + ["zero-shot union"] * zero_shot + ["on the frontier"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for point, best in zip(points, frontier_of(points), strict=True):
        cells = [point.series] * several
        cells += [f"{point.size}{' (default)' if point.default else ''}", point.grid]
        cells += [milliseconds(point.ms), f"{1000 / point.ms:.1f}", f"{point.union:.3f}", f"{point.unmerged:.3f}"]
        if zero_shot:
            cells.append("-" if point.zero_shot is None else f"{point.zero_shot:.3f}")
        lines.append(f"| {' | '.join([*cells, 'yes' if best else 'no'])} |")
    return "\n".join(lines)


def milliseconds(value: float) -> str:
    """Write a time with three digits."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def draw(points: Sequence[Point], path: Path, title: str) -> None:
    """Draw J&F (one-shot, union) over milliseconds a frame; the suffix of *path* is the format.

    A colour stands for weights and precision, its line goes through its own frontier. Hollow: another point of the
    picture is at least as fast and as good.

    Raises:
        ImportError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = dict(zip(points, frontier_of(points), strict=True))
    for number, series in enumerate(dict.fromkeys(point.series for point in points)):
        own = sorted((point for point in points if point.series == series), key=lambda point: point.ms)
        _draw_series(axes, own, best, COLOURS[number % len(COLOURS)], above=number % 2 == 0)
    _draw_scales(axes, [point.ms for point in points])
    _draw_legend(figure, axes, points, best)
    axes.set_title(title, fontsize="medium", loc="left", pad=18)
    with writing_beside(path) as draft:
        figure.savefig(draft, dpi=120, format=path.suffix[1:].lower())


def _draw_series(axes: Any, own: Sequence[Point], best: dict[Point, bool], colour: str, *, above: bool) -> None:
    from matplotlib.patheffects import withStroke

    line = [point for point, chosen in zip(own, frontier_of(own), strict=True) if chosen]
    label = line[0].series
    axes.plot([point.ms for point in line], [point.union for point in line], color=colour, label=label, zorder=2)
    for point in own:
        axes.plot(
            point.ms,
            point.union,
            marker="*" if point.default else "o",
            markersize=15 if point.default else 7,
            color=colour,
            markerfacecolor=colour if best[point] else "white",
            zorder=3,
        )
        high = above and point in line
        axes.annotate(
            str(point.size),
            (point.ms, point.union),
            xytext=(-6, 6) if high else (6, -6),
            textcoords="offset points",
            horizontalalignment="right" if high else "left",
            verticalalignment="bottom" if high else "top",
            color=colour,
            fontsize="small",
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=2.5,
        )


def _draw_scales(axes: Any, times: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    low, high = min(times), max(times)
    if low / NEAR <= LIVE <= high * NEAR:
        low, high = min(low, LIVE), max(high, LIVE)
        axes.axvline(LIVE, color="#7a869a", linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            "5 frames/s",
            (LIVE, 1.01),
            xycoords=("data", "axes fraction"),
            horizontalalignment="center",
            color="#5a6678",
            fontsize="small",
        )
    axes.set_xscale("log")
    axes.set_xlim(low / MARGIN, high * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low / MARGIN <= tick <= high * MARGIN]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    axes.set_xlabel("milliseconds a frame (median; logarithmic)")
    axes.set_ylabel("J&F, one-shot, all objects as one")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_legend(figure: Any, axes: Any, points: Sequence[Point], best: dict[Point, bool]) -> None:
    from matplotlib.lines import Line2D

    marks, _ = axes.get_legend_handles_labels()
    grey: dict[str, Any] = {"color": "#5a6678", "linestyle": "none"}
    if any(point.default for point in points):
        marks.append(Line2D([], [], marker="*", markersize=12, label="default size", **grey))
    if not all(best.values()):
        label = "another is as fast and as good"
        marks.append(Line2D([], [], marker="o", markerfacecolor="white", label=label, **grey))
    figure.legend(handles=marks, loc="outside lower center", ncols=min(len(marks), 4), frameon=False, fontsize="small")
