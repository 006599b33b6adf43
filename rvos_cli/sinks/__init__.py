"""Masks out: what each output is, and how it gets its final name only when it is whole.

Enters: one ``FrameMasks`` after the other. Leaves: files. Stands at the end of the flow, run by ``pipeline``.
"""

from rvos_cli.sinks.pictures import MaskFolder, ObjectFolders
from rvos_cli.sinks.sink import Sink
from rvos_cli.sinks.summary import write_summary
from rvos_cli.sinks.video import OverlayVideo

__all__ = ["MaskFolder", "ObjectFolders", "OverlayVideo", "Sink", "write_summary"]
