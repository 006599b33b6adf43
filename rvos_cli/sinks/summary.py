"""The last file of a run: a summary enters, ``summary.json`` leaves, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from rvos_cli.results import RunSummary
from rvos_cli.whole_files import unwritable, write_bytes


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
