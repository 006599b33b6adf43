"""Weights: a name or a path enters, a checked configuration with its tensors leaves, and from these a network.

A path is a safetensors file of ours, or a checkpoint as the paper's authors publish it (``published.py``). A name
stands in a manifest (``manifest.py``), whose sha256 the file must have. Nothing that is read can run code.
"""

from __future__ import annotations

import hashlib
import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rvos_cli.config import DEFAULT_WEIGHTS, ModelConfig
from rvos_cli.errors import WeightsError
from rvos_cli.fetch import fetch_weights
from rvos_cli.manifest import (
    Task,
    WeightsEntry,
    check_name,
    find_entry,
    list_weights,
    register_weights,
    require_entry,
    shipped_folder,
    user_folder,
    verify_weights,
)
from rvos_cli.model import RVOS
from rvos_cli.published import Checkpoint, convert, is_published, read_checkpoint
from rvos_cli.weights_file import CONFIG_KEY, read_config, sha256_of
from rvos_cli.whole_files import writing_beside

__all__ = [
    "Weights",
    "WeightsEntry",
    "build_model",
    "fetch_weights",
    "import_published",
    "list_weights",
    "load_published",
    "load_weights",
    "register_weights",
    "require_prompts",
    "require_task",
    "save_weights",
    "shipped_folder",
    "user_folder",
    "verify_weights",
    "weights_info",
]


@dataclass(frozen=True)
class Weights:
    """A network's configuration and tensors.

    Args:
        name: of the manifest, or the stem of the path.
        config: which network it is.
        tensors: by their names in the network, on the CPU.
        sha256: of the safetensors file; of a published checkpoint, of the file that its import would write.
        path: where they were read.
        source: named in a manifest, a file of ours, or a published checkpoint.
    """

    name: str
    config: ModelConfig
    tensors: dict[str, Tensor]
    sha256: str
    path: Path
    source: Literal["named", "file", "published"]


def load_weights(name_or_path: str | Path = DEFAULT_WEIGHTS) -> Weights:
    """Read weights by their name (a known name goes before a path), or from a file, published folder or zip.

    Raises:
        WeightsError: there are none, or they are damaged.
    """
    entry = find_entry(name_or_path) if isinstance(name_or_path, str) else None
    if entry is not None:
        return _load_entry(entry)
    if not os.fspath(name_or_path):
        raise WeightsError("the weights have an empty name", cure="'rvos weights list' shows the names there are")
    path = Path(os.path.expanduser(name_or_path))
    if not os.path.exists(path):
        if isinstance(name_or_path, str) and not path.suffix and not _has_folder(name_or_path):
            return _load_entry(require_entry(name_or_path))
        raise WeightsError(f"there are no weights at {path}", cure="'rvos weights list' shows the names there are")
    if is_published(path):
        config, tensors = convert(read_checkpoint(path))
        digest = hashlib.sha256(_serialised(config, tensors)).hexdigest()
        name = path.resolve().name if os.path.isdir(path) else path.stem
        return Weights(name, config, tensors, digest, path, "published")
    config, tensors = _read_file(path)
    return Weights(path.stem, config, tensors, sha256_of(path), path, "file")


def save_weights(path: Path, config: ModelConfig, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file with its configuration, whole or not at all; return its sha256.

    Raises:
        OutputError: the file cannot be written.
    """
    data = _serialised(config, tensors)
    with writing_beside(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def import_published(folder_or_zip: str | Path, name: str | None = None) -> WeightsEntry:
    """Turn a published checkpoint into named weights of our format, in the user's folder; return their entry.

    Args:
        folder_or_zip: see ``read_checkpoint``.
        name: None takes the folder's or the zip's own name.

    Raises:
        UsageError: *name* cannot be one.
        WeightsError: a manifest has the name, or the checkpoint is not one.
        OutputError: the user's folder cannot be written.
    """
    source = Path(os.path.expanduser(folder_or_zip))
    if name is None:
        name = source.resolve().name if os.path.isdir(source) else source.stem
    path = user_folder() / f"{check_name(name, option='--name NAME')}.safetensors"
    _refuse_taken(name, path)
    if not os.path.exists(source):
        raise WeightsError(f"there is no checkpoint at {source}", cure="give the authors' folder or a zip of it")
    if not is_published(source):
        raise WeightsError(f"{source} is neither a folder nor a zip", cure="give the authors' folder or a zip of it")
    config, tensors = convert(read_checkpoint(source))
    _fill(RVOS(config), tensors, name)  # what is stored can be used
    with writing_beside(path) as temporary:
        temporary.write_bytes(_serialised(config, tensors))
        _refuse_taken(name, path)  # which another process may have done meanwhile
    kind = "one-shot" if config.mask_input else "zero-shot"
    return register_weights(path, name=name, summary=f"published {kind} network, {config.trunk}, from {source.name}")


def _refuse_taken(name: str, path: Path) -> None:
    """Refuse a *name*, or a *path* for its file, that stands in a manifest.

    A file that no manifest names is what an interrupted import leaves, and takes no name.
    """
    for entry in list_weights():
        same = entry.name.casefold() == name.casefold()
        if (entry.present or entry.origin == "shipped") if same else entry.present and _is_one(entry.path, path):
            raise WeightsError(
                f"there are weights called '{name}' already", cure="choose another name with --name NAME"
            )


def _is_one(path: Path, other: Path) -> bool:
    return os.path.exists(other) and os.path.samefile(path, other)


def load_published(encoder_state: Mapping[str, Any], decoder_state: Mapping[str, Any], args: Mapping[str, Any]) -> RVOS:
    """Build a network of the paper from the state dicts and arguments that the authors' code saves.

    Args:
        encoder_state: names as published, with or without ``module.``.
        decoder_state: likewise.
        args: ``skip_mode``, ``maxseqlen``, ``only_temporal``, ``only_spatial``, ...; the rest is read off the shapes.

    Returns:
        The network in eval mode, float32, on the CPU; ``forward_clip(frames, first_masks=None)`` runs it.

    Raises:
        WeightsError: they are of no published network, or contradict each other.
    """
    entries = vars(args) if isinstance(args, Namespace) else dict(args)
    config, tensors = convert(Checkpoint(dict(encoder_state), dict(decoder_state), entries))
    return _fill(RVOS(config), tensors, "published").eval()


def build_model(weights: Weights, device: torch.device | str = "cpu") -> RVOS:
    """Return the network of *weights* in eval mode, float32, on *device*.

    Raises:
        WeightsError: the tensors are not those of the configuration.
    """
    try:
        model = RVOS(weights.config)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        cure = "they may come from a newer rvos: upgrade, or export them again"
        raise WeightsError(
            f"the weights '{weights.name}' describe no network that rvos knows ({error})", cure=cure
        ) from error
    return _fill(model, weights.tensors, weights.name).to(device).eval()


def require_task(weights: Weights | ModelConfig, task: Task) -> None:
    """Check that *weights* are made for *task*, before a video is opened.

    Raises:
        WeightsError: they are made for the other one.
    """
    config, name = (weights.config, f"'{weights.name}' ") if isinstance(weights, Weights) else (weights, "")
    if task == "track" and not config.can_track:
        raise WeightsError(
            f"the weights {name}are zero-shot: they cannot follow a given mask",
            cure=f"use 'rvos segment', or one-shot weights such as '{DEFAULT_WEIGHTS}'",
        )
    if task == "segment" and not config.can_segment:
        raise WeightsError(
            f"the weights {name}are one-shot: they find no objects without a first mask",
            cure=f"use 'rvos track', or zero-shot weights such as '{DEFAULT_WEIGHTS}'",
        )


def require_prompts(weights: Weights, *, points: bool) -> None:
    """Check that *weights* can outline objects in boxes, or at *points*, before a video is opened.

    Raises:
        WeightsError: they cannot.
    """
    if not (weights.config.points if points else weights.config.boxes):
        raise WeightsError(
            f"the weights '{weights.name}' know no {'points' if points else 'boxes'}",
            cure=f"use weights such as '{DEFAULT_WEIGHTS}', or give a mask instead",
        )


def weights_info(name_or_path: str | Path = DEFAULT_WEIGHTS) -> dict[str, Any]:
    """Return what is known of weights as plain values: entry, configuration, number of parameters, model card.

    Raises:
        WeightsError: there are none, or they are damaged.
    """
    weights = load_weights(name_or_path)
    entry = find_entry(weights.name) if weights.source == "named" else None
    tasks = [task for task in ("segment", "track") if getattr(weights.config, f"can_{task}")]
    info: dict[str, Any] = {"name": weights.name, "path": str(weights.path), "sha256": weights.sha256, "tasks": tasks}
    if entry is not None:
        info |= entry.to_dict()
        card = entry.folder / entry.card
        info["card"] = card.read_text(encoding="utf-8") if entry.card and os.path.isfile(card) else ""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    count = sum(value.numel() for key, value in weights.tensors.items() if not key.endswith(statistics))
    return {**info, "source": weights.source, "parameters": count, "config": asdict(weights.config)}


def _load_entry(entry: WeightsEntry) -> Weights:
    entry.check()
    config, tensors = _read_file(entry.path)
    return Weights(entry.name, config, tensors, entry.sha256, entry.path, "named")


def _read_file(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    config = read_config(path)
    try:
        return config, safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged ({error})", cure="copy, import or fetch it again") from error


def _serialised(config: ModelConfig, tensors: Mapping[str, Tensor]) -> bytes:
    # Clones, because safetensors refuses tensors that share memory.
    ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    data: bytes = safetensors.torch.save(ready, {CONFIG_KEY: config.to_json()})
    return data


def _fill(model: RVOS, tensors: Mapping[str, Tensor], name: str) -> RVOS:
    """Load *tensors* into *model*, all of them and no others."""
    wanted = model.state_dict()
    # Networks of before torch 0.4.1 have no such counters, and nothing that is done with a finished network reads them.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    given = {**counters, **tensors}
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    other = [key for key in wanted.keys() & given.keys() if wanted[key].shape != given[key].shape]
    problems = [
        f"{len(keys)} {what} (such as {keys[0]})"
        for keys, what in ((missing, "missing"), (extra, "unknown"), (sorted(other), "of another shape"))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"the tensors of the weights '{name}' do not fit their configuration: {', '.join(problems)}",
            cure="export or import them again",
        )
    model.load_state_dict(given)
    return model.float()  # whatever the caller's default type of torch is


def _has_folder(text: str) -> bool:
    return os.sep in text or "/" in text
