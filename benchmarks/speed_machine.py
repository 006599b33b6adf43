"""Where figures come from: processor, versions and command line, in words that name no place of this machine.

Enters: what a worker knows of its versions. Leaves: text.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def conditions(machine: Mapping[str, Any], peers: Mapping[str, str], effort: str) -> str:
    """Return the paragraph that says where, when, with what and how figures came about."""
    versions = {"rvos": f"{machine['rvos']} (lite {machine['weights']}...)", **machine["versions"], **peers}
    how = f"{machine['threads']} threads, rvos in {machine['precision']}. {effort}"
    return f"{surroundings(machine, versions)}; {how}\n\n`{shown_command('speed.py', sys.argv[1:])}`"


def surroundings(machine: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Return date, processor, GPU (*machine*'s ``gpu`` and ``cuda``, None without), system and versions."""
    places = (
        f"{datetime.now(timezone.utc):%Y-%m-%d}",
        processor(),
        f"{os.cpu_count()} CPUs",
        f"{machine['gpu']}, CUDA {machine['cuda']}" if machine["gpu"] else "no GPU used",
        platform.platform(),
        f"Python {machine['python']}",
        *(f"{name} {number}" for name, number in versions.items()),
    )
    return ", ".join(places)


def shown_command(script: str, arguments: Sequence[str]) -> str:
    """Return the command line of a script of this folder without the places of this machine."""
    words = [Path(word).name if os.path.isabs(word) else word for word in arguments]
    return shlex.join(["python", f"benchmarks/{script}", *words])


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    amx = any("amx_tile" in line for line in lines if line.startswith("flags"))
    return f"{platform.machine()}, {names[0] if names else 'unknown'}{' with AMX' if amx else ''}"
