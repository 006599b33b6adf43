"""What the manifests say: damaged, locked, out of reach, written by two at once."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import torch

from rvos_cli import manifest
from rvos_cli.config import ModelConfig
from rvos_cli.errors import OutputError, WeightsError
from rvos_cli.locks import FileLock
from rvos_cli.weights import (
    import_published,
    list_weights,
    load_weights,
    register_weights,
    save_weights,
    user_folder,
    verify_weights,
)

CONFIG = ModelConfig(trunk="resnet34", hidden_size=8, mask_input=False, slots=3, key_dim=0)


def test_a_damaged_manifest_is_named(shipped: Path) -> None:
    for text in ("{", "[]", '{"weights": {"lite": 3}}', '{"weights": {"lite": {"file": "x"}}}'):
        (shipped / "manifest.json").write_text(text)
        with pytest.raises(WeightsError, match=r"manifest\.json cannot be read .*; restore or delete it"):
            list_weights()
    entry = {"file": "lite.safetensors", "sha256": "", "bytes": 1}
    for wrong in ({"bytes": "big"}, {"license": 3}, {"file": None}, {"tasks": 1}, {"url": ["https://a.example"]}):
        (shipped / "manifest.json").write_text(json.dumps({"weights": {"lite": {**entry, **wrong}}}))
        with pytest.raises(WeightsError, match=r"manifest\.json cannot be read .*; restore or delete it"):
            list_weights()
    (shipped / "manifest.json").write_text(
        '{"weights": {"lite": {"file": "../lite.safetensors", "sha256": "", "bytes": 1}}}'
    )
    with pytest.raises(WeightsError, match="a file outside of its folder"):
        list_weights()


def test_two_that_write_a_manifest_at_once_lose_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "weights"
    for name in ("one", "two"):
        save_weights(folder / f"{name}.safetensors", CONFIG, {"x": torch.zeros(1)})
    read, other = manifest._read_json, threading.Thread(target=register_weights, args=[folder / "two.safetensors"])

    def slow(path: Path) -> dict[str, object]:
        content = read(path)
        if other.ident is None:
            other.start()
            other.join(0.3)  # without a lock it ends here, and what it has written is lost
        return content

    monkeypatch.setattr(manifest, "_read_json", slow)
    register_weights(folder / "one.safetensors")
    other.join()
    assert {entry.name for entry in list_weights()} == {"one", "two"}


def test_a_manifest_that_somebody_keeps_locked_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "weights" / "one.safetensors"
    save_weights(path, CONFIG, {"x": torch.zeros(1)})
    lock = FileLock(path.with_name(manifest.LOCK))
    assert lock.acquire()
    monkeypatch.setattr(manifest, "PATIENCE", 0.1)
    with pytest.raises(OutputError, match="another process is writing"):
        register_weights(path)
    lock.release()
    register_weights(path)


def test_a_user_folder_that_cannot_be_entered_hides_no_shipped_weights(
    shipped: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "file"))
    assert load_weights("lite").source == "named"
    with pytest.raises(OutputError, match="cannot be written"):
        import_published(published, "mine")
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "locked"))
    read = Path.read_text

    def refuse(path: Path, *words: object, **options: object) -> str:
        if "locked" in path.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path, *words, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert [entry.name for entry in list_weights()] == ["lite"]
    save_weights(user_folder() / "mine.safetensors", CONFIG, {"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"manifest\.json cannot be read"):
        register_weights(user_folder() / "mine.safetensors")  # which would replace all that stands in there


def test_a_manifest_of_the_package_that_cannot_be_read_is_named(shipped: Path) -> None:
    (shipped / "manifest.json").unlink()
    (shipped / "manifest.json").mkdir()
    with pytest.raises(WeightsError, match=r"manifest\.json cannot be read"):
        list_weights()


def test_a_weights_file_that_cannot_be_read_is_one_line(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(manifest, "sha256_of", refuse)
    with pytest.raises(WeightsError, match=r"lite\.safetensors cannot be read \(Permission denied\); check who"):
        load_weights("lite")
    ((_, problem),) = verify_weights()
    assert problem is not None and "Permission denied" in problem
