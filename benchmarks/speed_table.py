"""The rows of the speed comparison: what is asked for, what was measured, and how both are written down.

Enters: measured values by row. Leaves: a Markdown table, and a README whose marked section holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NOT_YET = "not measured yet"


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    Args:
        key: its name in the code.
        title: its name for people.
        form: how a value is written, such as ``{:.1f} times``.
        bound: whether the target is the least or the most that will do.
        targets: by device, cpu and cuda; a device without one is measured all the same.
    """

    key: str
    title: str
    form: str
    bound: Literal["at least", "at most"]
    targets: Mapping[str, float]

    def met(self, device: str, value: float) -> bool | None:
        """Tell whether *value* is good enough; None where nothing is asked for."""
        target = self.targets.get(device)
        if target is None:
            return None
        return value >= target if self.bound == "at least" else value <= target


@dataclass(frozen=True)
class Value:
    """What came out for one row: a number with what it was made from, or why there is none."""

    number: float | None
    source: str = ""


ROWS = (
    Row(
        "published",
        "published resnet101, two objects, 256x448, against the published schedule",
        "{:.1f} times as fast",
        "at least",
        {"cpu": 1.8, "cuda": 8},
    ),
    Row(
        "lite",
        "lite, two objects, its default size, against the published schedule",
        "{:.1f} times as fast",
        "at least",
        {"cpu": 8, "cuda": 15},
    ),
    Row("cutie", "lite against Cutie-small, one object", "{:.1f} times as fast", "at least", {"cpu": 15, "cuda": 4}),
    Row("sam2", "lite against SAM 2.1 tiny, one object", "{:.1f} times as fast", "at least", {"cpu": 60, "cuda": 8}),
    Row("lite_fps", "lite, network only, three objects", "{:.1f} frames/s", "at least", {"cpu": 8, "cuda": 400}),
    Row(
        "published_fps",
        "published resnet101, network only, three objects, 256x448",
        "{:.1f} frames/s",
        "at least",
        {"cuda": 200},
    ),
    Row(
        "command",
        "whole command over network only: 480p, three objects, overlay, palette and per-object PNG",
        "{:.2f}",
        "at most",
        {"cpu": 1.3, "cuda": 1.5},
    ),
    Row(
        "one_more",
        "one more object, as a share of a one-object frame (lite)",
        "{:.2f}",
        "at most",
        {"cpu": 0.25, "cuda": 0.25},
    ),
    Row("help", "start of `rvos --help`", "{:.2f} s", "at most", {"cpu": 0.4}),
    Row("first_frame", "start of `rvos track` until its first mask is written", "{:.1f} s", "at most", {"cpu": 6}),
    Row("memory", "peak memory, 480p, three objects", "{:.2f} GB", "at most", {"cpu": 1.5, "cuda": 3}),
    Row("floor", "lite, two objects, over its floor", "{:.1f} times its time", "at most", {}),
)


def table(device: str, values: Mapping[str, Value]) -> str:
    """Return the Markdown table of one device; rows without a value say that they are not measured yet."""
    lines = ["| row | measured | target | met | from |", "| --- | --- | --- | --- | --- |"]
    for row in ROWS:
        value = values.get(row.key, Value(None, NOT_YET))
        target = row.targets.get(device)
        asked = "" if target is None else f"{row.bound} {target:g}"
        if value.number is None:
            lines.append(f"| {row.title} | {value.source} | {asked} | | |")
            continue
        met = {None: "", True: "yes", False: "no"}[row.met(device, value.number)]
        lines.append(f"| {row.title} | {row.form.format(value.number)} | {asked} | {met} | {value.source} |")
    return "\n".join(lines)


def write_section(readme: Path, name: str, text: str, *, kind: str = "speed") -> None:
    """Put *text* between the markers ``<!-- KIND: NAME -->`` and ``<!-- end of KIND: NAME -->`` of *readme*.

    Raises:
        ValueError: the markers are not there.
    """
    before, after = split_section(readme, name, kind=kind)
    readme.write_text(f"{before}{text.strip()}\n{after}", encoding="utf-8")


def split_section(readme: Path, name: str, *, kind: str = "speed") -> tuple[str, str]:
    """Return what *readme* has before and after a section's text, its markers included.

    Raises:
        ValueError: the markers are not there.
    """
    start, end = f"<!-- {kind}: {name} -->\n", f"<!-- end of {kind}: {name} -->"
    before, found, rest = readme.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{readme} has no lines {start.strip()} and {end}")
    return before + start, end + after
