"""A package with weights, a user with none, and a published checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden.reference import published_states

from rvos_cli import manifest
from rvos_cli.config import ModelConfig
from rvos_cli.weights import (
    register_weights,
    save_weights,
)

CONFIG = ModelConfig(trunk="resnet34", hidden_size=8, mask_input=False, slots=3, key_dim=0)
ARGS = {"base_model": "resnet34", "hidden_size": 8, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": 3}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without weights of their own, and a package with the weights 'lite' (any network will do here)."""
    monkeypatch.setenv("RVOS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manifest, "shipped_folder", lambda: tmp_path / "shipped")
    return tmp_path / "home"


@pytest.fixture
def shipped(home: Path) -> Path:
    folder = home.parent / "shipped"
    save_weights(folder / "lite.safetensors", CONFIG, {"x": torch.arange(5.0), "running_mean": torch.zeros(2)})
    (folder / "lite.md").write_text("# lite\n")
    register_weights(
        folder / "lite.safetensors", license="Apache-2.0", card="lite.md", summary="the small one", default=True
    )
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "zero-shot"
    folder.mkdir()
    encoder, decoder = published_states(ARGS, oneshot=False)
    torch.save(encoder, folder / "encoder.pt")
    torch.save(decoder, folder / "decoder.pt")
    return folder
