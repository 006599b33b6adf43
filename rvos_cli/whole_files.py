"""Files that are whole or absent: written beside their name, which they take in one step when all is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rvos_cli.errors import OutputError


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """Give a name beside *path* to write to; it becomes *path* when the block ends well, else it goes.

    Raises:
        OSError: the file cannot be written.
    """
    # Not made from the file's own name, which may be as long as the system allows.
    beside = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def writing_beside(path: Path) -> Iterator[Path]:
    """Do the same below a folder that is made where there is none; what the system refuses gets a name.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path) as beside:
            yield beside
    except OSError as error:
        raise unwritable(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write *data* to *path*, which is replaced in one step.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    with draft(path) as beside:
        beside.write_bytes(data)


def unwritable(path: Path, error: Exception) -> OutputError:
    """Return the named failure for a file that the system refuses to write."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{path} cannot be written ({reason})", cure="is the disk full, or the folder read-only?")
