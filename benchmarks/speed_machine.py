"""Where figures come from: processor, versions and command line, in words that name no place of this machine.

Enters: what a worker knows of its versions. Leaves: text.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def conditions(machine: Mapping[str, Any], peers: Mapping[str, str], effort: str) -> str:
    """Return the paragraph that says where, when, with what and how figures came about."""
    versions = {"rvos": f"{machine['rvos']} (lite {machine['weights']}...)", **machine["versions"], **peers}
    places = (
        f"{datetime.now(timezone.utc):%Y-%m-%d}",
        processor(),
        f"{os.cpu_count()} CPUs",
        f"{machine['gpu']}, CUDA {machine['cuda']}" if machine["gpu"] else "no GPU used",
        platform.platform(),
        f"Python {machine['python']}",
        *(f"{name} {number}" for name, number in versions.items()),
    )
    how = f"{machine['threads']} threads, rvos in {machine['precision']}. {effort}"
    return f"{', '.join(places)}; {how}\n\n`{shown_command()}`"


def shown_command() -> str:
    """Return this script's command line without the places of this machine."""
    words = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join(["python", "benchmarks/speed.py", *words])


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    amx = any("amx_tile" in line for line in lines if line.startswith("flags"))
    return f"{platform.machine()}, {names[0] if names else 'unknown'}{' with AMX' if amx else ''}"
