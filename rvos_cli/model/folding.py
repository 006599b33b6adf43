"""Batch norms folded into the convolutions before them: the same answers with less work, for inference only.

A network in eval mode enters and leaves changed in place; weights files always hold the unfolded form.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


def fold_norms(model: Network) -> Network:
    """Fold every batch norm of *model* into the convolution registered before it, and return the model.

    Raises:
        ValueError: the model is in training mode, or a norm follows no convolution of its size.
    """
    if model.training:
        raise ValueError("only a network in eval mode can be folded")
    convolution: nn.Conv2d | None = None
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):  # timm's norm with activation is one, too
            if convolution is None or convolution.out_channels != module.num_features:
                raise ValueError(f"{name} follows no convolution of its size")
            _fold(convolution, module)
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], getattr(module, "act", None) or nn.Identity())
            convolution = None
    return model


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    convolution.weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,  # type: ignore[arg-type]
        norm.running_var,  # type: ignore[arg-type]
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.bias = bias
