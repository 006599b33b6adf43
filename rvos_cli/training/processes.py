"""The processes of one training run: numbers and tensors enter, what all of them together have leaves.

``torchrun`` starts the processes and says by environment variables which is which; where there is only one, everything
here leaves its input as it is. Gradients are added up once a step, by hand: the hooks of DistributedDataParallel, on
which Lightning Fabric and accelerate build, want one forward() a step, but a clip calls ``RVOS.step`` once a frame,
parts of the network have no gradient in some steps, and batch norms must agree on CPUs as well. What such a library
would still take over is ``joined``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rvos_cli.device import choose_device
from rvos_cli.errors import DeviceError, RvosError, UsageError

# The others wait for the first process while it saves and validates.
LONGEST_WAIT = timedelta(hours=2)
# What the last messages carried. The threads of gloo let go of it a moment after all is said, and where they are the
# last to do so they wait for Python, which would wait for them in the end.
_CARRIED: deque[tuple[Tensor, ...]] = deque(maxlen=2)


def count() -> int:
    """Return how many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def count_here() -> int:
    """Return how many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1


def rank() -> int:
    """Return which of them this is, from 0 on."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Return whether this is the one that speaks, logs, saves and validates."""
    return rank() == 0


@contextmanager
def joined(wanted: str) -> Iterator[torch.device]:
    """Join the processes and yield this one's device; *wanted* as in ``choose_device``.

    Raises:
        DeviceError: there is no such device, or there are more processes than GPUs.
        UsageError: several processes cannot use such a device.
    """
    if count() == 1:
        yield choose_device(wanted).device
        return
    device = _own_device(wanted)
    # Its functions keep, as their default, the group that is there when they are imported; an optimizer's first step
    # imports them. A group kept to the end of Python leaves threads that abort the process.
    import torch.distributed.nn.functional  # noqa: F401

    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield device
    finally:
        dist.destroy_process_group()
        _CARRIED.clear()


def _own_device(wanted: str) -> torch.device:
    device = choose_device(wanted).device
    if device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in wanted:
        raise UsageError(f"{count()} processes cannot share {device}", cure="use --device cuda or --device cpu")
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", count())), torch.cuda.device_count()
    if here > gpus:
        raise DeviceError(
            f"there are {here} processes and {gpus} GPUs", cure=f"start {gpus} processes, or use --device cpu"
        )
    device = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', rank())}").device
    torch.cuda.set_device(device)
    return device


def total(values: Tensor) -> Tensor:
    """Return the sum of every process's *values*, without a gradient; shape and device are the same in all."""
    values = values.detach()
    if count() == 1:
        return values
    summed = values.clone()
    with _in_company(summed):
        dist.all_reduce(summed)
    return summed


def largest(value: int) -> int:
    """Return the largest of every process's *value*."""
    if count() == 1:
        return value
    highest = torch.tensor(value, device=_meeting_place())
    with _in_company(highest):
        dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    return int(highest)


def gather(tensor: Tensor) -> Tensor:
    """Return every process's (B, ...) *tensor*, one behind the other, on the CPU."""
    if count() == 1:
        return tensor
    own = tensor.to(_meeting_place()).contiguous()
    parts = [torch.empty_like(own) for _ in range(count())]
    with _in_company(own, *parts):
        dist.all_gather(parts, own)
    return torch.cat(parts).cpu()


def begin_alike(model: nn.Module, step: int) -> None:
    """Give every process the first one's tensors.

    Raises:
        UsageError: they do not go on from the same *step*.
    """
    if count() == 1:
        return
    if largest(step) != -largest(-step):
        raise UsageError("the processes see different checkpoints", cure="give an --output folder that all can reach")
    for tensor in model.state_dict().values():
        first = tensor.contiguous()
        with _in_company(first):
            dist.broadcast(first, src=0)
        tensor.copy_(first)


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Make every gradient the sum of all processes' own; one that no process has stays away."""
    if count() == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    there = total(torch.tensor([float(p.grad is not None) for p in learning], device=_meeting_place()))
    used = [parameter for parameter, share in zip(learning, there.tolist(), strict=True) if share]
    if not used:
        return
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in used if parameter.grad is not None]
    # In one piece: a message costs more than what it carries.
    summed = total(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, piece in zip(gradients, torch.split(summed, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


@contextmanager
def _in_company(*carried: Tensor) -> Iterator[None]:
    """Send and receive *carried* in the block; the end of another process gets its name, for which torch has none."""
    if dist.get_backend() == "gloo":
        _CARRIED.append(carried)
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RvosError(
            f"the processes of the run have lost each other ({reason})",
            cure="look for another one's error; the same command goes on from the last checkpoint",
        ) from error


def _meeting_place() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
