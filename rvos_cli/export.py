"""A network of the paper back into the folder that the authors' code saves: weights enter, five files leave.

The way out of ``published.py``: ``encoder.pt`` and ``decoder.pt`` with the published names, ``args.pkl``, and two
optimiser files that are empty, because whoever follows that layout opens them and nobody who runs a network reads them.
"""

from __future__ import annotations

import io
import os
import pickle
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from rvos_cli.errors import OutputError, WeightsError
from rvos_cli.published import ARGS, DECODER, ENCODER
from rvos_cli.weights import Weights, build_model
from rvos_cli.whole_files import writing_beside

OPTIMISERS = ("enc_opt.pt", "dec_opt.pt")
CLIP_LENGTH = 5  # of the paper's training
# Classifiers of torchvision's trunks, which the authors' encoder holds and never uses: weight shapes.
_CLASSIFIERS = {
    "resnet34": {"fc": (1000, 512)},
    "resnet50": {"fc": (1000, 2048)},
    "resnet101": {"fc": (1000, 2048)},
    "vgg16": {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096), "classifier.6": (1000, 4096)},
}


def export_published(weights: Weights, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write *weights* to *folder* as the paper's authors publish a network; return the files.

    Args:
        weights: of a published network: one of its trunks, no matching.
        folder: made if it is not there.
        force: replace such files that are there already.

    Raises:
        WeightsError: the network is none of the paper's, or its tensors do not fit its configuration.
        OutputError: there is a checkpoint already, or the folder cannot be written.
    """
    config = weights.config
    if config.matching or config.trunk not in _CLASSIFIERS:
        raise WeightsError(
            f"'{weights.name}' is no network of the paper, so that its layout cannot hold it",
            cure="export what 'rvos weights import' or 'rvos train --recipe published-...' made",
        )
    if (config.mean, config.std) != (IMAGENET_MEAN, IMAGENET_STD):
        raise WeightsError(
            f"'{weights.name}' scales colours otherwise than the paper's networks, which the layout cannot say",
            cure="export a network whose mean and std are ImageNet's",
        )
    state = build_model(weights).state_dict()
    encoder, decoder = _part(state, "encoder."), _part(state, "decoder.")
    encoder |= _classifier(config.trunk)
    pieces = {
        **{name: _saved({"state": {}, "param_groups": []}) for name in OPTIMISERS},
        ARGS: pickle.dumps(Namespace(**published_args(config)), protocol=2),
        DECODER: _saved(decoder),
        ENCODER: _saved(encoder),
    }
    there = [name for name in pieces if os.path.exists(folder / name)]
    if there and not force:
        raise OutputError(f"{folder} holds {there[0]} already", cure="choose another folder or add --force")
    for name, data in pieces.items():
        with writing_beside(folder / name) as temporary:
            temporary.write_bytes(data)
    return tuple(folder / name for name in pieces)


def published_args(config: ModelConfig) -> dict[str, Any]:
    """Return the authors' arguments, plain values, that describe a published network."""
    return {
        "base_model": config.trunk,
        "hidden_size": config.hidden_size,
        "kernel_size": config.kernel_size,
        "skip_mode": config.skip_mode,
        "maxseqlen": config.slots,
        "only_temporal": not config.spatial,
        "only_spatial": not config.temporal,
        "length_clip": CLIP_LENGTH,
    }


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _classifier(trunk: str) -> dict[str, Tensor]:
    # One zero seen from everywhere: VGG's classifier would be half a gigabyte.
    zero = torch.zeros(1)
    return {
        key: value
        for name, (outputs, inputs) in _CLASSIFIERS[trunk].items()
        for key, value in (
            (f"base.{name}.weight", zero.expand(outputs, inputs)),
            (f"base.{name}.bias", zero.expand(outputs)),
        )
    }


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)  # as torch wrote files in 2019
    return buffer.getvalue()
