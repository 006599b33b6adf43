"""Batch norms and paddings folded into convolutions: the same answers with less work, for inference only.

A network in eval mode enters and leaves changed in place; weights files always hold the unfolded form.
"""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from rvos_cli.model.efficientnet import SameConv2d

Network = TypeVar("Network", bound=nn.Module)


def fold_norms(model: Network) -> Network:
    """Fold every batch norm of *model* into the convolution registered before it, paddings too, and return the model.

    Raises:
        ValueError: the model is in training mode, or a norm follows no convolution of its size.
    """
    if model.training:
        raise ValueError("only a network in eval mode can be folded")
    convolution: nn.Conv2d | None = None
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            if convolution is None or convolution.out_channels != module.num_features:
                raise ValueError(f"{name} follows no convolution of its size")
            _fold(convolution, module)
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Identity())
            convolution = None
    _fold_paddings(model)
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


def _fold_paddings(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SameConv2d) and child.stride == (2, 2) and child.dilation == (1, 1):
                setattr(module, name, _EvenKernel(child))


class _EvenKernel(nn.Module):
    """A convolution of stride 2 that pads as TensorFlow does: n rows and columns before, n + 1 behind.

    With a kernel whose first row and column are zeros it may pad n + 1 on all sides, which needs no padded copy of the
    input. So on a processor; frames of odd sizes go the plain way.
    """

    def __init__(self, convolution: SameConv2d) -> None:
        super().__init__()
        self.plain = convolution
        self.padding = tuple(size // 2 for size in convolution.kernel_size)
        self.weight = nn.Parameter(F.pad(convolution.weight.detach(), (1, 0, 1, 0)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.shape[-2] % 2 or x.shape[-1] % 2:
            answer: Tensor = self.plain(x)
            return answer
        return F.conv2d(x, self.weight, self.plain.bias, 2, self.padding, groups=self.plain.groups)
