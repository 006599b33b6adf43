"""The boxes of which MP4 and QuickTime files are made; what they say of their own length tells a cut file."""

from __future__ import annotations

from pathlib import Path

HEADER = 16  # bytes: length and name, and the length again where it needs eight bytes


def end_of_boxes(path: Path) -> int:
    """Return where the last whole box at the top of a file ends, or would end if the file were not cut within it.

    Raises:
        OSError: the file cannot be read.
    """
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            head = file.read(HEADER)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if length < 8:  # something else, or a box without an end
                break
            place += length
    return place
