"""What every output has in common.

Enters: frames in display order, then a verdict. Leaves: a finished output, or what there is of it under another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from rvos_cli.results import FrameMasks

SinkT = TypeVar("SinkT", bound="Sink")


class Sink(Protocol):
    """One output. As a context manager it closes after a good run and aborts after a failed one.

    Attributes:
        warnings: what could not be kept, a line each; complete once the output is closed.
    """

    warnings: Sequence[str] = ()

    def write(self, frame: FrameMasks) -> None:
        """Take the next frame.

        Raises:
            OutputError: the frame cannot be written.
        """

    def close(self) -> None:
        """Finish the output and give it its final name.

        Raises:
            OutputError: the output cannot be finished.
        """

    def abort(self) -> None:
        """Finish what was written as well as it goes, without its final name; never raises an ``OutputError``."""

    def __enter__(self: SinkT) -> SinkT:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, or abort if the run has failed."""
        if kind is None:
            self.close()
        else:
            self.abort()
