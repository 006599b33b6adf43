import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from golden.reference import published_states

from rvos_cli import fetch, manifest
from rvos_cli.manifest import register_weights

ARGS = {"base_model": "resnet34", "hidden_size": 8, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": 2}


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_weights: Path) -> Path:
    """A package whose default weights are the tiny ones, and a user with none."""
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manifest, "shipped_folder", lambda: tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    shutil.copy(tiny_weights, tmp_path / "shipped" / "lite.safetensors")
    (tmp_path / "shipped" / "lite.md").write_text("# the card\n")
    register_weights(tmp_path / "shipped" / "lite.safetensors", license="Apache-2.0", card="lite.md", default=True)
    return tmp_path / "shipped"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoint as the paper's authors publish it, zero-shot."""
    folder = tmp_path / "zero-shot"
    folder.mkdir()
    for name, state in zip(("encoder", "decoder"), published_states(ARGS, oneshot=False), strict=True):
        torch.save(state, folder / f"{name}.pt")
    return folder


def test_list_and_info_tell_what_there_is(rvos):
    done = rvos("weights", "list")
    assert done.code == 0
    assert "lite (default)" in done.out
    assert "Apache-2.0" in done.out
    (entry,) = json.loads(rvos("weights", "list", "--json").out)
    assert (entry["name"], entry["tasks"]) == ("lite", ["segment", "track"])
    told = rvos("weights", "info")
    assert f"sha256: {entry['sha256']}" in told.out
    assert told.out.rstrip().endswith("# the card")
    assert json.loads(rvos("weights", "info", "lite", "--json").out)["config"]["key_dim"] == 16


def test_an_imported_checkpoint_can_be_named_and_used(rvos, published, clip):
    done = rvos("weights", "import", published, "--name", "paper")
    assert done.code == 0
    assert "imported paper (segment)" in done.out
    assert rvos("weights", "verify", "paper").out == "paper: ok\n"
    assert rvos("weights", "verify", "-q").out == ""
    run = rvos("segment", clip, "--weights", "paper", "--size", 64, "--json")
    assert run.code == 0
    assert json.loads(run.out)["weights"]["name"] == "paper"
    direct = rvos("segment", clip, "--weights", published, "--size", 64, "-o", "direct", "--json")
    assert json.loads(direct.out)["weights"]["sha256"] == json.loads(run.out)["weights"]["sha256"]
    assert rvos("weights", "import", published, "--name", "paper").code == 1
    tracked = rvos("track", clip, "--first-mask", "first.png", "--weights", "paper")
    assert tracked.code == 1
    assert "zero-shot" in tracked.error_lines[0]
    Path(json.loads(rvos("weights", "info", "paper", "--json").out)["path"]).unlink()
    (line,) = (line for line in rvos("weights", "list").out.splitlines() if line.startswith("paper"))
    assert "missing" in line


def test_verify_finds_a_damaged_file(rvos, shipped):
    assert rvos("weights", "verify").code == 0
    with (shipped / "lite.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    done = rvos("weights", "verify")
    assert done.code == 1
    assert len(done.error_lines) == 1
    (result,) = json.loads(rvos("weights", "verify", "--json").out)
    assert result["ok"] is False
    assert "NOT OK" in rvos("doctor").out


def test_fetch_needs_an_address_or_has_the_file(rvos):
    assert rvos("weights", "fetch", "lite").code == 0
    done = rvos("weights", "fetch", "unknown")
    assert done.code == 2
    assert "--url" in done.error_lines[0]


def test_a_fetch_tells_its_progress_in_megabytes(rvos, shipped, monkeypatch):
    data = (shipped / "lite.safetensors").read_bytes()

    class Answer(io.BytesIO):
        headers = property(lambda self: {"Content-Length": str(len(data))})

    monkeypatch.setattr(fetch, "_open", lambda url: Answer(data))
    monkeypatch.setattr("rvos_cli.cli.console.SECONDS_BETWEEN_LINES", 0)
    done = rvos(
        "weights", "fetch", "mine", "--url", "https://a.example/x", "--sha256", hashlib.sha256(data).hexdigest()
    )
    size = f"{len(data) / 1e6:.1f}"
    assert done.code == 0, done.err
    assert f"mine: {size} of {size} MB, " in done.err and "frame" not in done.err
