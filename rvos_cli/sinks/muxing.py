"""Picture and sound into the final file.

Enters: the finished pictures as a fragmented mp4, and the source with its sound. Leaves: an mp4 that starts playing
while it loads. Everything streams: packets of both files are read side by side, never whole files.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from rvos_cli.sinks.sound import COPIED, Sound, copied, encoded
from rvos_cli.sources.boxes import end_of_boxes
from rvos_cli.sources.streams import displayed_stream, opened
from rvos_cli.sources.timing import FrameClock, average_rate


@dataclass(frozen=True)
class SourceClock:
    """How a video file counts time.

    Args:
        unit: seconds per tick of its frame times; None for an unreadable file.
        start: when its first displayed frame stands in the file, in seconds.
    """

    unit: Fraction | None = None
    start: Fraction = Fraction(0)


def source_clock(path: Path) -> SourceClock:
    """Read the clock of the stream that ``sources`` shows, by decoding up to the first frame with a time stamp."""
    unit: Fraction | None = None
    try:
        with opened(address(path)) as container:
            stream: Any = displayed_stream(container)
            if stream is None:
                return SourceClock()
            clock: FrameClock | None = None
            for frame in _frames(container, stream):
                if clock is None:
                    unit = stream.time_base
                    rate = average_rate(stream, frame.pts is not None or frame.dts is not None)
                    clock = FrameClock(unit or 1 / rate, rate, by_decoding_time=container.format.name == "avi")
                clock.time(frame.pts, frame.dts)
                # The start is for the sound alone; without any the first frame tells enough.
                if clock.origin is not None or not container.streams.audio:
                    return SourceClock(unit, clock.origin or Fraction(0))
    except (av.error.FFmpegError, OSError, ValueError):
        pass
    return SourceClock(unit)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        with suppress(av.error.FFmpegError):
            yield from packet.decode()


def require_whole(path: Path) -> None:
    """Look whether an MP4 file is whole: closing it does not tell that the disk was full.

    Raises:
        OSError: the file ends within a box.
    """
    if end_of_boxes(path) != path.stat().st_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def address(path: Path) -> str:
    """Return *path* for ffmpeg, which would read a name with a colon as a protocol."""
    return f"file:{path}"


def finish_video(part: Path, target: Path, *, sound: Path | None, starts: Sequence[Fraction]) -> list[str]:
    """Join the pictures in *part* with the sound of *sound* as *target*, and remove *part*.

    Args:
        part: an mp4 with one video stream.
        target: the final name; it appears when the file is whole.
        sound: a file with sound, or None.
        starts: the time in that file, in seconds, that belongs to the first picture; sound before it is cut. Each time
            that the file's clock was reset has another one, in their order.

    Returns:
        Warnings about the sound.

    Raises:
        OSError, av.error.FFmpegError: the file cannot be written.
    """
    whole = target.with_name(f"{target.stem}.whole.part{target.suffix}")
    warnings: list[str] = []
    try:
        if sound is None or not _join_with_sound(part, whole, Sound(address(sound), starts), warnings):
            _join(part, whole, None, None)
        os.replace(whole, target)
    finally:
        whole.unlink(missing_ok=True)
    part.unlink(missing_ok=True)
    return warnings


def _join_with_sound(part: Path, whole: Path, sound: Sound, warnings: list[str]) -> bool:
    """Try to copy the sound, then to re-encode it; tell whether one of them worked."""
    try:
        codec = sound.codec()
    except Exception as error:  # of whatever kind: sound must not cost hours of masks
        warnings.append(f"the sound cannot be read and is left out ({_reason(error)})")
        return False
    reason = "it has no packets"
    for way in (copied, encoded) if codec in COPIED else (encoded,):
        trouble: list[str] = []
        try:
            if _join(part, whole, sound, way, trouble) and _has_sound(whole):
                warnings += trouble
                return True
        except Exception as error:  # as above; what concerns the file itself, as a full disk, happens again without
            reason = _reason(error)
    warnings.append(f"the sound ({codec}) is damaged or of an unknown kind and is left out ({reason})")
    return False


def _join(part: Path, whole: Path, sound: Sound | None, way: Any, trouble: list[str] | None = None) -> int:
    """Write *whole* and return the number of sound packets in it."""
    options = {"movflags": "faststart", "strict": "experimental"}
    count = 0
    with (
        av.open(address(part)) as pictures,
        av.open(address(whole), "w", format="mp4", container_options=options) as output,
    ):
        source: Any = pictures.streams.video[0]
        stream = output.add_stream_from_template(source, opaque=True)
        stream.time_base = source.time_base
        tracks = [_picture_packets(pictures, source, stream)]
        if sound is not None:
            timed = replace(sound, pictures=Fraction(pictures.duration or 0, av.time_base))
            tracks.append(way(timed, output, [] if trouble is None else trouble))
        for packet in heapq.merge(*tracks, key=_time):
            count += packet.stream.type == "audio"
            output.mux_one(packet)
    require_whole(whole)
    return count


def _has_sound(path: Path) -> bool:
    """Tell whether the sound has arrived: of sound that it cannot parse, the muxer drops the whole track."""
    with av.open(address(path)) as container:
        return len(container.streams.audio) > 0


def _picture_packets(container: Any, source: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(source):
        if packet.dts is not None:
            packet.stream = stream
            yield packet


def _time(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
