"""Weights are found by name or path, checked before they are used, and wrong ones are one clear line."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden.reference import deterministic_frames, published_states

from rvos_cli import manifest, weights
from rvos_cli.config import ModelConfig
from rvos_cli.errors import OutputError, UsageError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.weights import (
    build_model,
    import_published,
    list_weights,
    load_published,
    load_weights,
    register_weights,
    require_task,
    save_weights,
    user_folder,
    verify_weights,
    weights_info,
)

CONFIG = ModelConfig(trunk="resnet34", hidden_size=8, mask_input=False, slots=3, key_dim=0)
ARGS = {"base_model": "resnet34", "hidden_size": 8, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": 3}


def test_a_saved_file_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.randn(3, 4)
    tensors = {"a": shared, "transposed": shared.t(), "half": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}
    digest = save_weights(tmp_path / "deep" / "mine.safetensors", CONFIG, tensors)
    loaded = load_weights(tmp_path / "deep" / "mine.safetensors")
    assert (loaded.name, loaded.config, loaded.sha256, loaded.source) == ("mine", CONFIG, digest, "file")
    assert all(torch.equal(loaded.tensors[key], value) for key, value in tensors.items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine.safetensors"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(tmp_path / "folder.safetensors", CONFIG, {"a": torch.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


def test_a_name_gives_the_weights_of_the_manifest(shipped: Path) -> None:
    loaded = load_weights("lite")
    content = json.loads((shipped / "manifest.json").read_text())
    entry = content["weights"]["lite"]
    assert content["default"] == "lite"
    assert entry["file"] == "lite.safetensors" and entry["bytes"] == (shipped / "lite.safetensors").stat().st_size
    assert entry["tasks"] == ["segment"] and entry["license"] == "Apache-2.0" and entry["card"] == "lite.md"
    assert (loaded.name, loaded.source, loaded.sha256) == ("lite", "named", entry["sha256"])
    assert load_weights().sha256 == load_weights("LITE").sha256 == loaded.sha256


def test_damaged_weights_are_refused_with_the_cure(shipped: Path) -> None:
    path = shipped / "lite.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"lite\.safetensors is damaged.*; reinstall rvos"):
        load_weights("lite")
    ((entry, problem),) = verify_weights()
    assert entry.name == "lite" and problem is not None and "damaged" in problem
    path.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        load_weights("lite")


def test_verify_finds_nothing_wrong_with_good_weights(shipped: Path) -> None:
    assert [(entry.name, problem) for entry, problem in verify_weights("lite")] == [("lite", None)]
    with pytest.raises(WeightsError, match="no weights are called 'heavy'"):
        verify_weights("heavy")


def test_an_unknown_name_lists_the_names(shipped: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights are called 'heavy' \(there are: lite\)"):
        load_weights("heavy")


def test_a_path_that_is_not_there_is_named() -> None:
    for path in ("models/heavy", "heavy.safetensors", "heavy.zip", Path("heavy"), Path("heavy" * 99)):
        with pytest.raises(WeightsError, match=r"there are no weights at .*heavy"):
            load_weights(path)


def test_weights_without_a_name_are_told():
    with pytest.raises(WeightsError, match="the weights have an empty name"):
        load_weights("")


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    for data in (b"", b"RIFF", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"no weights file|no rvos configuration"):
            load_weights(path)
    save_weights(path, CONFIG, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=r"clip\.safetensors is damaged"):
        load_weights(path)


def test_info_tells_what_the_weights_are(shipped: Path) -> None:
    info = weights_info("lite")
    assert info["parameters"] == 5 and info["card"] == "# lite\n" and info["config"]["trunk"] == "resnet34"
    assert info["tasks"] == ["segment"] and info["origin"] == "shipped"
    json.dumps(info)


def test_imported_weights_compute_what_the_checkpoint_computes(published: Path, home: Path) -> None:
    entry = import_published(published, "paper")
    assert entry.path == home / "weights" / "paper.safetensors" and entry.tasks == ("segment",)
    model = build_model(load_weights("paper"))
    frames = deterministic_frames(2, 32, 64)
    expected = load_published(*published_states(ARGS, oneshot=False), ARGS)
    expected_probs = expected.forward_clip(frames)
    assert not model.training
    assert torch.equal(model.forward_clip(frames)[:, :3], expected_probs)
    assert load_weights(str(published)).sha256 == load_weights("paper").sha256


def test_a_zip_works_directly_and_under_its_own_name(published: Path, tmp_path: Path, shipped: Path) -> None:
    path = tmp_path / "zipped.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in published.iterdir():
            archive.write(file, f"model/{file.name}")
    direct = load_weights(str(path))
    assert (direct.name, direct.source, direct.config.trunk) == ("zipped", "published", "resnet34")
    assert import_published(path).name == "zipped"
    assert [entry.name for entry in list_weights()] == ["lite", "zipped"]
    assert [problem for _, problem in verify_weights()] == [None, None]


def test_an_import_never_takes_a_name_that_is_taken(published: Path, shipped: Path, home: Path) -> None:
    for name in ("lite", "Lite"):
        with pytest.raises(WeightsError, match=f"weights called '{name}' already; choose another name with --name"):
            import_published(published, name)
    entry = import_published(published, "mine")
    before = entry.path.read_bytes()
    with pytest.raises(WeightsError, match="'Mine' already"):
        import_published(published, "Mine")
    other = register_weights(entry.path, name="other")
    (home / "weights" / "manifest.json").write_text(json.dumps({"weights": {"other": _stored(other)}}))
    with pytest.raises(WeightsError, match="'mine' already"):
        import_published(published, "mine")
    assert entry.path.read_bytes() == before, "it is the file of another name"


def _stored(entry: manifest.WeightsEntry) -> dict[str, object]:
    return {key: entry.to_dict()[key] for key in ("file", "sha256", "bytes")}


def test_a_file_that_an_interrupted_import_left_takes_no_name(
    published: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weights, "register_weights", interrupt)
        import_published(published, "mine")
    assert (home / "weights" / "mine.safetensors").is_file() and not list_weights()
    import_published(published, "mine")
    assert load_weights("mine").source == "named"


def test_a_name_that_another_process_takes_meanwhile_is_refused(
    published: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serialised = weights._serialised

    def slow(*words: object) -> bytes:
        monkeypatch.setattr(weights, "_serialised", serialised)
        import_published(published, "mine")
        return b"another network"

    monkeypatch.setattr(weights, "_serialised", slow)
    with pytest.raises(WeightsError, match="'mine' already"):
        import_published(published, "mine")
    assert [problem for _, problem in verify_weights()] == [None]


def test_weights_whose_file_was_deleted_can_be_imported_again(published: Path, shipped: Path, home: Path) -> None:
    entry = import_published(published, "mine")
    entry.path.unlink()
    with pytest.raises(WeightsError, match=r"'mine' is missing.*rvos weights import"):
        load_weights("mine")
    assert import_published(published, "mine").sha256 == entry.sha256
    load_weights("mine")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "-x", "ü", "a" * 65, "a\n"])
def test_names_that_cannot_be_files_are_wrong_usage(name: str, published: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot name weights; .* \(--name NAME\)"):
        import_published(published, name)


def test_an_import_of_something_else_is_one_line(tmp_path: Path) -> None:
    for nothing in ("nothing", "long" * 99):
        with pytest.raises(WeightsError, match="no checkpoint at"):
            import_published(tmp_path / nothing, "x")
    (tmp_path / "encoder.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match="neither a folder nor a zip"):
        import_published(tmp_path / "encoder.pt", "x")
    with pytest.raises(WeightsError, match=r"has no decoder\.pt"):
        import_published(tmp_path, "x")
    assert not (user_folder() / "x.safetensors").exists()


def test_tensors_that_do_not_fit_their_configuration_are_one_line(published: Path) -> None:
    loaded = load_weights(published)
    with pytest.raises(WeightsError, match=r"weights 'zero-shot' do not fit their configuration: \d+ of another shape"):
        build_model(replace(loaded, config=replace(loaded.config, hidden_size=16)))
    with pytest.raises(WeightsError, match="describe no network that rvos knows"):
        build_model(replace(loaded, config=replace(loaded.config, trunk="resnet35")))


def test_build_model_puts_the_network_where_it_is_wanted(published: Path) -> None:
    model = build_model(load_weights(published), "cpu")
    assert isinstance(model, RVOS) and not model.training
    assert {(value.dtype, value.device.type) for value in model.parameters()} == {(torch.float32, "cpu")}


def test_the_wrong_kind_of_weights_is_one_clear_line() -> None:
    zero_shot, one_shot = CONFIG, replace(CONFIG, mask_input=True)
    both = replace(one_shot, key_dim=16)
    with pytest.raises(WeightsError, match="are zero-shot: they cannot follow a given mask; use 'rvos segment'"):
        require_task(zero_shot, "track")
    with pytest.raises(WeightsError, match=r"the weights 'paper' are one-shot: .*; use 'rvos track'"):
        require_task(weights.Weights("paper", one_shot, {}, "", Path(), "file"), "segment")
    require_task(zero_shot, "segment")
    require_task(one_shot, "track")
    require_task(both, "track")
    require_task(both, "segment")


def test_weights_without_a_box_decoder_are_stored_as_before_there_were_any() -> None:
    assert "boxes" not in CONFIG.to_json()
    for config in (CONFIG, replace(CONFIG, boxes=True)):
        assert ModelConfig.from_json(config.to_json()) == config


def test_the_shipped_weights_of_this_checkout_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    folder = manifest.shipped_folder()
    if not (folder / "manifest.json").is_file():
        pytest.skip("no weights have been released yet")
    for entry in manifest.read_manifest(folder, "shipped"):
        if entry.present or not entry.url:
            entry.check()
            assert entry.path.stat().st_size == entry.bytes
            assert build_model(load_weights(entry.path)).config.boxes
