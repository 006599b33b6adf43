"""Checkpoints as the paper's authors publish them: a folder or zip enters, state dicts and a ``ModelConfig`` leave.

Such a checkpoint is ``encoder.pt``, ``decoder.pt`` and ``args.pkl``, in a folder or a zip of one. It may come from
anywhere, so nothing in it can run code: tensors are read with ``weights_only=True``, the arguments by an unpickler that
knows a namespace of plain values and nothing else, and a zip is read in memory, never extracted.
Stands before ``weights.py``, which makes a network or a file of our own format of it.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, MAX_OBJECT_ID, ModelConfig
from rvos_cli.errors import WeightsError

ENCODER, DECODER, ARGS = "encoder.pt", "decoder.pt", "args.pkl"
TRAINED_SHORT_SIDE = 256  # the published networks saw frames of 256 x 448
_TENSORS_LIMIT, _ARGS_LIMIT = 4 << 30, 1 << 20  # bytes
_VALUES_LIMIT = 10_000
_UNUSED = ("fc_stop.", "base.fc.", "base.classifier.")
_DEEPEST = {"resnet34": 512, "resnet50": 2048, "resnet101": 2048, "vgg16": 512}
_CURE = "give the authors' folder, or a zip of it, with encoder.pt, decoder.pt and args.pkl"


@dataclass(frozen=True)
class Checkpoint:
    """Two state dicts with the names of the authors' code, and their arguments (empty without ``args.pkl``)."""

    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    args: dict[str, Any]


def is_published(path: Path) -> bool:
    """Return whether *path* is a folder or a zip, which is what published checkpoints come in."""
    return os.path.isdir(path) or (os.path.isfile(path) and path.suffix != ".safetensors" and zipfile.is_zipfile(path))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a published folder, or a zip of one; the files may lie one folder deeper.

    Raises:
        WeightsError: a piece is missing, damaged, holds anything but tensors or plain values, or leaves the zip.
    """
    pieces = _folder_pieces(path) if os.path.isdir(path) else _zip_pieces(path)
    missing = [name for name in (ENCODER, DECODER) if name not in pieces]
    if missing:
        raise WeightsError(f"{path} is no published checkpoint: it has no {' and no '.join(missing)}", cure=_CURE)
    encoder = _read_tensors(pieces[ENCODER], f"{path}/{ENCODER}")
    decoder = _read_tensors(pieces[DECODER], f"{path}/{DECODER}")
    return Checkpoint(encoder, decoder, read_args(pieces[ARGS]) if ARGS in pieces else {})


def read_args(data: bytes) -> dict[str, Any]:
    """Return the entries of a pickled ``argparse.Namespace`` of plain values, from Python 2 or 3.

    Plain are None, bool, int, float, str, and lists, tuples and dicts of them.

    Raises:
        WeightsError: it is anything else; nothing it names has been imported or called.
    """
    namespace = type("Namespace", (), {})
    try:
        value = _PlainUnpickler(data, namespace).load()
        if type(value) is not namespace:
            raise pickle.UnpicklingError("it is no argparse.Namespace")
        args = vars(value)
        _check_plain(args)
    except Exception as error:  # a hostile pickle may end in almost any exception, all of them harmless here
        cure = "it must be an argparse.Namespace of plain values; left out, the network is read off its tensors"
        raise WeightsError(f"{ARGS} is refused ({_brief(error)})", cure=cure) from error
    return args


def convert(checkpoint: Checkpoint) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the configuration and the tensors, with our names, of a published network.

    Trunk, sizes and the mask input are read off the shapes (an argument that contradicts them is an error); skip mode,
    number of slots and the recurrences come from the arguments, by default ``concat``, 10 and both.

    Raises:
        WeightsError: the tensors are of no published network, or the arguments contradict them.
    """
    encoder, decoder = _strip_parallel(checkpoint.encoder), _strip_parallel(checkpoint.decoder)
    tensors = {}
    for part, state in (("encoder", encoder), ("decoder", decoder)):
        for key, value in state.items():
            if not key.startswith(_UNUSED):
                tensor = value.detach().cpu()
                tensors[f"{part}.{key}"] = tensor.float() if tensor.is_floating_point() else tensor
    return _config_of(encoder, decoder, checkpoint.args), tensors


def _config_of(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], args: Mapping[str, Any]) -> ModelConfig:
    trunk = _trunk_of(encoder)
    try:
        hidden, channels, kernel, _ = encoder["sk5.weight"].shape
        gates, finer = (decoder[f"clstm_list.{i}.Gates.weight"].shape[1] for i in (0, 1))
    except KeyError as error:
        raise WeightsError(f"this is no published RVOS network: it has no {error.args[0]}", cure=_CURE) from error
    except (ValueError, IndexError) as error:
        raise WeightsError("this is no published RVOS network: a tensor has too few axes", cure=_CURE) from error
    masks = gates - 3 * hidden  # the input, the spatial and the temporal state are as wide as the hidden state
    joined = finer - masks - 2 * (hidden // 2)  # hidden state and skip, side by side or in one
    if masks not in (0, 1) or joined not in (hidden, 2 * hidden) or channels != _DEEPEST[trunk]:
        raise WeightsError("this is no published RVOS network: its tensors have other shapes", cure=_CURE)
    _compare(args, {"base_model": trunk, "hidden_size": hidden, "kernel_size": kernel})
    skip_mode = args.get("skip_mode", "concat")
    if skip_mode not in ("concat", "sum", "mul", "none") or (skip_mode == "concat") != (joined == 2 * hidden):
        cure = f"the checkpoint needs its own {ARGS}, which says how skip features are joined"
        raise WeightsError(f"the skip_mode '{skip_mode}' does not fit the tensors' shapes", cure=cure)
    return ModelConfig(
        trunk=trunk,
        hidden_size=hidden,
        kernel_size=kernel,
        skip_mode=skip_mode,
        spatial=not args.get("only_temporal", False),
        temporal=not args.get("only_spatial", False),
        mask_input=masks == 1,
        slots=_slots_of(args),
        key_dim=0,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        size=TRAINED_SHORT_SIDE,
    )


def _trunk_of(encoder: Mapping[str, Tensor]) -> str:
    """Tell the trunk from the names: VGG has ``features``, a bottleneck a third convolution, depth is in layer3."""
    if "base.features.0.weight" in encoder:
        return "vgg16"
    blocks = {key.split(".")[2] for key in encoder if key.startswith("base.layer3.")}
    kind = (len(blocks), "base.layer1.0.conv3.weight" in encoder)
    trunks = {(6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}
    if kind not in trunks:
        raise WeightsError(f"this is no published RVOS network: its trunk is none of {', '.join(_DEEPEST)}", cure=_CURE)
    return trunks[kind]


def _compare(args: Mapping[str, Any], seen: Mapping[str, str | int]) -> None:
    for name, value in seen.items():
        if name in args and args[name] != value:
            told = ascii(args[name])[:40]
            raise WeightsError(
                f"the checkpoint contradicts itself: {name} is {told} in its arguments, but {value} by its tensors",
                cure=f"use the {ARGS} that belongs to these tensors",
            )


def _slots_of(args: Mapping[str, Any]) -> int:
    slots = args.get("maxseqlen", ModelConfig.slots)
    if isinstance(slots, bool) or not isinstance(slots, int) or not 1 <= slots <= MAX_OBJECT_ID:
        raise WeightsError(
            f"maxseqlen must be between 1 and {MAX_OBJECT_ID}, not {ascii(slots)[:40]}", cure=f"correct it in {ARGS}"
        )
    return slots


def _strip_parallel(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return *state* without the ``module.`` that DataParallel puts before every name."""
    return {key.removeprefix("module."): torch.as_tensor(value) for key, value in state.items()}


class _PlainUnpickler(pickle._Unpickler):
    """Unpickles plain values and instances of one empty class made for this one file.

    The class stands for ``argparse.Namespace``, whose attributes a pickle could otherwise change for good. The
    interpreter is the one in Python: the one in C sets memory aside for whatever number an opcode names.
    """

    def __init__(self, data: bytes, namespace: type) -> None:
        super().__init__(io.BytesIO(data), encoding="latin-1")
        self._namespace = namespace
        self._root = type("object", (), {})

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("argparse", "Namespace"):
            return self._namespace
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return self._root
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return self._reconstruct  # how protocols 0 and 1 write every instance
        raise pickle.UnpicklingError(f"it names {ascii(f'{module}.{name}')[:80]}")

    def _reconstruct(self, kind: object, root: object, state: object) -> object:
        if kind is not self._namespace or root is not self._root or state is not None:
            raise pickle.UnpicklingError("it builds something else than a namespace")
        return self._namespace()


def _check_plain(value: object) -> None:
    waiting, seen = [value], 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if seen > _VALUES_LIMIT:  # also ends values that contain themselves
            raise pickle.UnpicklingError("it holds too many values")
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif not (value is None or isinstance(value, bool | int | float | str)):
            raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")


def _read_tensors(data: bytes, name: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():  # old files make torch warn about its own storage classes
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's readers raise whatever a damaged or hostile file leads them to
        cure = "it is damaged, or holds more than tensors, which rvos refuses"
        # Torch's refusal is advice on how to trust the file after all.
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({_brief(error)})"
        raise WeightsError(f"{name} cannot be read{reason}", cure=cure) from error
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{name} holds no state dict", cure=_CURE)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise WeightsError(f"{name} holds something else than named tensors", cure=_CURE)
    return dict(state)


def _folder_pieces(folder: Path) -> dict[str, bytes]:
    try:
        found = {
            path.relative_to(folder).as_posix(): path
            for pattern in ("*.pt", "*/*.pt", "*.pkl", "*/*.pkl")
            for path in folder.glob(pattern)
            if path.is_file()
        }
        base = _base(found, folder)
        chosen = {name: found[base + name] for name in (ENCODER, DECODER, ARGS) if base + name in found}
        for name, path in chosen.items():
            _check_size(name, path.stat().st_size)
        return {name: path.read_bytes() for name, path in chosen.items()}
    except OSError as error:
        raise WeightsError(
            f"cannot read {folder} ({error.strerror or error})", cure="check the path and who may read it"
        ) from error


def _zip_pieces(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                parts = PurePosixPath(name.replace("\\", "/")).parts
                if ".." in parts or parts[:1] == ("/",) or re.match("[A-Za-z]:", name):
                    raise WeightsError(
                        f"the zip {path} is refused: its entry {ascii(name)[:80]} leaves its folder",
                        cure="zip the authors' folder itself",
                    )
            found = {entry.filename: entry for entry in archive.infolist()}
            base = _base(found, path)
            chosen = {name: found[base + name] for name in (ENCODER, DECODER, ARGS) if base + name in found}
            for name, entry in chosen.items():
                _check_size(name, entry.file_size)
            return {name: archive.read(entry) for name, entry in chosen.items()}
    except WeightsError:
        raise
    except Exception as error:  # each way of packing has errors of its own; a password is a RuntimeError
        raise WeightsError(f"the zip {path} cannot be read ({_brief(error)})", cure="zip the folder again") from error


def _base(names: Iterable[str], where: Path) -> str:
    """Return ``""`` or ``"folder/"``: the place where the tensors lie, at the top or else one folder deeper."""
    ends = tuple(f"/{name}" for name in (ENCODER, DECODER))
    bases = sorted({name.rpartition("/")[0] + "/" for name in names if name.count("/") == 1 and name.endswith(ends)})
    if any(name in (ENCODER, DECODER) for name in names) or not bases:
        return ""
    if len(bases) > 1:
        raise WeightsError(f"{where} holds several checkpoints ({', '.join(bases)})", cure="give one of these folders")
    return bases[0]


def _check_size(name: str, size: int) -> None:
    limit = _ARGS_LIMIT if name == ARGS else _TENSORS_LIMIT
    if size > limit:
        raise WeightsError(f"{name} is refused: it has {size} bytes", cure=f"a published one has at most {limit}")


def _brief(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 120 else f"{text[:117]}..."
