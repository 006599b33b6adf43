"""Where rvos keeps files, on every system."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from rvos_cli.folders import cache_folder, data_folder
from rvos_cli.manifest import user_folder

PLACES = {
    "linux": ("data/rvos", "cache/rvos"),
    "darwin": ("Library/Application Support/rvos", "Library/Caches/rvos"),
    "win32": ("local/rvos", "local/rvos/cache"),
}


def test_a_home_of_its_own_holds_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "home"))
    assert data_folder() == tmp_path / "home" and cache_folder() == tmp_path / "home" / "cache"
    assert user_folder() == tmp_path / "home" / "weights"


@pytest.mark.parametrize("platform", PLACES)
def test_without_it_they_are_where_the_system_has_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str
) -> None:
    monkeypatch.delenv("RVOS_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable, place in (("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache"), ("LOCALAPPDATA", "local")):
        monkeypatch.setenv(variable, str(tmp_path / place))
    monkeypatch.setattr(sys, "platform", platform)
    assert (data_folder(), cache_folder()) == tuple(tmp_path / place for place in PLACES[platform])


def test_a_bare_linux_has_the_usual_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("RVOS_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert (data_folder(), cache_folder()) == (tmp_path / ".local/share/rvos", tmp_path / ".cache/rvos")


def test_a_user_without_a_home_has_the_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("RVOS_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    for platform in PLACES:
        monkeypatch.setattr(sys, "platform", platform)
        assert tmp_path in data_folder().parents and tmp_path in cache_folder().parents
