"""A published network leaves in the authors' layout and comes back the same."""

from __future__ import annotations

import json
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from golden.cases import CASES, HEIGHT, SLOTS, STEPS, WIDTH
from golden.reference import deterministic_frames, deterministic_masks, published_states

from rvos_cli.cli.app import run as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.errors import OutputError, WeightsError
from rvos_cli.export import export_published
from rvos_cli.model import RVOS
from rvos_cli.weights import build_model, load_published, load_weights, save_weights

FILES = {"encoder.pt", "decoder.pt", "enc_opt.pt", "dec_opt.pt", "args.pkl"}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A zero-shot network of the paper in our format."""
    args = {"base_model": "resnet34", "hidden_size": 16, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": 2}
    model = load_published(*published_states(args, oneshot=False), args)
    save_weights(tmp_path / "zero.safetensors", model.config, model.state_dict())
    return tmp_path / "zero.safetensors"


@pytest.mark.parametrize("name", ["oneshot-only_temporal-none", "only_spatial-kernel1", "vgg16-oneshot-mul"])
def test_an_exported_network_gives_equal_outputs(name: str, tmp_path: Path):
    case = CASES[name]
    model = load_published(*published_states(case.args, oneshot=case.objects is not None), case.args)
    save_weights(tmp_path / "net.safetensors", model.config, model.state_dict())
    export_published(load_weights(tmp_path / "net.safetensors"), tmp_path / "folder")
    back = load_weights(tmp_path / "folder")
    assert back.source == "published" and back.config == model.config
    frames = deterministic_frames(3, HEIGHT, WIDTH)
    masks = None if case.objects is None else deterministic_masks(SLOTS, case.objects, HEIGHT, WIDTH)
    probs = build_model(back).forward_clip(frames, masks)
    assert torch.equal(probs, model.forward_clip(frames, masks))
    golden = np.load(Path(__file__).parent / "golden" / "published.npz")[name] / STEPS
    assert np.abs(probs.numpy() - golden).max() < 1e-4


def test_the_folder_holds_what_the_authors_code_opens(weights: Path, tmp_path: Path):
    written = export_published(load_weights(weights), tmp_path / "folder")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "folder").iterdir()} == FILES
    states = {name: torch.load(tmp_path / "folder" / name, weights_only=True) for name in FILES - {"args.pkl"}}
    wanted, _ = published_states(
        {"base_model": "resnet34", "hidden_size": 16, "kernel_size": 3, "skip_mode": "concat"}, oneshot=False
    )
    assert states["encoder.pt"].keys() == wanted.keys()  # the trunk's classifier included
    assert all(states["encoder.pt"][key].shape == wanted[key].shape for key in wanted)
    trunk = {key.removeprefix("base."): v for key, v in states["encoder.pt"].items() if key.startswith("base.")}
    torchvision.models.resnet34(weights=None).load_state_dict(trunk)
    args = pickle.loads((tmp_path / "folder" / "args.pkl").read_bytes())
    assert isinstance(args, Namespace)
    assert (args.base_model, args.maxseqlen, args.only_spatial, args.only_temporal) == ("resnet34", 2, False, False)


def test_the_command_exports_once_and_again_with_force(weights: Path, tmp_path: Path, capsys):
    words = ["weights", "export", str(weights), "--published", str(tmp_path / "folder")]
    assert rvos([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["files"]) == FILES
    assert rvos(words) == 1
    assert "already; choose another folder or add --force" in capsys.readouterr().err
    assert rvos([*words, "--force"]) == 0
    assert rvos(["weights", "import", str(tmp_path / "folder"), "--name", "returned"]) == 0


def test_networks_that_the_layout_cannot_hold_are_refused(tiny_weights: Path, tmp_path: Path):
    with pytest.raises(WeightsError, match="no network of the paper"):
        export_published(load_weights(tiny_weights), tmp_path / "folder")
    config = ModelConfig(trunk="resnet34", hidden_size=8, key_dim=0)
    save_weights(tmp_path / "grey.safetensors", config, RVOS(config).state_dict())
    with pytest.raises(WeightsError, match="scales colours otherwise"):
        export_published(load_weights(tmp_path / "grey.safetensors"), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_place_that_is_a_file_is_one_clear_error(weights: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export_published(load_weights(weights), tmp_path / "file")
