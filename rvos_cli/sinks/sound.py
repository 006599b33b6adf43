"""The source's sound on the clock of its first displayed frame.

Enters: the source file. Leaves: packets for the overlay's sound stream, copied or re-encoded to AAC, one at a time.
Damage makes a warning and silence, not a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from rvos_cli.sources.streams import heard_stream, opened

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
PREROLL = Fraction(1, 10)  # packets this long before the first frame warm the decoder up and are not played
PATIENCE = 10  # reading errors in a row before the rest is given up
LONGEST_SILENCE = 60  # seconds behind the pictures' end: a stamp further ahead is a broken one, and no gap to fill
ASTRAY = "the sound's times jump far ahead in places; it goes on there without a gap"


@dataclass(frozen=True)
class Sound:
    """The sound stream of the file at *address*, from the first of *starts* (seconds in the file) on.

    The others of *starts* take its place, one after the other, where the file's clock was reset. *pictures* says for
    how many seconds the video lasts.
    """

    address: str
    starts: Sequence[Fraction]
    pictures: Fraction = Fraction(0)

    def codec(self) -> str:
        """Return the codec's name, as ``aac`` or ``pcm_s16le``, or ``none``."""
        with opened(self.address) as container:
            stream = heard_stream(container)
            return "none" if stream is None else str(stream.codec_context.codec.canonical_name)


class _Clock:
    """Turns the stamps of the sound into seconds since the first picture.

    A stamp that steps back is that of an overlap, or the file's clock was reset there. The resets are those that the
    pictures have shown, so that both stay in step: the one counts with which the sound goes on best.
    """

    def __init__(self, starts: Sequence[Fraction]) -> None:
        self._start, *self._later = starts
        self._last: Fraction | None = None

    def time(self, stamp: Fraction, reached: Fraction) -> Fraction:
        """Return the time of what follows sound that lasts until *reached*."""
        if self._last is not None and stamp < self._last and self._later:
            gaps = [abs(stamp - start - reached) for start in (self._start, *self._later)]
            if nearest := gaps.index(min(gaps)):
                self._start, self._later = self._later[nearest - 1], self._later[nearest:]
        self._last = stamp
        return stamp - self._start


def copied(sound: Sound, output: Any, warnings: list[str]) -> Iterator[Any]:
    """Add a sound stream to *output* and return its packets: the source's own, moved in time."""
    container, source = _opened(sound)
    stream = output.add_stream_from_template(source, opaque=True)
    stream.time_base = Fraction(1, source.codec_context.sample_rate)
    return _copied_packets(sound, container, source, stream, warnings)


def encoded(sound: Sound, output: Any, warnings: list[str]) -> Iterator[Any]:
    """Add an AAC stream to *output* and return its packets; more than two channels become two."""
    container, source = _opened(sound)
    rate = source.codec_context.sample_rate
    stream: Any = output.add_stream("aac", rate=rate if rate in AAC_RATES else 48000)
    layout = "mono" if source.codec_context.channels == 1 else "stereo"
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = 96_000 if layout == "mono" else 160_000
    return _encoded_packets(sound, container, source, stream, warnings)


def _opened(sound: Sound) -> tuple[Any, Any]:
    container = opened(sound.address)
    source = heard_stream(container)
    if source is None:
        container.close()
        raise ValueError("nothing here decodes it")
    return container, source


def _packets(container: Any, source: Any, warnings: list[str]) -> Iterator[Any]:
    """Read packets past damaged places; the last one, without data, flushes a decoder."""
    failures = 0
    while True:
        try:
            for packet in container.demux(source):
                failures = 0
                yield packet
            return
        except av.error.FFmpegError:
            failures += 1
            if failures == PATIENCE:
                warnings.append("the sound's end is damaged and left out")
                return


def _copied_packets(sound: Sound, container: Any, source: Any, stream: Any, warnings: list[str]) -> Iterator[Any]:
    unit = Fraction(1, source.codec_context.sample_rate)
    length = source.codec_context.frame_size or 0
    clock = _Clock(sound.starts)
    expected: int | None = None
    with container:
        for packet in _packets(container, source, warnings):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or stamp is None:
                continue
            time = clock.time(stamp * source.time_base, (expected or 0) * unit)
            duration = (packet.duration or 0) * source.time_base
            if time + duration < -PREROLL:
                continue
            # A container of milliseconds rounds the times of its sound; packets of a known length restore them.
            samples = round(time / unit)
            if expected is not None and abs(samples - expected) <= 2 * source.time_base / unit:
                samples = expected
            elif _astray(sound, time, (expected or 0) * unit, warnings):
                samples = expected or 0
            if expected is not None and samples < expected - length:
                continue
            packet.time_base = unit
            packet.pts = packet.dts = samples
            packet.duration = length or max(1, round(duration / unit))
            expected = samples + packet.duration
            packet.stream = stream
            yield packet


def _encoded_packets(sound: Sound, container: Any, source: Any, stream: Any, warnings: list[str]) -> Iterator[Any]:
    context = stream.codec_context
    layout, rate = context.layout.name, context.sample_rate
    clock = _Clock(sound.starts)
    position = 0
    with container:
        for stamp, samples in _decoded(container, source, layout, rate, warnings):
            time = clock.time(stamp, Fraction(position, rate))
            begin = round(time * rate)
            # Jitter of the container's clock is no gap; a real gap is filled, an overlap cut.
            gap = begin - position if abs(begin - position) > rate // 20 or position == 0 else 0
            if _astray(sound, time, Fraction(position, rate), warnings):
                gap = 0
            for block in (*_silence(gap, samples.shape[0], rate), samples[:, max(0, -gap) :]):
                if block.shape[1]:
                    yield from _encode(stream, _frame(block, layout, rate, position))
                    position += block.shape[1]
        if position:
            yield from _encode(stream, None)


def _astray(sound: Sound, time: Fraction, reached: Fraction, warnings: list[str]) -> bool:
    """Tell whether a stamp leads too far behind all that is heard and shown to be true, and warn of it once."""
    if time <= max(reached, sound.pictures) + LONGEST_SILENCE:
        return False
    if ASTRAY not in warnings:
        warnings.append(ASTRAY)
    return True


def _silence(count: int, channels: int, block: int) -> Iterator[NDArray[np.float32]]:
    while count > 0:
        yield np.zeros((channels, min(count, block)), dtype=np.float32)
        count -= block


def _frame(samples: NDArray[np.float32], layout: str, rate: int, position: int) -> Any:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = position
    return frame


def _encode(stream: Any, frame: Any) -> Iterator[Any]:
    for packet in stream.codec_context.encode(frame):
        packet.stream = stream
        yield packet


def _decoded(
    container: Any, source: Any, layout: str, rate: int, warnings: list[str]
) -> Iterator[tuple[Fraction, NDArray[np.float32]]]:
    """Yield (time in the file, samples (channels, n) float32 of *rate* per second)."""
    resampler: Any = None
    kind: object = None
    damaged = False
    time = Fraction(0)
    for packet in _packets(container, source, warnings):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damaged = True
            continue
        for frame in frames:
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if now != kind:
                resampler, kind = av.AudioResampler(format="fltp", layout=layout, rate=rate), now
            if frame.pts is None:  # as of the last one of WMA; the resampler goes on counting in the unit of the first
                frame.time_base = frame.time_base or source.time_base
                frame.pts = round(time / frame.time_base)
            for piece in resampler.resample(frame):
                begin = piece.pts * piece.time_base
                time = begin + Fraction(piece.samples, rate)
                yield begin, piece.to_ndarray()
    for piece in resampler.resample(None) if resampler is not None else ():
        yield piece.pts * piece.time_base, piece.to_ndarray()
    if damaged:
        warnings.append("the sound is damaged in places, which are silent")
