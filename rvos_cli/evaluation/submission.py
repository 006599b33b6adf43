"""Zip files for the official evaluation servers.

Enters: label maps, frame by frame. Leaves: ``<folder>/<sequence>/<frame>.png``, mode P with the DAVIS palette, in a zip
that bears its name only when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import OutputError, UsageError
from rvos_cli.png import encode_indexed_png


class Submission:
    """A zip of masks; a context manager that leaves the whole zip, or after a failure nothing."""

    def __init__(self, path: str | Path, *, folder: str = "", force: bool = False) -> None:
        """Prepare a zip at *path* whose masks lie below *folder*; *force* replaces an earlier one.

        Raises:
            UsageError: the name does not end in ``.zip``.
            OutputError: there is one already.
        """
        self.path = Path(path)
        self.masks = 0
        self._folder = f"{folder}/" if folder else ""
        self._part = self.path.with_name(f".{self.path.name}.part")
        if self.path.suffix.lower() != ".zip":
            raise UsageError(f"a submission is a zip, not {self.path.name}", cure="name a file that ends in .zip")
        if self.path.exists() and not force:
            raise OutputError(f"{self.path} exists already", cure="choose another name, or replace it with --force")

    def __enter__(self) -> Submission:
        """Open the zip under a temporary name, so that a place that cannot be written is known at once.

        Raises:
            OutputError: it cannot be written.
        """
        with self._named_failures():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._zip = ZipFile(self._part, "w", ZIP_STORED)  # PNGs are compressed already
        return self

    def write(self, sequence: str, frame: str, labels: NDArray[np.uint8]) -> None:
        """Add the (H, W) uint8 labels of one frame.

        Raises:
            OutputError: the zip cannot be written.
        """
        # Without the time of day the same masks give the same file.
        entry = ZipInfo(f"{self._folder}{sequence}/{frame}.png")
        entry.external_attr = 0o644 << 16
        with self._named_failures():
            self._zip.writestr(entry, encode_indexed_png(labels))
        self.masks += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the whole zip its name, or remove what there is of it.

        Raises:
            OutputError: it cannot be finished.
        """
        try:
            with self._named_failures():
                self._zip.close()
                if kind is None:
                    os.replace(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror or error})", cure="is the disk full, or read-only?"
            ) from error
