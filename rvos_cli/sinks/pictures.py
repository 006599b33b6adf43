"""One PNG per frame, or per frame and object.

Enters: label maps. Leaves: ``masks/<name>.png`` and ``objects/<id>/<name>.png``. Stands beside the overlay video; the
PNGs are made by a few threads (deflating works without the interpreter lock) that never hold more than a few frames.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rvos_cli.masks import write_binary_png, write_indexed_png
from rvos_cli.png import encode_binary_png
from rvos_cli.results import FrameMasks
from rvos_cli.sinks.sink import Sink
from rvos_cli.threads import SIDE_THREADS
from rvos_cli.whole_files import unwritable, write_bytes


class _PictureThreads:
    """Runs writing jobs in a few threads; takes a new one only when few are waiting; tells the first failure."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="rvos-png")
        self._waiting: deque[tuple[Path, Future[None]]] = deque()

    def submit(self, path: Path, job: Callable[[], None]) -> None:
        """Queue *job*, which writes *path*; block while two jobs per thread are waiting."""
        while len(self._waiting) >= 2 * SIDE_THREADS or (self._waiting and self._waiting[0][1].done()):
            self._settle()
        self._waiting.append((path, self._pool.submit(job)))

    def finish(self) -> None:
        """Wait until all is written."""
        try:
            while self._waiting:
                self._settle()
        finally:
            self.stop()

    def stop(self) -> None:
        """Finish the jobs that run, forget the others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()

    def _settle(self) -> None:
        path, future = self._waiting.popleft()
        try:
            future.result()
        except OSError as error:
            raise unwritable(path, error) from error


class MaskFolder(Sink):
    """Writes ``<folder>/<name>.png``: a palette PNG of the source's size, 0 = background, k = object k."""

    def __init__(self, folder: Path) -> None:
        """Write below *folder*, which is made with the first frame."""
        self.folder = folder
        self._threads = _PictureThreads()
        self._made = False

    def write(self, frame: FrameMasks) -> None:
        """Queue the frame's label map for writing."""
        if not self._made:
            _make(self.folder)
            self._made = True
        path, labels = self.folder / f"{frame.name}.png", frame.labels
        self._threads.submit(path, lambda: write_indexed_png(path, labels))

    def close(self) -> None:
        """Wait for the last file."""
        self._threads.finish()

    def abort(self) -> None:
        """Leave the PNGs that are whole; each file stands for itself."""
        self._threads.stop()


class ObjectFolders(Sink):
    """Writes ``<folder>/<two-digit id>/<name>.png`` for every object and every frame: 8 bits, 0 or 255.

    An object that appears late gets black PNGs for the earlier frames. Their names are kept in a temporary file, so
    that memory does not grow with the video.
    """

    def __init__(self, folder: Path, ids: tuple[int, ...] = ()) -> None:
        """Write below *folder*; *ids* are the objects that exist from the first frame on."""
        self.folder = folder
        self._ids: list[int] = []
        self._expected = ids
        self._names = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (lives as long as the sink)
        self._threads = _PictureThreads()
        self._black: tuple[tuple[int, ...], bytes] | None = None
        self._begun = False

    def write(self, frame: FrameMasks) -> None:
        """Queue one PNG for each object known so far, and the missing earlier ones of each object that is new."""
        if not self._begun:
            _make(self.folder)
            for identity in sorted(self._expected):
                self._welcome(identity, frame)
            self._begun = True
        for seen in frame.areas:
            if seen not in self._ids:
                self._welcome(seen, frame)
        for identity in self._ids:
            path = self._path(identity, frame.name)
            if identity in frame.areas:
                self._threads.submit(path, _binary_job(path, frame.labels, identity))
            else:
                self._threads.submit(path, _bytes_job(path, self._black_png(frame.labels.shape)))
        self._names.write(os.fsencode(frame.name) + b"\0")

    def close(self) -> None:
        """Wait for the last file."""
        self._names.close()
        self._threads.finish()

    def abort(self) -> None:
        """Leave the PNGs that are whole; each file stands for itself."""
        self._names.close()
        self._threads.stop()

    def _welcome(self, identity: int, frame: FrameMasks) -> None:
        _make(self.folder / f"{identity:02d}")
        self._ids.append(identity)
        for name in self._earlier_names():
            path = self._path(identity, name)
            self._threads.submit(path, _bytes_job(path, self._black_png(frame.labels.shape)))

    def _earlier_names(self) -> Iterator[str]:
        self._names.seek(0)
        rest = b""
        while block := self._names.read(1 << 16):
            *whole, rest = (rest + block).split(b"\0")
            yield from map(os.fsdecode, whole)
        self._names.seek(0, os.SEEK_END)

    def _black_png(self, shape: tuple[int, ...]) -> bytes:
        if self._black is None or self._black[0] != shape:
            self._black = (shape, encode_binary_png(np.zeros(shape, dtype=np.bool_)))
        return self._black[1]

    def _path(self, identity: int, name: str) -> Path:
        return self.folder / f"{identity:02d}" / f"{name}.png"


def _binary_job(path: Path, labels: NDArray[np.uint8], identity: int) -> Callable[[], None]:
    return lambda: write_binary_png(path, labels == identity)


def _bytes_job(path: Path, data: bytes) -> Callable[[], None]:
    return lambda: write_bytes(path, data)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
