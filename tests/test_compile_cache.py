"""Compiled parts on disk: loaded they are the same, and nothing that happens to the files costs more than time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rvos_cli import compile_cache
from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS, compiling
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.model.compiling import fingerprint
from rvos_cli.model.encoder import Features

SIZE = (64, 96)
needs_openvino = pytest.mark.skipif(not compiling.can_compile(), reason="OpenVINO is not installed")


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "home"))


@pytest.fixture
def lite() -> RVOS:
    torch.manual_seed(0)
    return RVOS(ModelConfig(hidden_size=16, key_dim=16)).eval()


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the parts that are converted."""
    parts, convert = [], compiling._converted
    monkeypatch.setattr(
        compiling, "_converted", lambda part, *rest: parts.append(type(part).__name__) or convert(part, *rest)
    )
    return parts


def encoded(model: RVOS, *, half: bool = False) -> Features:
    torch.manual_seed(1)
    with torch.inference_mode():
        features = CompiledRVOS(model, half=half).encode(torch.randn(1, 3, *SIZE))
    assert features.slot is not None  # it is compiled, wherever it comes from
    return features


def blobs() -> list[Path]:
    return sorted(compile_cache.folder().glob("*"))


@needs_openvino
@pytest.mark.parametrize("half", [False, True])
def test_what_was_compiled_is_loaded_and_the_same(lite: RVOS, converted: list[str], half: bool) -> None:
    first = encoded(lite, half=half)
    assert converted == ["_Shallow", "_Deep", "_Slot"] and len(blobs()) == 3
    second = encoded(lite, half=half)
    assert len(converted) == 3
    assert torch.equal(first.keys, second.keys)
    assert all(torch.equal(one, other) for one, other in zip(first.gates, second.gates, strict=True))


@needs_openvino
def test_other_weights_are_compiled_anew(lite: RVOS, converted: list[str]) -> None:
    first = encoded(lite)
    with torch.no_grad():
        lite.matching.fine.weight.mul_(-1)
    second = encoded(lite)
    assert len(converted) == 6 and not torch.equal(first.keys, second.keys)


@needs_openvino
@pytest.mark.parametrize("damage", ["short", "other bytes", "empty", "refused"])
def test_a_damaged_file_is_compiled_again(
    lite: RVOS, converted: list[str], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoded(lite)
    for path in blobs():
        data = path.read_bytes()
        if damage == "refused":  # whole, but nothing that OpenVINO can read
            monkeypatch.setattr(compile_cache, "read", lambda *facts: b"<nothing>")
        else:
            path.write_bytes({"short": data[:-9], "other bytes": data[:-9] + bytes(9), "empty": b""}[damage])
    assert torch.equal(first.keys, encoded(lite).keys)
    assert len(converted) == 6


@needs_openvino
def test_a_folder_that_cannot_be_written_costs_only_time(
    lite: RVOS, converted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "file" / "home"))
    encoded(lite)
    encoded(lite)
    assert len(converted) == 6


def test_what_only_others_may_write_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    compile_cache.write(b"a", "a")
    monkeypatch.setattr(os, "utime", refuse)
    assert compile_cache.read("a") == b"a"


def test_what_has_not_been_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache, "LARGEST", 400)
    for age, name in enumerate(("a", "b", "c")):
        compile_cache.write(name.encode() * 100, name)
        os.utime(compile_cache._path((name,)), (age, age))
    assert compile_cache.read("a") == b"a" * 100  # which is used now
    compile_cache.write(b"d" * 100, "d")
    assert [compile_cache.read(name) is not None for name in "abcd"] == [True, False, True, True]
    compile_cache.write(b"e" * 500, "too large")
    assert compile_cache.read("too large") is None


def test_what_was_half_written_goes_after_a_day() -> None:
    compile_cache.write(b"a", "a")
    stale, fresh = (compile_cache.folder() / f".{name}.part" for name in ("stale", "fresh"))
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))
    compile_cache.write(b"b", "b")
    assert not stale.exists() and fresh.exists()
    assert compile_cache.read("a") == b"a" and compile_cache.read("b") == b"b"


def test_the_fingerprint_is_of_weights_structure_and_code(lite: RVOS, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint(lite, None)
    assert fingerprint(lite, None) == first != fingerprint(lite)
    monkeypatch.setattr(compile_cache, "code", lambda: "another")
    assert fingerprint(lite, None) != first
    monkeypatch.undo()
    with torch.no_grad():
        next(lite.parameters()).view(-1)[0] += 1
    assert fingerprint(lite, None) != first
