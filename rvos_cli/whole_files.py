"""Small files that are whole or absent: bytes enter, a file leaves, written beside its name and then renamed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from rvos_cli.errors import OutputError


def write_bytes(path: Path, data: bytes) -> None:
    """Write *data* to *path*, which is replaced in one step.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    # Not made from the file's own name, which may be as long as the system allows; a thread writes one file at a time.
    beside = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: Exception) -> OutputError:
    """Return the named failure for a file that the system refuses to write."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{path} cannot be written ({reason})", cure="is the disk full, or the folder read-only?")
