"""How media files are opened, and which streams are shown and heard; reader and writer must agree on both.

Versions of PyAV differ in how; what this project has to know of that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av

# AV_DISPOSITION_DEFAULT, AV_DISPOSITION_ATTACHED_PIC and AV_DISPOSITION_DEPENDENT of libavformat
DEFAULT_STREAM = 0x1
ATTACHED_PICTURE = 0x400
DEPENDENT_STREAM = 0x80000


# Names and titles may be in any encoding. From version 19 on PyAV does not stumble over them, nor knows this option.
LENIENT: Mapping[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def opened(address: str) -> Any:
    """Open a media file to read, whatever the encoding of its names and titles; see ``av.open``."""
    return av.open(address, **LENIENT)


def side_data(frame: Any, kind: str) -> list[bytes]:
    """Return what a frame carries of a kind, such as ``DISPLAYMATRIX``."""
    carried = frame.side_data
    values = (one if hasattr(one, "type") else carried[one] for one in carried)  # these, or from 19 on their kinds
    return [bytes(data) for data in values if data.type.name == kind]


def displayed_stream(container: Any) -> Any | None:
    """Return the video stream of a PyAV container that players show, or None.

    It is the default one, of several or none of that kind one of more than a single frame (beside it an animated AVIF
    has a still picture), of these the largest; pictures of a cover are no video.
    """
    known = (stream for stream in container.streams.video if stream.codec_context is not None)  # None: a cut header
    moving = [stream for stream in known if not _disposition(stream) & ATTACHED_PICTURE]
    return max(
        moving,
        key=lambda each: (_disposition(each) & DEFAULT_STREAM, each.frames > 1, each.width * each.height),
        default=None,
    )


def in_tiles(container: Any) -> bool:
    """Tell whether what is shown are several streams side by side, as in photographs of phones (HEIC, AVIF)."""
    if "mp4" not in container.format.name:
        return False  # in transport streams it is an enhancement that depends on another stream
    flags = [_disposition(stream) for stream in container.streams.video]
    whole = any(each & DEFAULT_STREAM and not each & DEPENDENT_STREAM for each in flags)
    return not whole and any(each & DEPENDENT_STREAM for each in flags)


def heard_stream(container: Any) -> Any | None:
    """Return the sound stream of a PyAV container that is heard, the best or else the first with a decoder, or None.

    Sound of a newer kind, such as MPEG-H or AC-4, often lies beside one that everything plays.
    """
    best = container.streams.best("audio")
    candidates = ([] if best is None else [best]) + list(container.streams.audio)
    return next((stream for stream in candidates if stream.codec_context is not None), None)


def _disposition(stream: Any) -> int:
    flags = stream.disposition
    return int(getattr(flags, "value", flags))  # a plain enum in PyAV 14 and 15
