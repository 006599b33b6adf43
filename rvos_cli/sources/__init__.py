"""Video in: a file, a folder of images, one image, or arrays, all read in the same way.

Enters: a path or an iterable of arrays. Leaves: a ``FrameSource``: upright 8-bit RGB frames with exact times.
First station of the flow: ``sources -> preprocess -> model``; knows numpy and files, not torch.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rvos_cli.errors import InputError
from rvos_cli.sources.arrays import ArraySource
from rvos_cli.sources.folder import IMAGE_SUFFIXES, FolderSource, image_names, natural_key, read_image
from rvos_cli.sources.frames import NOMINAL_RATE, Frame, FrameSource, SourceInfo, number_of, stem_of
from rvos_cli.sources.video import VIDEO_SUFFIXES, VideoSource

__all__ = [
    "IMAGE_SUFFIXES",
    "NOMINAL_RATE",
    "VIDEO_SUFFIXES",
    "Frame",
    "FrameSource",
    "SourceInfo",
    "image_names",
    "natural_key",
    "number_of",
    "open_source",
    "read_image",
    "stem_of",
]


# What a path of nothing is called; on Windows a name with a colon or an asterisk is an invalid argument.
NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL}


def open_source(input: str | os.PathLike[str] | Iterable[Any]) -> FrameSource:
    """Open a video file, a folder of images, an image, or an iterable of (H, W, 3) uint8 RGB arrays.

    Raises:
        InputError: it is missing, empty, or holds no picture that can be read.
    """
    if not isinstance(input, (str, os.PathLike)):
        if not isinstance(input, Iterable):
            raise InputError(
                f"an input of type {type(input).__name__} cannot be read", cure="give a path or (H, W, 3) uint8 arrays"
            )
        return ArraySource(input)
    name = os.fspath(input)
    if not name:
        raise InputError("the input has an empty name", cure="give a video, a folder of images or an image")
    path = Path(os.path.expanduser(name))
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in NOWHERE:
            raise InputError(
                f"{name} cannot be read ({error.strerror})", cure="check the path and who may read it"
            ) from error
        raise _nothing_at(name) from error
    if stat.S_ISDIR(found.st_mode):
        return FolderSource(path, name)
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{name} is not a regular file", cure="save the video to a file first")
    if found.st_size == 0:
        raise InputError(f"{name} is empty", cure="copy or record it again")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(path, name)
    return VideoSource(path, name)


def _nothing_at(name: str) -> InputError:
    """Return the failure for a *name* of nothing that is there."""
    scheme = re.match(r"([a-z][a-z0-9+.-]+):/", name, re.IGNORECASE)  # a Path keeps one of an address's two slashes
    if scheme is None:
        return InputError(f"{name} does not exist", cure="check the path")
    if scheme[1].lower() == "file":
        return InputError(f"{name} is an address", cure="give the path itself, without file://")
    return InputError(f"{name} is a web address", cure="download the video and give the file")
