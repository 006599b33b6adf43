"""The training media on disk: which clips, photographs, cut-outs and backgrounds there are, decoded once.

A data folder enters (``clips/``, ``pairs/``, ``cutouts/``, ``backgrounds/``, perhaps below ``train/``), and perhaps the
masks of clips that were taken apart; randomly drawn entries and decoded uint8 arrays leave, for
:mod:`rvos_cli.training.scenes`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rvos_cli.errors import DatasetError
from rvos_cli.sources import natural_key
from rvos_cli.training.known_sets import (
    CUTOUT_CAPS,
    DIVIDED_FAVOUR,
    FAVOURS,
    MERGED_CLIPS,
    MERGED_FAVOUR,
    OCCUPIED_BACKGROUNDS,
    PARTLY_LABELLED_CLIPS,
    PARTLY_LABELLED_PAIRS,
    SHARED_LABELS,
)
from rvos_cli.training.layout import LICENCES, PICTURE_SUFFIXES, check_layout, folders_in, pictures_in
from rvos_cli.unreadable import UNREADABLE

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")

SHORT_SIDE = 288
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Sequence:
    """A real clip: image and mask files in time order.

    Attributes:
        name: collection and clip.
        images: the pictures.
        masks: likewise many masks.
        complete: everything that stands out is labelled, each thing by itself.
        merged: several things have one label.
        divided: they had one, and these are the masks of ``parts.py``, which tell them apart.
    """

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    complete: bool
    merged: bool = False
    divided: bool = False

    @property
    def separate(self) -> bool:
        """Whether what is labelled is labelled each thing by itself."""
        return not self.merged


@dataclass(frozen=True)
class Photograph:
    """A still picture with its instance mask.

    Attributes:
        image: the picture.
        mask: its labels.
        complete: everything that stands out is labelled, each thing by itself.
        separate: what is labelled is labelled each thing by itself.
    """

    image: Path
    mask: Path
    complete: bool
    separate: bool


@dataclass(frozen=True)
class Background:
    """A scene to put objects on; ``complete`` when it shows no object of its own."""

    image: Path
    complete: bool


@dataclass
class Library:
    """Everything found under one data folder, with a bounded least-recently-used cache of decoded arrays."""

    sequences: tuple[Sequence, ...]
    photographs: dict[str, tuple[Photograph, ...]]
    cutouts: dict[str, tuple[Path, ...]]
    backgrounds: dict[str, tuple[Background, ...]]
    cache_bytes: int = 400_000_000
    divided_favour: float = DIVIDED_FAVOUR
    _cache: OrderedDict[Path, Pixels] = field(default_factory=OrderedDict, repr=False)
    _cached: int = 0

    def rgb(self, path: Path) -> Pixels:
        """Return the picture *path* upright as (H, W, 3) uint8 RGB, its short side at most 288 pixels."""
        return self._load(path, lambda image: _coloured(image, "RGB"))

    def labels(self, path: Path) -> Pixels:
        """Return the mask *path* as (H, W) uint8 ids, shrunk as its picture is.

        Raises:
            DatasetError: it cannot be read, or holds colours in the place of ids.
        """
        return self._load(path, lambda image: _shrunk(_identities(image, path), Image.Resampling.NEAREST))

    def pair(self, image: Path, mask: Path) -> tuple[Pixels, Pixels]:
        """Return a picture as ``rgb`` gives it and the labels of its mask, (H, W) of the same size.

        Raises:
            DatasetError: they cannot be read, or the mask is of another size.
        """
        pixels, labels = self.rgb(image), self.labels(mask)
        if labels.shape == pixels.shape[:2]:
            return pixels, labels
        if max(abs(a - b) for a, b in zip(labels.shape, pixels.shape[:2], strict=True)) > 1:
            raise DatasetError(f"{mask} has not the size of {image}", cure="save the mask in its picture's size")
        # Of one shape, and shrunk from two sizes: one was rounded up, the other down.
        size = (pixels.shape[1], pixels.shape[0])
        return pixels, np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))

    def rgba(self, path: Path) -> Pixels:
        """Return the cut-out *path* upright as (H, W, 4) uint8."""
        return self._load(path, lambda image: _coloured(image, "RGBA"))

    def draw_sequence(self, rng: np.random.Generator) -> Sequence:
        """Draw a real clip; short ones less often, and merged ones where some are divided."""
        merged = MERGED_FAVOUR if any(item.divided for item in self.sequences) else 1.0
        favours = [merged if item.merged else self.divided_favour if item.divided else 1.0 for item in self.sequences]
        lengths = [min(2.0, len(item.images) / 20) for item in self.sequences]
        weights = np.array(lengths) * np.array(favours)
        return self.sequences[int(rng.choice(len(weights), p=weights / weights.sum()))]

    def draw_photograph(self, rng: np.random.Generator) -> Photograph:
        """Draw a photograph; large sets less often than their size says."""
        return _draw(rng, self.photographs, {name: _weight(name, group) for name, group in self.photographs.items()})

    def draw_background(self, rng: np.random.Generator) -> Background | None:
        """Draw a scene, from sets of empty ones twice as often.

        Without scenes it is a picture whose things are then unlabelled, or None.
        """
        if not self.backgrounds:
            if not (self.photographs or self.sequences):
                return None
            path = self.draw_photograph(rng).image if self.photographs else self.draw_sequence(rng).images[0]
            return Background(path, complete=False)
        empty = {name: np.mean([scene.complete for scene in group]) for name, group in self.backgrounds.items()}
        weights = {name: _weight(name, group) * (1 + float(empty[name])) for name, group in self.backgrounds.items()}
        return _draw(rng, self.backgrounds, weights)

    def shows_empty_scenes(self) -> bool:
        """Say whether there is any scene without an object of its own."""
        return any(scene.complete for group in self.backgrounds.values() for scene in group)

    def draw_cutout(self, rng: np.random.Generator) -> Path | None:
        """Draw a cut-out, drawings and renderings within their caps; None without any."""
        if not self.cutouts:
            return None
        shares = {name: CUTOUT_CAPS.get(_last(name), 0.0) for name in self.cutouts}
        free = {name: _weight(name, self.cutouts[name]) for name, share in shares.items() if not share}
        rest = 1 - sum(shares.values())
        shares |= {name: rest * weight / sum(free.values()) for name, weight in free.items()}
        return _draw(rng, self.cutouts, shares)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the decoded arrays behind when a loader worker receives a copy."""
        return {**self.__dict__, "_cache": OrderedDict(), "_cached": 0}

    def _load(self, path: Path, decode: Callable[[Image.Image], Image.Image]) -> Pixels:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        try:
            with Image.open(path) as image:
                pixels = np.array(decode(image), dtype=np.uint8)
        except UNREADABLE as error:
            cure = "copy the data set again or remove the file and its partner"
            raise DatasetError(f"cannot read {path}: {error}", cure=cure) from error
        self._cache[path] = pixels
        self._cached += pixels.nbytes
        while self._cached > self.cache_bytes and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return pixels


def open_library(
    root: Path,
    *,
    parts: Path | None = None,
    divided_favour: float = DIVIDED_FAVOUR,
    free_only: bool = False,
    cache_bytes: int = 400_000_000,
) -> Library:
    """List the training media below *root*.

    Args:
        root: the data folder, either the one that holds ``train/`` or ``train/`` itself.
        parts: the folder that :func:`rvos_cli.training.parts.divide_clips` wrote: each clip that has masks there comes
            a second time, with these. None, or a folder without any, for the clips as they are.
        divided_favour: how often such a clip is drawn with these, against others of its length.
        free_only: keep only what lies under a ``free/`` folder (licence stated and free); this leaves no real clip.
        cache_bytes: upper bound for decoded pixels kept in memory, per process.

    Raises:
        DatasetError: *root* lacks the layout, holds pictures elsewhere than it says, or a picture lacks its mask.
    """
    base = root / "train" if (root / "train").is_dir() else root
    licences = LICENCES[:1] if free_only else LICENCES
    check_layout(base, licences, clips=not free_only)
    library = Library(
        sequences=() if free_only else _with_divided(_sequences(base / "clips"), parts),
        photographs=_photographs(base / "pairs", licences),
        cutouts={name: tuple(pictures_in(path)) for name, path in _collections(base / "cutouts", licences)},
        backgrounds=_backgrounds(base / "backgrounds", licences),
        cache_bytes=cache_bytes,
        divided_favour=divided_favour,
    )
    if not (library.sequences or library.photographs or library.cutouts):
        kept = "pairs/free/ or cutouts/free/" if free_only else "clips/, pairs/ or cutouts/"
        raise DatasetError(
            f"no training data in {root}", cure=f"give the folder that holds {kept} (see docs/training.md)"
        )
    return library


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _weight(name: str, group: tuple[Any, ...]) -> float:
    return float(np.sqrt(len(group))) * FAVOURS.get(_last(name), 1.0)


def _draw(rng: np.random.Generator, groups: dict[str, tuple[Item, ...]], weights: dict[str, float]) -> Item:
    names = list(groups)
    shares = np.array([weights[name] for name in names])
    group = groups[names[int(rng.choice(len(names), p=shares / shares.sum()))]]
    return group[int(rng.integers(len(group)))]


def _identities(mask: Image.Image, path: Path) -> Image.Image:
    """Return a mask whose values are ids: of DAVIS 2016's black-and-white ones, white is the only object."""
    if mask.mode == "P":
        return mask
    colours = mask.convert("RGB").getcolors(2)  # None if there are more; some of DAVIS 2016's are colour pictures
    if colours is not None and {colour for _, colour in colours} <= {BLACK, WHITE}:
        return mask.convert("L").point(lambda value: min(value, 1))
    if mask.mode != "L":
        raise DatasetError(
            f"{path} is no mask (mode {mask.mode}, not a palette or 8-bit grey)",
            cure="save it as a palette PNG: 0 background, 1 and up the objects, 255 ignored",
        )
    return mask


def _coloured(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture as it is shown, and as masks of it are drawn, at most so large."""
    return _shrunk(ImageOps.exif_transpose(image).convert(mode), Image.Resampling.BILINEAR)


def _shrunk(image: Image.Image, method: Image.Resampling) -> Image.Image:
    factor = SHORT_SIDE / min(image.size)
    if factor >= 1:
        return image
    return image.resize((round(image.width * factor), round(image.height * factor)), method)


def _collections(folder: Path, licences: tuple[str, ...]) -> list[tuple[str, Path]]:
    found = [(f"{licence}/{path.name}", path) for licence in licences for path in folders_in(folder / licence)]
    return [(name, path) for name, path in found if pictures_in(path)]


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    images = [path for path in pictures_in(folder) if path.suffix.lower() in PICTURE_SUFFIXES]
    for image in images:
        if not image.with_suffix(".png").is_file():
            raise DatasetError(f"{image} has no mask", cure="put its mask beside it, with the ending .png")
    return [(image, image.with_suffix(".png")) for image in images]


def _sequences(folder: Path) -> tuple[Sequence, ...]:
    found = []
    for path in (clip for collection in folders_in(folder) for clip in folders_in(collection)):
        pairs = sorted(_pairs(path), key=lambda pair: natural_key(pair[0].name))
        name = f"{path.parent.name}/{path.name}"
        complete = path.parent.name not in PARTLY_LABELLED_CLIPS and name not in PARTLY_LABELLED_CLIPS
        if pairs:
            images, masks = zip(*pairs, strict=True)
            merged = name in MERGED_CLIPS
            found.append(Sequence(name, images, masks, complete and not merged, merged))
    return tuple(found)


def _with_divided(clips: tuple[Sequence, ...], parts: Path | None) -> tuple[Sequence, ...]:
    """Put the divided clips behind the others of their collection."""
    if parts is None:
        return clips
    divided = [_divided(clip, parts / clip.name) for clip in clips if (parts / clip.name).is_dir()]
    return tuple(sorted([*clips, *divided], key=lambda clip: (clip.name.partition("/")[0], clip.divided)))


def _divided(clip: Sequence, folder: Path) -> Sequence:
    masks = tuple(folder / f"{image.stem}.png" for image in clip.images)
    for mask in masks:
        if not mask.is_file():
            raise DatasetError(f"the divided clip lacks {mask}", cure=f"remove {folder}; the run makes it again")
    return Sequence(f"{clip.name}, divided", clip.images, masks, complete=True, divided=True)


def _photographs(folder: Path, licences: tuple[str, ...]) -> dict[str, tuple[Photograph, ...]]:
    found = {}
    for name, path in _collections(folder, licences):
        complete, separate = path.name not in PARTLY_LABELLED_PAIRS, path.name not in SHARED_LABELS
        found[name] = tuple(Photograph(image, mask, complete, separate) for image, mask in _pairs(path))
    return {name: photographs for name, photographs in found.items() if photographs}


def _backgrounds(folder: Path, licences: tuple[str, ...]) -> dict[str, tuple[Background, ...]]:
    return {
        name: tuple(Background(image, _is_empty(image)) for image in pictures_in(path))
        for name, path in _collections(folder, licences)
    }


def _is_empty(scene: Path) -> bool:
    return not {scene.parent.name, f"{scene.parent.name}/{scene.stem}"} & OCCUPIED_BACKGROUNDS
