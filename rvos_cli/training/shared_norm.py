"""Batch norm over the batches of all processes: a network enters, the same one leaves with norms that share statistics.

torch's SyncBatchNorm computes on CUDA only; this one runs wherever the processes do, and is tested without a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rvos_cli.training import processes

PIXELS = (0, 2, 3)  # all axes of (B, C, h, w) but the channels


def share_norms(module: nn.Module) -> None:
    """Replace every batch norm below *module*, in place; parameters, buffers and their names stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm(child))
        else:
            share_norms(child)


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose mean and variance are those of all processes' batches; every process has as many pixels."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        """Take over parameters and buffers of *norm*."""
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, h, w); in training the running statistics take in those of all processes."""
        return self._normalise(input) if self.training else super().forward(input)

    def _normalise(self, x: Tensor) -> Tensor:
        normal, mean, variance = _Normalise.apply(x, self.weight, self.bias, self.eps)
        pixels = _pixels(x)
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            if self.running_mean is not None and self.running_var is not None:
                momentum = 0.1 if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * (pixels / max(pixels - 1, 1)), momentum)
        result: Tensor = normal
        return result


class _Normalise(torch.autograd.Function):
    """Two-pass statistics in 32 bits, and their gradient; both need sums over all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        pixels = _pixels(x)
        mean = processes.total(x.float().sum(PIXELS)) / pixels
        centred = x.float() - _plane(mean)
        variance = processes.total(centred.square().sum(PIXELS)) / pixels
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.mark_non_differentiable(mean, variance)
        normal = centred * _plane(scale * weight) + _plane(bias)
        return normal.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        above = gradients[0].float()
        straight = (x.float() - _plane(mean)) * _plane(scale)
        of_bias, of_weight = above.sum(PIXELS), (above * straight).sum(PIXELS)
        # The parameters' gradients are added up with all the others; what goes further down needs the sums now.
        all_bias, all_weight = processes.total(torch.stack([of_bias, of_weight])) / _pixels(x)
        below = (above - _plane(all_bias) - straight * _plane(all_weight)) * _plane(scale * weight)
        return below.to(x.dtype), of_weight, of_bias, None


def _pixels(x: Tensor) -> int:
    return x.numel() // x.shape[1] * processes.count()


def _plane(channels: Tensor) -> Tensor:
    return channels[:, None, None]
