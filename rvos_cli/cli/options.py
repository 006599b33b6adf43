"""The flags that commands share, each written once: name, short form, help and bounds.

Enters: nothing. Leaves: annotated types for the commands' signatures. Defaults and bounds are those of ``config``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rvos_cli.boxes import Box, read_boxes
from rvos_cli.config import MAX_OBJECT_ID, MAX_SIZE, MIN_SIZE
from rvos_cli.errors import UsageError
from rvos_cli.points import Point, read_points


def path_of(text: str | Path) -> Path:
    """Return the path that an argument names; whether it can be read is found out, and told, where it is used.

    A shell leaves the ``~`` of ``--output=~/masks`` to the program.
    """
    if not str(text):
        raise typer.BadParameter("the name is empty")
    return Path(os.path.expanduser(text))


def box_of(text: str) -> Box:
    """Return the box that four numbers tell, with commas between them."""
    box = _numbers(text)
    if len(box) != 4:
        raise typer.BadParameter(f"{text!r} is not four numbers with commas between them")
    try:
        return read_boxes([box])[1]
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def points_of(text: str) -> tuple[Point, ...]:
    """Return the points, x and y of each, that numbers tell, with commas between them."""
    numbers = _numbers(text)
    if not numbers or len(numbers) % 2:
        raise typer.BadParameter(f"{text!r} is not two numbers with a comma between them, or four, or six")
    try:
        return read_points([list(zip(numbers[::2], numbers[1::2], strict=True))])[1]
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def _numbers(text: str) -> list[float]:
    """Return the numbers between commas, none if something else is."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        return []


def path_option(*names: str, **words: Any) -> Any:
    """Return what ``typer.Option`` does, for a path."""
    return typer.Option(*names, parser=path_of, **words)


def points_option(name: str, **words: Any) -> Any:
    """Return what ``typer.Option`` does, for points."""
    return typer.Option(name, parser=points_of, metavar="X,Y[,X,Y...]", show_default=False, **words)


def path_argument(**words: Any) -> Any:
    """Return what ``typer.Argument`` does, for a path."""
    return typer.Argument(parser=path_of, **words)


NETWORK, FILES, TALK = "Network", "Files", "Talk"

Inputs = Annotated[
    list[Path],
    path_argument(metavar="INPUT", help="Video files, folders of images, or single images.", show_default=False),
]
Input = Annotated[
    Path,
    path_argument(metavar="INPUT", help="A video file, a folder of images, or an image.", show_default=False),
]
FirstMask = Annotated[
    Path | None,
    path_option(
        "--first-mask",
        metavar="PNG",
        help="Mask of the first frame: palette or grey ids, one binary object, or RGB colours.",
        show_default=False,
    ),
]
FirstBoxes = Annotated[
    list[Any] | None,
    typer.Option(
        "--first-box",
        parser=box_of,
        metavar="X1,Y1,X2,Y2",
        help="Instead of a mask, a box around an object of the first frame: left, top, right, bottom in pixels. "
        "Once for each object.",
        show_default=False,
    ),
]
FirstPoints = Annotated[
    list[Any] | None,
    points_option(
        "--first-point",
        help="Instead, a point on an object of the first frame, or several, in pixels. Once for each object; beside "
        "--first-box, of the same objects in the same order.",
    ),
]
NegativePoints = Annotated[
    list[Any] | None,
    points_option("--negative-point", help="A point of the first frame that is on none of the objects, or several."),
]
FrameMasks = Annotated[
    Path | None,
    path_option(
        "--frame-masks",
        metavar="DIR",
        help="Folder of corrected masks of any frames, whole, and named as in masks/ of the results.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    path_option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder to write to.",
        show_default="rvos-out/<input stem>",
        rich_help_panel=FILES,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", "-f", help="Replace what lies there under the names of the results.", rich_help_panel=FILES
    ),
]
Overlay = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.", rich_help_panel=FILES)]
Masks = Annotated[bool, typer.Option("--masks/--no-masks", help="Write masks/<name>.png.", rich_help_panel=FILES)]
Objects = Annotated[
    bool, typer.Option("--objects/--no-objects", help="Write objects/<id>/<name>.png.", rich_help_panel=FILES)
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|PATH",
        help="Weights by name (see 'rvos weights list'), file, or published checkpoint folder or zip.",
        rich_help_panel=NETWORK,
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=NETWORK),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=MIN_SIZE,
        max=MAX_SIZE,
        help="Short side in pixels at which the network looks at a frame.",
        show_default="the weights' own",
        rich_help_panel=NETWORK,
    ),
]
MaxObjects = Annotated[
    int,
    typer.Option(
        "--max-objects",
        min=1,
        max=MAX_OBJECT_ID,
        help="Most objects to follow at a time.",
        rich_help_panel=NETWORK,
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        "--threshold",
        metavar="F",
        help="A pixel belongs to an object above this probability, between 0 and 1.",
        rich_help_panel=NETWORK,
    ),
]
Half = Annotated[
    bool | None,
    typer.Option(
        "--half/--no-half",
        help="16-bit arithmetic; --no-half: float32 everywhere.",
        show_default="as the device likes",
        rich_help_panel=NETWORK,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout and nothing else there.", rich_help_panel=TALK),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=TALK)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more.", rich_help_panel=TALK)]
