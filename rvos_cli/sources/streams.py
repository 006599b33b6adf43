"""Which of a container's streams is the video that is shown; reader and writer must agree on it."""

from __future__ import annotations

from typing import Any

# AV_DISPOSITION_DEFAULT and AV_DISPOSITION_ATTACHED_PIC of libavformat
DEFAULT_STREAM = 0x1
ATTACHED_PICTURE = 0x400


def displayed_stream(container: Any) -> Any | None:
    """Return the video stream of a PyAV container that players show, or None.

    It is the default one, of several or none of that kind the largest; pictures of a cover are no video.
    """
    known = (stream for stream in container.streams.video if stream.codec_context is not None)  # None: a cut header
    moving = [stream for stream in known if not _disposition(stream) & ATTACHED_PICTURE]
    return max(moving, key=lambda each: (_disposition(each) & DEFAULT_STREAM, each.width * each.height), default=None)


def _disposition(stream: Any) -> int:
    flags = stream.disposition
    return int(getattr(flags, "value", flags))  # a plain enum in PyAV 14 and 15
