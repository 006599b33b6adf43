"""Outlines of things that share one label: a JSON file enters, polygons by clip and frame leave.

The file of the package, ``outlines.json``, was drawn by hand for this project, on a few frames of nine of the clips in
which DAVIS 2016 gives several things one label. These are no labels of DAVIS 2017, and nobody else's. Used by
:mod:`rvos_cli.training.parts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.errors import DatasetError

OUTLINES = Path(__file__).with_name("outlines.json")
ASPECT_TOLERANCE = 0.02
IGNORED = 255


@dataclass(frozen=True)
class Outline:
    """Whose pixels these are: an object's id, or 255 for what nobody can tell; the polygon's points as (x, y)."""

    object: int
    polygon: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Outlines:
    """The outlines of all clips.

    Attributes:
        size: width and height of the frames that the points are pixels of.
        clips: name of the clip -> stem of the frame's file -> outlines. A pixel belongs to the first one that has it.
    """

    size: tuple[int, int]
    clips: Mapping[str, Mapping[str, tuple[Outline, ...]]]


def read_outlines(path: Path = OUTLINES) -> Outlines:
    """Read outlines, by default those of the package.

    Raises:
        DatasetError: the file is missing or not of this kind, or an outline leaves its frame.
    """
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        width, height = entry["size"]
        clips = {
            clip: {stem: tuple(_outline(item) for item in items) for stem, items in frames.items()}
            for clip, frames in entry["clips"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cure = "install rvos again, or mend the file"
        raise DatasetError(f"the outlines {path} cannot be read ({error})", cure=cure) from error
    for clip, frames in clips.items():
        for stem, outlines in frames.items():
            points = [point for outline in outlines for point in outline.polygon]
            if not points or not all(0 <= x <= width and 0 <= y <= height for x, y in points):
                raise DatasetError(
                    f"the outlines of {clip}, frame {stem}, are not within {width}x{height} pixels",
                    cure=f"mend {path}",
                )
    return Outlines((int(width), int(height)), clips)


def _outline(item: Mapping[str, Any]) -> Outline:
    identity, polygon = int(item["object"]), tuple((float(x), float(y)) for x, y in item["polygon"])
    if not (1 <= identity <= MAX_OBJECT_ID or identity == IGNORED) or len(polygon) < 3:
        raise ValueError(f"no outline: object {identity}, {len(polygon)} points")
    return Outline(identity, polygon)


def divide_mask(
    union: NDArray[np.bool_], outlines: tuple[Outline, ...], size: tuple[int, int], name: str
) -> NDArray[np.uint8]:
    """Divide a mask among its outlines; what none of them has is object 1.

    Args:
        union: (H, W), where the things are.
        outlines: the first one that has a pixel gets it.
        size: width and height of the frame that they were drawn on; the mask may be larger or smaller.
        name: of the mask, for errors.

    Returns:
        (H, W) uint8: 0 outside of *union*, 255 where the outlines say so.

    Raises:
        DatasetError: the mask has another shape than the frame, or an outline has no pixel of it.
    """
    height, width = union.shape
    scale = width / size[0], height / size[1]
    if abs(scale[0] / scale[1] - 1) > ASPECT_TOLERANCE:
        raise misfit(f"{name} is {width}x{height}, and its outlines were drawn at {size[0]}x{size[1]}")
    labels = union.astype(np.uint8)
    free = union.copy()
    for outline in outlines:
        plane = Image.new("L", (width, height))
        ImageDraw.Draw(plane).polygon([(x * scale[0], y * scale[1]) for x, y in outline.polygon], fill=1)
        own = (np.asarray(plane) > 0) & free
        if not own.any():
            raise misfit(f"an outline of object {outline.object} has no pixel of the mask {name}")
        labels[own] = outline.object
        free &= ~own
    return labels


def misfit(what: str) -> DatasetError:
    """Return the error for a mask that is not the one that was drawn on."""
    cure = "use the clips of DAVIS 2016 with their own masks, or a recipe that takes nothing apart"
    return DatasetError(what, cure=cure)
