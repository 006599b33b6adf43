"""The masks that a caller gives with a video: any form of them enters, the mask of each frame leaves.

Used by ``segmenter.py``; reads through ``masks.py``.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rvos_cli.boxes import Boxes
from rvos_cli.errors import MaskError, UsageError
from rvos_cli.mask_colours import OPAQUE, Colours
from rvos_cli.masks import FirstMask, read_first_mask
from rvos_cli.points import Points
from rvos_cli.prompts import Prompt, read_prompts
from rvos_cli.sources import FrameSource, image_names

Mask: TypeAlias = str | Path | NDArray[np.uint8]
Masks: TypeAlias = Mapping[int, Mask] | Iterable[Mask | None]
MasksByFrame: TypeAlias = str | Path | Mapping[int, Mask]  # the path is that of a folder


@dataclass(frozen=True, eq=False)
class GivenMasks:
    """The masks that a caller gives with a video.

    Args:
        first_mask: of the first frame.
        first_boxes: instead, boxes around its objects,
        first_points: or points on them, or both.
        masks: of any frames; they say nothing of objects that they do not name.
        frame_masks: instead, whole masks of any frames: an object that one does not name is not in that frame.

    Raises:
        UsageError: *masks* is one mask, or there are *frame_masks*, too, or these are neither a folder nor a mapping;
            or there are *first_boxes* or *first_points*, and *first_mask*.
    """

    first_mask: Mask | None = None
    first_boxes: Boxes | None = None
    first_points: Points | None = None
    masks: Masks | None = None
    frame_masks: MasksByFrame | None = None

    def __post_init__(self) -> None:
        """Refuse what means something else, or two things."""
        if isinstance(self.masks, (str, os.PathLike)) or (isinstance(self.masks, np.ndarray) and _is_one(self.masks)):
            raise UsageError("masks= is one mask", cure="give it as first_mask=, or as {frame index: mask}")
        for name, others in (("first_boxes", self.first_boxes), ("first_points", self.first_points)):
            if self.first_mask is not None and others is not None:
                raise UsageError(f"first_mask= and {name}= are both given", cure="give one of them")
        if self.masks is not None and self.frame_masks is not None:
            raise UsageError("masks= and frame_masks= are both given", cure="give one of them")
        if not isinstance(self.frame_masks, (str, os.PathLike, Mapping, type(None))):
            raise UsageError(
                f"frame_masks= is a {type(self.frame_masks).__name__}", cure="give a folder, or {frame index: mask}"
            )

    @property
    def task(self) -> Literal["segment", "track"]:
        """What is to be done: without a mask objects are found, with any the given ones are followed."""
        given = self.first_mask, self.first_boxes, self.first_points, self.masks, self.frame_masks
        return "segment" if all(one is None for one in given) else "track"

    @cached_property
    def prompts(self) -> Mapping[int, Prompt]:
        """What boxes and points tell of each object, by its id.

        Raises:
            UsageError: they tell of none, or something else is given.
        """
        prompted = self.first_boxes is not None or self.first_points is not None
        return read_prompts(self.first_boxes, self.first_points) if prompted else {}

    @property
    def paths(self) -> tuple[Path | None, Path | None] | None:
        """The file of the first mask and the folder of masks; None if anything is given that is neither."""
        first, folder = _path(self.first_mask), _path(self.frame_masks)
        missing = (first is None) != (self.first_mask is None) or (folder is None) != (self.frame_masks is None)
        other = any(one is not None for one in (self.first_boxes, self.first_points, self.masks))
        return None if missing or other else (first, folder)


class VideoMasks:
    """The masks of one video's frames; of those in colours, a colour is the same object throughout.

    Attributes:
        prompts: of objects of the first frame, by their ids, in the place of a mask of it.
        whole: whether the mask of a frame says all of it.
    """

    def __init__(self, given: GivenMasks, source: FrameSource) -> None:
        """Match what is given with the frames of *source*.

        Raises:
            MaskError: there are whole masks, but none or one that is of no frame or the second of one; or a box or a
                point lies outside of the frames.
        """
        self.prompts, self.whole = given.prompts, given.frame_masks is not None
        for prompt in self.prompts.values():
            prompt.require_within((source.info.height, source.info.width))
        self._info, self._argument = source.info, "frame_masks" if self.whole else "masks="
        self._colours = Colours(of_results=self.whole)
        self._told, self._numbered = set[int](), set[int]()  # ids that masks tell, and that their colours were given
        self._colours.note_ids(self.prompts)
        self._latest: tuple[int, FirstMask] | None = None  # or a first mask alone would be read twice
        self._first, self._masks = given.first_mask, given.masks
        if isinstance(given.frame_masks, Mapping):
            self._masks = given.frame_masks
        elif given.frame_masks is not None:
            self._masks = _of_folder(Path(os.path.expanduser(given.frame_masks)), source)
        self._next = _per_frame(self._masks)
        self._whole = [index for index in self._indices() if self._given(index) is not None] if self.whole else []
        if self.whole and not self._whole:
            raise MaskError("frame_masks has no mask", cure="give one of some frame")
        if self.whole and self.prompts:
            self._whole = [0, *self._whole]  # they say all of their frame, too

    def at(self, index: int) -> FirstMask | None:
        """Return the mask of frame 0, 1, 2, ..., asked for in this order, or None.

        Raises:
            MaskError: it cannot be used, or frame 0 has two, or one and boxes or points.
        """
        if self._latest is not None and self._latest[0] == index:
            return self._latest[1]
        given = self._given(index)
        if given is None:
            return None
        first = index == 0 and self._first is not None  # which is numbered as if it were alone
        colours = Colours() if first else self._colours
        colours.numbered.clear()
        mask = read_first_mask(
            given,
            (self._info.height, self._info.width),
            unscaled=self._info.unscaled,
            what=f"the mask of frame {index}" if index else "the first mask",
            colours=colours,
        )
        if first:
            self._colours.learn(colours)
        numbered = set[int]() if first else colours.numbered
        self._told, self._numbered = self._told | (set(mask.ids) - numbered), self._numbered | numbered
        if self.whole:
            self._colours.note_ids(mask.ids)
        self._latest = index, mask
        return mask

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        """Return the labels of ``at(index)``."""
        mask = self.at(index)
        return None if mask is None else mask.labels

    def is_whole(self, index: int) -> bool:
        """Return whether there is a whole mask of this frame."""
        return self.next_whole(index - 1) == index

    def next_whole(self, index: int) -> int | None:
        """Return the next frame behind this one of which there is a whole mask."""
        place = bisect_right(self._whole, index)
        return self._whole[place] if place < len(self._whole) else None

    def check(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Read all of a mapping or folder beforehand; return the objects' ids and what had to be changed, in words.

        Raises:
            MaskError: one of them cannot be used, or they name no object.
        """
        ids, warnings = self._read_all()
        if self._numbered & self._told:  # a colour was given the id that a later mask tells of somebody else
            self._colours = Colours(of_results=self.whole)
            self._colours.note_ids(self._told)
            self._latest = None
            ids, warnings = self._read_all()
        return ids, warnings

    def _read_all(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        known, before, warnings = set(self.prompts), set(self.prompts), list[str]()
        for index in self._indices():
            if (mask := self.at(index)) is None:
                continue
            new, gone = set(mask.ids) - known, before - set(mask.ids)
            if new and gone:
                warnings.append(
                    f"in the mask of frame {index}, {_named(new)} new and {_named(gone)} gone: see that its editor has "
                    "kept the ids"
                )
            warnings += mask.warnings
            known, before = known | new, set(mask.ids)
        if self.whole and not known:
            raise MaskError("frame_masks has no object", cure="paint each object with its own id")
        if self._colours.two_meanings:
            warnings.append("frame_masks has colours that are other objects' in the first mask; those of results count")
        return tuple(sorted(known)), tuple(warnings)

    def files(self) -> list[Path]:
        """Return the files of a mapping or folder, in the order of the frames."""
        masks = (self._given(index) for index in self._indices())
        return [path for mask in masks if (path := _path(mask)) is not None]

    def unused(self, frames: int) -> list[str]:
        """Tell of each mask of another frame than the first *frames*, as far as it is known which there are.

        Raises:
            MaskError: all whole masks are such, so that nobody was followed.
        """
        if isinstance(self._masks, Mapping):
            given: Iterable[tuple[int, Mask | None]] = self._masks.items()
        else:
            given = enumerate(self._masks) if isinstance(self._masks, Sized) else ()
        lines = [
            f"{self._argument} has one of frame {index!r}, and {self._info.name} has frames 0 to {frames - 1}"
            for index, mask in given
            if index not in range(frames) and not _says_nothing(mask)
        ]
        if self.whole and self._whole[0] >= frames:
            raise MaskError(
                f"frame_masks begins with frame {self._whole[0]}, and {self._info.name} has {frames} frames",
                cure="name each mask after its frame, counted from 0",
            )
        return lines

    def _given(self, index: int) -> Mask | None:
        given = self._next(index)
        if index or (self._first is None and not self.prompts):
            return given
        if given is not None:
            other = "there are boxes or points for it" if self.prompts else "the first mask is another"
            raise MaskError(f"{self._argument} has one of frame 0, and {other}", cure="give one of them")
        return self._first

    def _indices(self) -> list[int]:
        """Return 0 and the indices of a mapping, in order."""
        known = list(self._masks) if isinstance(self._masks, Mapping) else []
        for index in known:
            if not isinstance(index, (int, np.integer)) or index < 0:
                raise MaskError(f"{self._argument} has one of frame {index!r}", cure="frames are counted from 0")
        return sorted({0, *known})


def _is_one(masks: NDArray[np.uint8]) -> bool:
    """Whether an array is a single mask, (H, W) or of colours (H, W, 3 or 4), and not one for each frame."""
    return masks.ndim == 2 or (masks.ndim == 3 and masks.shape[2] in (3, 4) and masks.dtype == np.uint8)


def _named(ids: Collection[int]) -> str:
    return f"object{'s' * (len(ids) > 1)} {', '.join(map(str, sorted(ids)))} {'are' if len(ids) > 1 else 'is'}"


def _path(given: object) -> Path | None:
    return Path(os.path.expanduser(given)) if isinstance(given, (str, os.PathLike)) else None


def _of_folder(folder: Path, source: FrameSource) -> dict[int, Mask]:
    """Return the masks in *folder*, named as the frames' results are, by the frames' indices.

    Raises:
        MaskError: there is none, or one that is of no frame, or two of one.
    """
    try:
        files = [folder / name for name in image_names(folder)]
    except OSError as error:
        raise MaskError(
            f"the folder of masks {folder} cannot be read ({error.strerror or error})", cure="check the path"
        ) from error
    if not files:
        raise MaskError(f"the folder {folder} has no masks", cure="put them in, named as in masks/ of the results")
    masks: dict[int, Mask] = {}
    for file in files:
        index = source.index_of(file.stem)
        if index is None:
            raise MaskError(
                f"{file} is named after no frame of {source.info.name}",
                cure="name it as rvos names that frame's mask in masks/",
            )
        other = masks.setdefault(index, file)
        if other != file:
            raise MaskError(f"{other} and {file} are of one frame", cure="remove one of them")
    return masks


def _per_frame(masks: Mapping[int, Mask] | Iterable[Mask | None] | None) -> Callable[[int], Mask | None]:
    """Return the function that gives the mask of frame 0, 1, 2, ... when it is called in this order."""
    if masks is None:
        return lambda index: None
    if isinstance(masks, Mapping):
        return masks.get
    some = (None if _says_nothing(mask) else mask for mask in masks)
    return lambda index: next(some, None)


def _says_nothing(mask: Mask | None) -> bool:
    if not isinstance(mask, np.ndarray):
        return mask is None
    if mask.ndim == 3 and mask.shape[2] == 4 and mask.dtype == np.uint8:
        opaque = mask[..., 3] >= OPAQUE  # black paint on a transparent ground is an object
        return not (mask[..., :3] if opaque.all() else opaque).any()
    return not mask.any()
