"""Running the command as a user does: words in, exit code and both streams out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rvos_cli.cli.app import run


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """The lines of stderr that tell an error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Rvos = Callable[..., Outcome]


@pytest.fixture
def rvos(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rvos:
    """Run ``rvos`` with some words, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def quick(colours: None, tiny_weights: Path) -> tuple[str, str, str, str]:
    """Weights and device for runs whose masks come from the colours."""
    return ("--weights", str(tiny_weights), "--device", "cpu")
