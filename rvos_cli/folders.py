"""Where rvos keeps what outlives a run: below ``RVOS_HOME`` where that is set, else where the system has such files."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of what the user brought, such as weights; it need not exist."""
    if home := os.environ.get("RVOS_HOME"):
        return Path(os.path.expanduser(home))
    if sys.platform == "win32":
        return _local_app_data() / "rvos"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "rvos"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "rvos"


def cache_folder() -> Path:
    """Return the folder of what can be made again and may be removed at any time; it need not exist."""
    if home := os.environ.get("RVOS_HOME"):
        return Path(os.path.expanduser(home)) / "cache"
    if sys.platform == "win32":
        return _local_app_data() / "rvos" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rvos"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rvos"


def _local_app_data() -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
