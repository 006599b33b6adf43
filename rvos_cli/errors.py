"""The named failures of rvos: what went wrong, and the cure, in one line each.

Raised anywhere below the command line, caught once at its single error boundary (``cli/app.py``).

RvosError                 exit code 1
├── InputError            a video, folder or image that cannot be read
├── MaskError             a given mask that cannot be used
├── OutputError           an output that exists already or cannot be written
│   └── BusyError         another run is writing there
├── WeightsError          weights that are missing, damaged or of the wrong kind
├── DeviceError           a device that was asked for and is not there, or has no room
├── DatasetError          a data set whose layout is not the expected one
├── TrainingDivergedError a loss that is no number any more (training/step.py)
└── UsageError            options that contradict each other, or that there are not (exit code 2)
"""

from __future__ import annotations


class RvosError(Exception):
    """A failure with a name: ``str(error)`` is one line that says what happened and what to do."""

    exit_code = 1

    def __init__(self, what: str, *, cure: str | None = None) -> None:
        """Join *what* went wrong and its *cure* into one line."""
        line = what if cure is None else f"{what}; {cure}"
        super().__init__(" ".join(line.split()))


class InputError(RvosError):
    """A video, folder or image that cannot be read."""


class MaskError(RvosError):
    """A given mask that cannot be used."""


class OutputError(RvosError):
    """An output that exists already or cannot be written."""


class BusyError(OutputError):
    """Another run is writing to the same place."""


class WeightsError(RvosError):
    """Weights that are missing, damaged or of the wrong kind."""


class DeviceError(RvosError):
    """A device that was asked for and is not there, or has no room."""


class DatasetError(RvosError):
    """A data set whose layout is not the expected one."""


class UsageError(RvosError):
    """Options or arguments that contradict each other, or that there are not."""

    exit_code = 2
