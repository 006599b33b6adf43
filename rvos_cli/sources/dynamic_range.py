"""Frames of high dynamic range, as phones and televisions have them, as a common screen shows them.

A decoded frame with the transfer characteristics of PQ or HLG enters, the same in sRGB leaves; any other leaves as it
came. Taken for sRGB as it is coded, such a frame is pale, and one of PQ nearly grey. ffmpeg converts it: what is darker
than the reference white of 203 cd/m2 (ITU-R BT.2408) gets the colour that it has, what is brighter is white.
"""

from __future__ import annotations

from typing import Any

import av
import av.filter

PQ, HLG = 16, 18  # transfer characteristics in ITU-T H.273
CONVERSION = "out_primaries=bt709:out_transfer=iec61966-2-1:out_range=full:intent=relative_colorimetric"


def is_high(frame: Any) -> bool:
    """Say whether a decoded frame is of high dynamic range."""
    return frame.color_trc in (PQ, HLG)


class StandardRange:
    """Converts frames; those of one kind share what ffmpeg works out first, for about two seconds."""

    def __init__(self) -> None:
        """Work out nothing yet."""
        self._kind: tuple[Any, ...] = ()
        self._graph: Any = None

    def convert(self, frame: Any) -> Any:
        """Return a frame of high dynamic range as RGB, (H, W) as it is, 8 bits.

        Raises:
            av.FFmpegError: ffmpeg cannot do it.
        """
        kind = (frame.width, frame.height, frame.format.name, frame.color_trc, frame.color_primaries, frame.colorspace)
        if kind != self._kind:
            self._kind, self._graph = kind, _graph_for(frame)
        self._graph.push(frame)
        return self._graph.pull()


def _graph_for(frame: Any) -> Any:
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
        graph.add("scale", CONVERSION),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ).configure()
    return graph
