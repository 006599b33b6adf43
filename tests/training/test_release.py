"""Releasing weights: small, listed, and still the same network."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.manifest import read_manifest
from rvos_cli.model import RVOS
from rvos_cli.training.release import main, release
from rvos_cli.weights import build_model, load_weights, save_weights


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=16, key_dim=8, size=64)
    save_weights(tmp_path / "run.safetensors", config, RVOS(config).state_dict())
    return tmp_path / "run.safetensors"


def test_a_release_is_half_as_large_listed_and_the_default(trained: Path, tmp_path: Path):
    target = tmp_path / "weights" / "tiny.safetensors"
    release(trained, target)
    assert target.stat().st_size < 0.6 * trained.stat().st_size
    (entry,) = read_manifest(target.parent, "user")
    assert (entry.name, entry.card, entry.default, entry.tasks) == ("tiny", "tiny.md", True, ("segment", "track"))
    assert entry.sha256 == load_weights(target).sha256


def test_a_released_network_answers_as_the_trained_one(trained: Path, tmp_path: Path):
    release(trained, tmp_path / "tiny.safetensors", size=96)
    before, after = load_weights(trained), load_weights(tmp_path / "tiny.safetensors")
    assert (before.config.size, after.config.size) == (64, 96)
    frame = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        one, other = (build_model(weights).step(frame, slots=1).logits for weights in (before, after))
    assert torch.allclose(one, other, atol=0.02)


def test_free_weights_say_so_and_leave_the_default_as_it_is(trained: Path, tmp_path: Path):
    folder = tmp_path / "weights"
    for name in ("tiny", "tiny-free"):
        release(trained, folder / f"{name}.safetensors")
    usual, free = sorted(read_manifest(folder, "user"), key=lambda entry: entry.name)
    assert (usual.default, free.default) == (True, False)
    assert "non-commercial" in usual.license and "non-commercial" not in free.license and "free" in free.license
    assert free.card == "tiny-free.md" and "freely licensed" in free.summary


def test_wrong_words_are_one_clear_error():
    for words in (["only-one"], ["a", "b", "12.5"]):
        with pytest.raises(UsageError, match="two paths"):
            main(words)


@pytest.mark.parametrize("size", [0, 63, 2049])
def test_a_size_that_nothing_is_run_at_is_refused(trained: Path, tmp_path: Path, size: int):
    with pytest.raises(UsageError, match=f"between 64 and 2048, not {size}"):
        main([str(trained), str(tmp_path / "tiny.safetensors"), str(size)])
    assert not (tmp_path / "tiny.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["release", "only-one"], 2, "error: release needs two paths"),
        (["release", "nothing.safetensors", "b"], 1, "error: there are no weights at nothing.safetensors"),
        (["averaging", "a", "b", "half", "c"], 2, "error: half is no share"),
    ],
)
def test_the_commands_end_with_one_line(words: list[str], code: int, line: str):
    command = [sys.executable, "-m", f"rvos_cli.training.{words[0]}", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
