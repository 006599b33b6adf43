"""The processes of ``speed.py``: workers that run programs frame by frame, and ``rvos`` as a user runs it.

Enters: commands. Leaves: answers, seconds and memory. This side stays free of torch, so that nothing here takes part in
what is measured, and a child's memory is its own.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
POLL = 0.005  # seconds between two looks for the first mask


class WorkerError(Exception):
    """A worker could not do what it was told."""


class Process:
    """A worker (``speed_worker.py``) and the line to it."""

    def __init__(self, python: str, folder: Path, device: str) -> None:
        """Start it."""
        self._child = subprocess.Popen(
            [python, str(HERE / "speed_worker.py"), str(folder), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**child_environment(), "TQDM_DISABLE": "1"},
        )

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            WorkerError: it failed.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            print(json.dumps({"do": do, **options}), file=self._child.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError(f"the process for '{do}' has ended") from None
        answer: dict[str, Any] = json.loads(self._child.stdout.readline() or '{"failed": "the process has ended"}')
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer

    def __enter__(self) -> Process:
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()


def run_command(words: Sequence[str], awaited: Path | None = None) -> dict[str, float]:
    """Run ``rvos`` as a user does; return ``seconds``, ``memory`` in bytes, and when the first PNG was there.

    Args:
        words: of the command line.
        awaited: the folder below which the first PNG is waited for.

    Raises:
        WorkerError: the command failed.
    """
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "rvos_cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
    )
    result: dict[str, float] = {}
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG if awaited is not None else 0)
        now = time.perf_counter()
        if pid:
            break
        if awaited is not None and any(awaited.rglob("*.png")):
            result["first"], awaited = now - start, None
            continue
        time.sleep(POLL)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise WorkerError(f"rvos {shlex.join(words)} ended with code {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1 << 10
    return {**result, "seconds": now - start, "memory": usage.ru_maxrss * unit}


def child_environment() -> dict[str, str]:
    """Return the environment of the children: rvos is found in this checkout where it is not installed.

    As for most users Python may keep what it compiles; else each start would compile all of torch's modules again.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if find_spec("rvos_cli") is None:
        paths = [str(HERE.parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def default_device() -> str:
    """Return ``cuda`` where torch sees a GPU; asked of a child, for this process stays free of torch."""
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
