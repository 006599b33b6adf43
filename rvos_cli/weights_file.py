"""One weights file: its stored configuration and its sha256.

Enters: a path. Leaves: a ``ModelConfig``, a hash. Stands below ``manifest.py`` and ``weights.py``; reads the header of
a safetensors file by hand, so that asking what a file is loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

from rvos_cli.config import ModelConfig
from rvos_cli.errors import WeightsError

CONFIG_KEY = "rvos_config"
_HEADER_LIMIT = 64 << 20  # bytes of a safetensors header; real ones have some hundred kilobytes


def read_config(path: Path) -> ModelConfig:
    """Return the configuration stored in a safetensors file, without loading tensors.

    Raises:
        WeightsError: the file is missing, damaged, or not one of rvos.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("no safetensors header")
            header = json.loads(file.read(length))
        text = header.get("__metadata__", {}).get(CONFIG_KEY)
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path} ({error.strerror})", cure="check the path and who may read it"
        ) from error
    except (ValueError, struct.error, AttributeError, RecursionError) as error:
        cure = "give a .safetensors file of rvos, or a published folder or zip"
        raise WeightsError(f"{path} is damaged or no weights file", cure=cure) from error
    if not isinstance(text, str):
        raise WeightsError(
            f"{path} holds tensors but no rvos configuration", cure="make it with 'rvos train' or 'rvos weights import'"
        )
    return ModelConfig.from_json(text)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
