"""Finds and follows objects in video: the public list, and nothing else.

Every name is loaded when it is first used, so that ``import rvos_cli`` and ``rvos --help`` load no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rvos_cli.version import __version__

if TYPE_CHECKING:
    from rvos_cli.batch import BatchReport, run_batch
    from rvos_cli.config import InferenceOptions, ModelConfig, OutputOptions
    from rvos_cli.errors import (
        BusyError,
        DatasetError,
        DeviceError,
        InputError,
        MaskError,
        OutputError,
        RvosError,
        UsageError,
        WeightsError,
    )
    from rvos_cli.results import FrameMasks, ObjectSummary, RunSummary
    from rvos_cli.segmenter import Segmenter, load_model
    from rvos_cli.weights import load_published

__all__ = [
    "BatchReport",
    "BusyError",
    "DatasetError",
    "DeviceError",
    "FrameMasks",
    "InferenceOptions",
    "InputError",
    "MaskError",
    "ModelConfig",
    "ObjectSummary",
    "OutputError",
    "OutputOptions",
    "RunSummary",
    "RvosError",
    "Segmenter",
    "UsageError",
    "WeightsError",
    "__version__",
    "load_model",
    "load_published",
    "run_batch",
]

_MODULES = {
    "batch": ("BatchReport", "run_batch"),
    "config": ("InferenceOptions", "ModelConfig", "OutputOptions"),
    "errors": (
        "BusyError",
        "DatasetError",
        "DeviceError",
        "InputError",
        "MaskError",
        "OutputError",
        "RvosError",
        "UsageError",
        "WeightsError",
    ),
    "results": ("FrameMasks", "ObjectSummary", "RunSummary"),
    "segmenter": ("Segmenter", "load_model"),
    "weights": ("load_published",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not kept here: whoever replaces the module's own, a test say, must not be met again after putting it back.
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
