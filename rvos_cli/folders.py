"""Where rvos keeps what outlives a run: below ``RVOS_HOME`` where that is set, else where the system has such files."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of what the user brought, such as weights; it need not exist."""
    if home := os.environ.get("RVOS_HOME"):
        return Path(os.path.expanduser(home))
    if sys.platform == "win32":
        return _local_app_data() / "rvos"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "rvos"
    return Path(os.environ.get("XDG_DATA_HOME") or _home() / ".local" / "share") / "rvos"


def cache_folder() -> Path:
    """Return the folder of what can be made again and may be removed at any time; it need not exist."""
    if home := os.environ.get("RVOS_HOME"):
        return Path(os.path.expanduser(home)) / "cache"
    if sys.platform == "win32":
        return _local_app_data() / "rvos" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "rvos"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "rvos"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container's user without a name has none
        return Path(tempfile.gettempdir())


def _local_app_data() -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
