"""Masks on disk: first masks in whatever way people draw them, label maps and binary masks as PNG.

Enters: a mask file or array; label maps to write. Leaves: (H, W) uint8 label maps, 0 = background, k = object k; PNGs.
Used before the session (first mask) and after it (sinks). Read with Pillow, because OpenCV expands a palette and loses
the ids.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.errors import MaskError
from rvos_cli.mask_colours import Colours, Values, labels_of_array, labels_of_image
from rvos_cli.png import encode_binary_png, encode_indexed_png
from rvos_cli.unreadable import UNREADABLE
from rvos_cli.whole_files import unwritable, write_bytes

Labels = NDArray[np.uint8]

ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class FirstMask:
    """The objects to follow.

    Args:
        labels: (H, W) uint8 at the video's displayed size, 0 = background, k = object k.
        ids: the ids that occur, ascending, 1..254.
        warnings: one line for each thing that was changed on the way.
    """

    labels: Labels
    ids: tuple[int, ...]
    warnings: tuple[str, ...] = ()


def read_first_mask(
    mask: str | os.PathLike[str] | NDArray[Any],
    size: tuple[int, int],
    *,
    unscaled: tuple[int, int] | None = None,
    what: str = "the first mask",
    colours: Colours | None = None,
) -> FirstMask:
    """Read the mask of a video's first frame, or another; *size* is the video's displayed (height, width).

    Ids are a palette image's indices or a grey image's values. One value beside 0 that only means "on" (True, 1, 255,
    65535 in 16 bits) is object 1. Colours are numbered from 1 in the order in which they first appear, row by row;
    black and what is transparent is background. 255 among other ids means "ignore" and becomes background.

    Args:
        mask: an image file, or an array: (H, W) of bool or integers, or (H, W, 3 or 4) uint8 colours.
        size: (height, width); a mask of another size is scaled by nearest neighbour if its shape agrees.
        unscaled: (height, width) of a frame before its pixels were made square; a mask of this size is scaled, too.
        what: it is, in messages.
        colours: the ids of colours in earlier masks of the same video; those of this one are added. A mask that is made
            from rvos's own results may be empty.

    Raises:
        MaskError: it is missing, unreadable, empty, of another shape, or does not tell its objects apart.
    """
    if isinstance(mask, (str, os.PathLike)):
        name = os.fspath(mask)
        with _opened(Path(os.path.expanduser(name)), name) as image:
            values = labels_of_image(image, name, colours)
    else:
        name = what
        values = labels_of_array(np.asarray(mask), name, colours)
    if not _ids(values.labels) and not (colours is not None and colours.of_results):
        raise MaskError(f"{what} is empty: {name} has no object", cure="paint each object with its own id")
    return _fitted(values, size, unscaled, name)


def read_labels(path: str | os.PathLike[str]) -> Labels:
    """Read a palette or grey PNG as it is: (H, W) uint8, palette indices or grey values.

    Raises:
        MaskError: it is missing, unreadable, or its values are no 8-bit ids.
    """
    name = os.fspath(path)
    with _opened(Path(path), name) as image:
        if image.mode not in {"P", "L", "1"} and not image.mode.startswith("I"):
            raise MaskError(
                f"{name} is a colour image ({image.mode}), not a label map", cure="save it as a palette PNG"
            )
        labels = np.asarray(image)
    if labels.dtype != np.uint8 and labels.dtype != np.bool_ and (labels.min() < 0 or labels.max() > 255):
        raise MaskError(f"{name} has values beyond 255", cure="save it as an 8-bit palette PNG")
    return np.array(labels, np.uint8, order="C")


def write_indexed_png(path: str | os.PathLike[str], labels: Labels) -> None:
    """Write (H, W) uint8 labels as a palette PNG (mode P, DAVIS palette), under its name only when whole.

    Raises:
        OutputError: the file cannot be written.
        ValueError: labels is not (H, W) uint8.
    """
    _write_whole(Path(path), encode_indexed_png(labels))


def write_binary_png(path: str | os.PathLike[str], mask: NDArray[Any]) -> None:
    """Write a (H, W) mask as an 8-bit grey PNG, 255 where it is not 0, under its name only when whole.

    Raises:
        OutputError: the file cannot be written.
        ValueError: mask is not (H, W).
    """
    _write_whole(Path(path), encode_binary_png(mask))


def _write_whole(path: Path, data: bytes) -> None:
    try:
        write_bytes(path, data)
    except OSError as error:
        raise unwritable(path, error) from error


def _opened(path: Path, name: str) -> Image.Image:
    try:
        if path.is_dir():
            raise MaskError(f"the mask {name} is a folder", cure="give the mask of the first frame, one PNG")
        image = Image.open(path)
        try:
            image.load()
        except BaseException:
            image.close()
            raise
    except FileNotFoundError as error:
        raise MaskError(f"the mask {name} does not exist", cure="check the path") from error
    except UNREADABLE as error:
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise MaskError(f"the mask {name} cannot be read ({reason})", cure="give a PNG") from error
    return image


def _fitted(values: Values, size: tuple[int, int], unscaled: tuple[int, int] | None, name: str) -> FirstMask:
    """Bring the objects to *size*, and say which got lost."""
    labels, warnings = values.labels, list(values.warnings)
    before = _ids(labels)
    if labels.shape != size:
        if labels.shape != unscaled:
            _refuse_other_shape((labels.shape[0], labels.shape[1]), size, name)
        warnings.append(
            f"{name} is {labels.shape[1]}x{labels.shape[0]}, the video {size[1]}x{size[0]}: the mask was scaled"
        )
        labels = np.asarray(Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST))
    ids = _ids(labels)
    if before and not ids:
        raise MaskError(f"no object of {name} is left at {size[1]}x{size[0]}", cure="paint a mask of the video's size")
    lost = sorted(set(before) - set(ids))
    if lost:
        warnings.append(f"{name} loses objects too small for {size[1]}x{size[0]}: {', '.join(map(str, lost))}")
    return FirstMask(np.array(labels, np.uint8, order="C"), ids, tuple(warnings))


def _ids(labels: Labels) -> tuple[int, ...]:
    return tuple(int(identity) for identity in np.unique(labels) if 0 < identity <= MAX_OBJECT_ID)


def _refuse_other_shape(mask: tuple[int, int], size: tuple[int, int], name: str) -> None:
    """Refuse a mask whose sides stand in another relation than the video's, by more than rounding explains."""
    fitting_width = mask[0] * size[1] / size[0]
    off = abs(mask[1] - fitting_width)
    if off > ASPECT_TOLERANCE * fitting_width and off > 1:
        sideways = abs(mask[0] - mask[1] * size[1] / size[0]) <= 1
        raise MaskError(
            f"{name} is {mask[1]}x{mask[0]}, which does not have the shape of the video, {size[1]}x{size[0]}",
            cure="turn it by 90 degrees" if sideways else "paint it on the video's first frame as it is displayed",
        )
