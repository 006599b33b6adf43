"""Frames from a folder of images, or from one image.

Enters: a path. Leaves: ``Frame`` values, 8-bit RGB whatever the files hold, named by the files' own stems.
First station of the flow; Pillow reads the files, one at a time.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from rvos_cli.errors import InputError
from rvos_cli.sources.frames import NOMINAL_RATE, ClosingSource, Frame, SourceInfo, stem_of
from rvos_cli.unreadable import UNREADABLE

_IMAGE_NAMES = "bmp jfif jp2 jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _IMAGE_NAMES.split())
CASELESS = sys.platform in ("win32", "darwin")  # a.png and A.png are one file there


class FolderSource(ClosingSource):
    """The images of one folder in the natural order of their names (frame2 before frame10), or a single image."""

    def __init__(self, path: Path, name: str) -> None:
        """List the images and look at their headers, so that a bad one is named before any work is done.

        Raises:
            InputError: no images, two with one stem, one that cannot be read, or different sizes.
        """
        super().__init__()
        self._folder, self._files = _list_images(path) if path.is_dir() else (path.parent, [path.name])
        _refuse_equal_stems(self._files, self._folder)
        self._indices = {Path(file).stem: index for index, file in enumerate(self._files)}
        height, width, _ = read_image(self._folder / self._files[0]).shape
        for file in self._files:
            self._look(self._folder / file, (height, width))
        self.info = SourceInfo(
            name=name,
            stem=stem_of(path),
            kind="folder" if path.is_dir() else "image",
            height=height,
            width=width,
            frames=len(self._files),
            rate=None,
            audio=False,
            path=path,
        )

    def __enter__(self) -> FolderSource:
        """Return the source itself."""
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Read image after image; times are those of 25 frames a second.

        Raises:
            InputError: an image is damaged, or has another size than the first.
        """
        for index, file in enumerate(self._files):
            if self.closed:
                return
            path = self._folder / file
            image = read_image(path)
            if image.shape[:2] != (self.info.height, self.info.width):
                raise _other_size(path, image.shape[:2], (self.info.height, self.info.width))
            yield Frame(index, Path(file).stem, Fraction(index) / NOMINAL_RATE, image)

    def index_of(self, name: str) -> int | None:
        """Return which image has this stem, or None."""
        return self._indices.get(name)

    def _look(self, path: Path, size: tuple[int, int]) -> None:
        """Check a header; width and height may still be exchanged by an orientation tag, which reading settles."""
        try:
            with Image.open(path) as image:
                width, height = image.size
                pictures = getattr(image, "n_frames", 1) if path.suffix.lower() not in {".jpg", ".jpeg"} else 1
        except UNREADABLE as error:
            raise _unreadable(path, error) from error
        if sorted((height, width)) != sorted(size):
            raise _other_size(path, (height, width), size)
        if pictures > 1:
            self.warn(f"{path} holds {pictures} pictures; only the first is used")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read any image as (H, W, 3) uint8 RGB, turned as its orientation tag says; what is transparent becomes black.

    Raises:
        InputError: the file is missing, damaged or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"})
            upright = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(_to_rgb(upright, sixteen_bits=deep))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return the key that sorts names as people count: digits by value, letters without regard to case."""
    parts = re.split(r"([0-9]+)", name.casefold())  # text and digits by turns, text first
    return [int(part) if turn % 2 else part for turn, part in enumerate(parts)], name


def _to_rgb(image: Image.Image, *, sixteen_bits: bool) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit values to 255 instead of scaling them; the high byte is what ffmpeg shows. How many of 32
        # bits are used, only the values tell.
        values = np.asarray(image).astype(np.int64)
        deep = sixteen_bits or values.max(initial=0) > 255
        grey = np.clip(values >> 8 if deep else values, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64))
        scale = 255.0 if values.max(initial=0.0) <= 1.0 else 1.0
        grey = np.clip(values * scale, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        ground = Image.new("RGBA", colours.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(ground, colours).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def image_names(folder: Path) -> list[str]:
    """Return the names of the files that are the frames of *folder*, in the natural order.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return sorted((name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def _list_images(folder: Path) -> tuple[Path, list[str]]:
    try:
        images = image_names(folder)
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read ({error.strerror})", cure="check the path and who may read it"
        ) from error
    if not images:
        suffixes = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise InputError(
            f"the folder {folder} has no images ({suffixes})",
            cure="give a folder of frames or a video file; `rvos batch` takes a folder of videos",
        )
    return folder, images


def _refuse_equal_stems(files: list[str], folder: Path) -> None:
    seen: dict[str, str] = {}
    for file in files:
        stem = Path(file).stem
        other = seen.setdefault(stem.casefold() if CASELESS else stem, file)
        if other != file:
            raise InputError(
                f"{folder} holds {other} and {file}, whose masks would have one name",
                cure="rename or remove one of them",
            )


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist", cure="check the path")
    if isinstance(error, Image.DecompressionBombError):
        return InputError(f"the image {path} has too many pixels", cure="make it smaller")
    reason = "it is not an image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return InputError(f"the image {path} cannot be read ({reason})", cure="repair or remove it")


def _other_size(path: Path, size: tuple[int, ...], first: tuple[int, int]) -> InputError:
    return InputError(
        f"{path} is {size[1]}x{size[0]}, the first image is {first[1]}x{first[0]}",
        cure="frames of one video have one size: resize it or take it out of the folder",
    )
