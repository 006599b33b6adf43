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
UNSPECIFIED = 2  # of a matrix or of primaries, there
CONVERSION = "out_primaries=bt709:out_transfer=iec61966-2-1:out_range=full:intent=relative_colorimetric"
KINDS = 4  # of frames in one file that may take turns


def is_high(frame: Any) -> bool:
    """Say whether a decoded frame is of high dynamic range."""
    return frame.color_trc in (PQ, HLG)


class StandardRange:
    """Converts frames; those of one kind share what ffmpeg works out first, for two seconds and more."""

    def __init__(self) -> None:
        """Work out nothing yet."""
        self._graphs: dict[tuple[Any, ...], Any] = {}

    def convert(self, frame: Any) -> Any:
        """Return a frame of high dynamic range as RGB, (H, W) as it is, 8 bits.

        Raises:
            av.FFmpegError: ffmpeg cannot do it.
        """
        colours = frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range
        kind = (frame.width, frame.height, frame.format.name, *colours)
        if kind not in self._graphs:
            while len(self._graphs) >= KINDS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[kind] = _graph_for(frame)
        self._graphs[kind].push(frame)
        return self._graphs[kind].pull()


def _graph_for(frame: Any) -> Any:
    graph, conversion = av.filter.Graph(), CONVERSION
    # What says nothing else has the colours of BT.2020, as BT.2100 has them for both.
    if frame.colorspace == UNSPECIFIED and not frame.format.is_rgb:
        conversion += ":in_color_matrix=bt2020"
    if frame.color_primaries == UNSPECIFIED:
        conversion += ":in_primaries=bt2020"
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
        graph.add("scale", conversion),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ).configure()
    return graph
