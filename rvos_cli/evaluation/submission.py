"""Zip files for the official evaluation servers.

Enters: label maps, frame by frame. Leaves: ``<folder>/<sequence>/<frame>.png``, mode P with the DAVIS palette, in a zip
that bears its name only when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from rvos_cli.errors import OutputError, UsageError
from rvos_cli.png import encode_indexed_png
from rvos_cli.whole_files import draft, unwritable


class Submission:
    """A zip of masks; a context manager that leaves the whole zip, or after a failure nothing."""

    def __init__(self, path: str | Path, *, folder: str = "", force: bool = False) -> None:
        """Prepare a zip at *path* whose masks lie below *folder*; *force* replaces an earlier one.

        Raises:
            UsageError: the name does not end in ``.zip``.
            OutputError: there is one already.
        """
        self.path = Path(os.path.expanduser(path))
        self.masks = 0
        self._folder, self._force = f"{folder}/" if folder else "", force
        if self.path.suffix.lower() != ".zip":
            raise UsageError(f"a submission is a zip, not {self.path.name}", cure="name a file that ends in .zip")
        if self._taken():
            raise OutputError(f"{self.path} exists already", cure="choose another name, or replace it with --force")

    def __enter__(self) -> Submission:
        """Open the zip under a temporary name, so that a place that cannot be written is known at once.

        Raises:
            OutputError: it cannot be written.
        """
        with self._named_failures():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                self._part = stack.enter_context(draft(self.path))
                self._zip = ZipFile(self._part, "w", ZIP_STORED)  # PNGs are compressed already
                self._end = stack.pop_all()
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
            OutputError: it cannot be finished, or another file has taken its name meanwhile.
        """
        if kind is not None:
            with suppress(OSError):
                self._zip.close()
            self._end.__exit__(kind, error, trace)
            return
        with self._named_failures(), self._end:
            self._zip.close()
            if self._taken():
                # What it took to compute need not be computed again.
                other = self.path.with_name(f"{self.path.stem}-{os.urandom(4).hex()}.zip")
                os.replace(self._part, other)
                raise OutputError(f"{self.path} has appeared meanwhile", cure=f"the masks of this run are in {other}")

    def _taken(self) -> bool:
        return not self._force and os.path.lexists(self.path)

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.path, error) from error
