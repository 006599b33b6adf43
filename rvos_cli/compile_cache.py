"""What was compiled once, on disk: the next video with frames of that shape need not wait for it.

Facts and bytes enter; bytes leave, or nothing. Used by ``model/compiling.py``. The facts tell all that the bytes depend
on, so that nothing in here is ever out of date; what has not been used for longest goes when there is too much. A
folder that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from rvos_cli.folders import cache_folder
from rvos_cli.whole_files import write_bytes

DAY = 86_400  # seconds
LARGEST = 500_000_000  # bytes of all together; a shape of frame takes 17 MB of lite, 180 MB of a published network
_DIGEST = hashlib.sha256().digest_size


def folder() -> Path:
    """Return where it lies; it need not exist."""
    return cache_folder() / "compiled"


@functools.cache
def code() -> str:
    """Return a name for the code of the networks: what is compiled is made of it."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "model").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read(*facts: object) -> bytes | None:
    """Return what was written under the same *facts*, or None."""
    path = _path(facts)
    try:
        held = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # what only others may write can be read all the same
        os.utime(path)  # it is in use
    digest, data = held[:_DIGEST], held[_DIGEST:]
    return data if hashlib.sha256(data).digest() == digest else None


def write(data: bytes, *facts: object) -> None:
    """Keep *data* under *facts*, if there is room and the system lets it."""
    path = _path(facts)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, LARGEST - len(data))
        if len(data) <= LARGEST:
            write_bytes(path, hashlib.sha256(data).digest() + data)


def _path(facts: tuple[object, ...]) -> Path:
    return folder() / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.blob"


def _make_room(where: Path, left: int) -> None:
    """Remove what has not been used for longest until no more than *left* bytes remain, and what is half written."""
    latest_first = sorted(((path.stat(), path) for path in where.glob("*.blob")), key=lambda it: -it[0].st_mtime_ns)
    for status, path in latest_first:
        left -= status.st_size
        if left < 0:
            path.unlink(missing_ok=True)
    for path in where.glob(".*.part"):  # what a process has left behind that ended while it wrote
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
