"""The floor under a step's time: its operations and bytes, at the best rates that this machine shows.

Every convolution, matrix product and attention must at least compute its operations and move its inputs and outputs;
each counts with the longer of the two, at the rate of one large matrix product and of one copy, measured here. All
else counts as nothing. The sum is what no arrangement of the same operations falls below by much.

Enters: a function that runs one step. Leaves: operations, bytes, rates and seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

SIDE = 2048  # of the matrices whose product is timed
COPIED = {"cpu": 8 << 20, "cuda": 64 << 20}  # bytes: about as much as one layer's features; on a GPU more than a cache
REPEATS = 7


class OperationCount(TorchDispatchMode):
    """Lists (operations, bytes) of every convolution, matrix product and attention that runs inside."""

    def __init__(self) -> None:
        """Start with none."""
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run *func* and count it."""
        kwargs = kwargs or {}
        count = flop_registry.get(func.overloadpacket)
        if count is None:
            with self:  # inference mode hands over whole operations that consist of others
                inner = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if inner is NotImplemented else inner
        out = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.seen.append((int(count(*args, **kwargs, out_val=out)), moved))
        return out


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return operations a second of the best of some large matrix products."""
    left, right = (torch.rand(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    return 2 * SIDE**3 / _best(lambda: left @ right, device)


def copy_rate(device: torch.device) -> float:
    """Return bytes a second, read and written ones, of the best of some copies."""
    source = torch.rand(COPIED.get(device.type, COPIED["cpu"]) // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / _best(lambda: target.copy_(source), device)


def floor(step: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Count *step* and return ``operations``, ``bytes``, ``matmul_rate``, ``copy_rate`` and ``seconds``."""
    with OperationCount() as count:
        step()
    computing, copying = matmul_rate(device, dtype), copy_rate(device)
    return {
        "operations": sum(operations for operations, _ in count.seen),
        "bytes": sum(moved for _, moved in count.seen),
        "matmul_rate": computing,
        "copy_rate": copying,
        "seconds": sum(max(operations / computing, moved / copying) for operations, moved in count.seen),
    }


def _best(work: Callable[[], Any], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
