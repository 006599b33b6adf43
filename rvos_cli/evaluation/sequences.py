"""One sequence of a data set: which frames it has, which true masks, and which of them count.

Enters: paths. Leaves: frames and label maps, read when they are asked for, frames a little ahead in a few threads.
Made by ``datasets.py``, used by ``runner.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.folders import read_mask
from rvos_cli.evaluation.protocols import VOID
from rvos_cli.sources import read_image
from rvos_cli.unreadable import UNREADABLE

Labels = NDArray[np.uint8]

READERS, FRAMES_AHEAD = 2, 4


@dataclass(frozen=True)
class Sequence:
    """One sequence.

    Args:
        name: of the sequence.
        frames: image files in display order.
        masks: frame stem -> true mask, for those frames that have one.
        listed: stems of the frames that count: the official list. They are scored and submitted.
        merged: all objects are one (DAVIS 2016).
        enough: so many true masks will do, and frames without one are simply not scored. None: all that count need one.
    """

    name: str
    frames: tuple[Path, ...]
    masks: Mapping[str, Path]
    listed: tuple[str, ...]
    merged: bool = False
    enough: int | None = None

    @property
    def scored(self) -> tuple[str, ...]:
        """Stems of the frames that are scored if the sequence is complete."""
        return self.listed if self.enough is None else tuple(stem for stem in self.listed if stem in self.masks)

    @property
    def first_unknown(self) -> str | None:
        """The first frame that counts and has no true mask."""
        return next((stem for stem in self.listed if stem not in self.masks), None)

    @property
    def complete(self) -> bool:
        """Whether there are true masks to score with."""
        return self.first_unknown is None or (self.enough is not None and len(self.scored) >= self.enough)

    def truth(self, stem: str) -> Labels | None:
        """Read the (H, W) uint8 true labels of a frame; None if it has none.

        Raises:
            DatasetError: the mask cannot be read, or is in colour where ids are needed.
        """
        path = self.masks.get(stem)
        if path is None:
            return None
        return _read_foreground(path) if self.merged else read_mask(path)

    def check_size(self) -> None:
        """Compare the first true mask that is scored with its frame; only headers are read.

        Raises:
            DatasetError: they are not of one size, or cannot be read.
        """
        frame, mask = next((path, self.masks[path.stem]) for path in self.frames if path.stem in self.scored)
        shown, drawn = _size(frame), _size(mask)
        if sorted(shown) != sorted(drawn):  # an orientation tag may exchange width and height
            raise DatasetError(
                f"{mask} is {drawn[0]}x{drawn[1]}, its frame {shown[0]}x{shown[1]}",
                cure="true masks need the size of the frames",
            )

    def images(self) -> Generator[NDArray[np.uint8], None, None]:
        """Yield the frames, (H, W, 3) uint8 RGB, in order; a few are read ahead.

        Raises:
            InputError: one cannot be read.
        """
        waiting: deque[Future[NDArray[np.uint8]]] = deque()
        with ThreadPoolExecutor(READERS, thread_name_prefix="rvos-read") as pool:
            try:
                for path in self.frames:
                    waiting.append(pool.submit(read_image, path))
                    if len(waiting) > FRAMES_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def given(self, *, late: bool) -> Iterator[Labels | None]:
        """Yield for each frame the (H, W) uint8 mask of the objects that are given there, or None.

        Objects are given once, in the first mask that shows them. Without *late* only those of the first mask are.

        Raises:
            DatasetError: a mask cannot be read.
        """
        known: set[int] = set()
        for path in self.frames:
            truth = self.truth(path.stem) if late or not known else None
            if truth is None:
                yield None
                continue
            ids = {int(identity) for identity in np.unique(truth)} - {0}
            if ids == {VOID} and not late:  # a binary mask: its only object is drawn in white
                truth, ids = (truth > 0).view(np.uint8), {1}
            fresh = ids - known - {VOID}
            known |= fresh
            yield np.where(np.isin(truth, sorted(fresh)), truth, np.uint8(0)) if fresh else None


def _size(path: Path) -> tuple[int, int]:
    """Return the width and height that a picture's header states."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return width, height
    except UNREADABLE as error:
        raise DatasetError(f"{path} cannot be read ({error})", cure="unpack the data set again") from error


def _read_foreground(path: Path) -> Labels:
    """Return 1 where a mask of any kind is not black: some binary masks are stored as colour pictures."""
    try:
        with Image.open(path) as image:
            if image.mode in ("RGB", "RGBA"):
                coloured: Labels = (np.asarray(image)[..., :3].max(axis=2) > 0).view(np.uint8)
                return coloured
    except UNREADABLE as error:
        raise DatasetError(f"{path} cannot be read ({error})", cure="unpack the data set again") from error
    return (read_mask(path) > 0).view(np.uint8)
