"""Choose where the network runs and in which precision.

Enters: the ``--device`` and ``--half`` of a run. Leaves: a torch device with the reason for it, and a dtype.
Stands before the weights are loaded, so that a missing GPU is said before anything else is done.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import torch

from rvos_cli.errors import DeviceError, UsageError

DEVICE_NAMES = "auto, cpu, cuda, cuda:N, mps"
_FAST_HALF = (7, 0)  # compute capability from which 16-bit convolutions are faster than 32-bit ones


@dataclass(frozen=True)
class DeviceChoice:
    """A device and one line on why it was chosen, such as ``cuda:0: NVIDIA H200`` or ``cpu: no GPU found``."""

    device: torch.device
    reason: str


def choose_device(name: str | torch.device = "auto") -> DeviceChoice:
    """Return the device called *name*; ``auto`` takes CUDA, else Apple's MPS, else the CPU.

    Only ``auto`` ever falls back: any other name gives that device or an error.

    Raises:
        UsageError: *name* is none of ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        DeviceError: the device is not there, or it is there and cannot be used.
    """
    if isinstance(name, torch.device) and name.type != "cuda":
        name = name.type  # without the number that tensors there give
    wanted = str(name).strip().lower()
    if wanted == "auto":
        return _choose_automatically()
    if wanted == "cpu":
        return DeviceChoice(torch.device("cpu"), "cpu: asked for")
    if wanted == "mps":
        return _choose_mps()
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", wanted)
    if match is None:
        raise UsageError(f"unknown device '{name}'", cure=f"choose one of {DEVICE_NAMES}")
    return _choose_cuda(None if match[1] is None else int(match[1]))


def choose_dtype(device: torch.device, half: bool | None = None) -> torch.dtype:
    """Return the dtype of the network's arithmetic on *device*.

    Args:
        device: where the network runs.
        half: True for 16 bits, False for 32; None takes 16 where that is faster and safe, which is on CUDA GPUs
            since Volta.
    """
    if half is None:
        half = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FAST_HALF
    if not half:
        return torch.float32
    # CPUs compute bfloat16 natively and emulate float16; on GPUs float16 is as fast and keeps three more bits.
    return torch.bfloat16 if device.type == "cpu" else torch.float16


def _choose_automatically() -> DeviceChoice:
    """Return the best device that works; the reason says what was found or why nothing was."""
    count, problem = _count_cuda()
    if count:
        try:
            return _choose_cuda(None)
        except DeviceError as error:
            return DeviceChoice(torch.device("cpu"), f"cpu: {error}")
    if torch.backends.mps.is_available():
        return _choose_mps()
    return DeviceChoice(torch.device("cpu"), f"cpu: {problem}")


def _choose_cuda(index: int | None) -> DeviceChoice:
    """Return CUDA device *index* (None: the current one) after a small computation on it has succeeded."""
    count, problem = _count_cuda()
    if not count:
        raise DeviceError(f"no CUDA device: {problem}", cure="use --device cpu, or --device auto to let rvos choose")
    if index is not None and index >= count:
        present = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
        raise DeviceError(f"there is no cuda:{index}", cure=f"choose one of {present}")
    _probe(torch.device("cuda" if index is None else f"cuda:{index}"))
    device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
    return DeviceChoice(device, f"{device}: {torch.cuda.get_device_name(device)}")


def _choose_mps() -> DeviceChoice:
    """Return Apple's GPU after a small computation on it has succeeded."""
    if not torch.backends.mps.is_available():
        raise DeviceError(
            "no MPS device: it needs an Apple GPU and macOS 12.3 or later",
            cure="use --device cpu, or --device auto to let rvos choose",
        )
    device = torch.device("mps")
    _probe(device)
    return DeviceChoice(device, "mps: Apple GPU")


def _count_cuda() -> tuple[int, str]:
    """Return the number of CUDA devices and, when that is 0, why."""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return 0, "no GPU found (this torch was built without CUDA)"
    with warnings.catch_warnings(record=True) as caught:  # an old driver is told as a warning only
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    told = next((str(entry.message) for entry in caught if "driver" in str(entry.message)), "")
    return count, f"no GPU found ({told.split('. ')[0]})" if told else "no GPU found"


def _probe(device: torch.device) -> None:
    """Compute one sum on *device*: a GPU can be listed and yet be full, or too old for this torch.

    Raises:
        DeviceError: it cannot compute.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.ones(2, device=device).sum().item()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(f"{device} is there but cannot be used ({reason})", cure="use --device cpu") from error
