"""Small files that are whole or absent.

Enters: bytes or a summary. Leaves: a file, written under a temporary name beside it and then renamed.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from rvos_cli.errors import OutputError
from rvos_cli.results import RunSummary


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
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def write_summary(path: Path, summary: RunSummary) -> None:
    """Write *summary* as indented JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(summary.to_dict(), indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is no text in this system's encoding is written as JSON escapes, which read back as that name.
        write_bytes(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: Exception) -> OutputError:
    """Return the named failure for a file that the system refuses to write."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{path} cannot be written ({reason})", cure="is the disk full, or the folder read-only?")
